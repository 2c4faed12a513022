//! Tells of tenants that use most of a quota: once until they use less.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::events::{About, EventKind, Severity};
use crate::head::{Effect, Head};
use crate::quota::{Amounts, QuotaKind};
use crate::tenant::{TenantName, TenantSpec};
use crate::time::Time;

/// Of a use that goes up and down around the mark is told once in so long.
const ALERT_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was told of one tenant.
#[derive(Default)]
pub(super) struct Alerts(BTreeMap<QuotaKind, Alert>);

struct Alert {
    /// When it was told.
    at: Time,
    /// It uses as much still.
    is_on: bool,
}

impl Alerts {
    /// The quotas of which it uses so much.
    pub fn on(&self) -> Vec<QuotaKind> {
        self.0.iter().filter(|(_, alert)| alert.is_on).map(|(kind, _)| *kind).collect()
    }

    /// What is to be told now that a tenant uses so much.
    fn look(&mut self, now: Time, spec: &TenantSpec, used: &Amounts) -> Vec<String> {
        let mut told = Vec::new();
        for kind in QuotaKind::ALL {
            let mark = spec.bounds.alert_percent.zip(spec.quotas[kind]).filter(|(_, max)| *max > 0);
            let crossed = mark.filter(|(percent, max)| {
                u128::from(used[kind]) * 100 >= u128::from(*max) * u128::from(*percent)
            });
            let Some((percent, max)) = crossed else {
                if let Some(alert) = self.0.get_mut(&kind) {
                    alert.is_on = false;
                }
                continue;
            };
            let alert = self.0.get(&kind);
            let is_told = alert.is_some_and(|alert| alert.is_on || now.since(alert.at) < ALERT_AGAIN_AFTER);
            let at = alert.filter(|_| is_told).map_or(now, |alert| alert.at);
            self.0.insert(kind, Alert { at, is_on: true });
            if !is_told {
                told.push(format!(
                    "the tenant {} uses {} of {} ({}), {percent} % of its quota or more",
                    spec.name,
                    kind.amount(used[kind]),
                    kind.described(max),
                    kind.name(),
                ));
            }
        }
        told
    }
}

impl Head {
    /// Tells of what a tenant uses most of, as the nodes have said last.
    pub(super) fn look_at_alerts(&mut self, now: Time, tenant: &TenantName, fx: &mut Vec<Effect>) {
        let told = self.ledger.with_alerts(tenant, |alerts, spec, used| alerts.look(now, spec, used));
        for message in told.unwrap_or_default() {
            let (severity, kind) = (Severity::Warning, EventKind::QuotaAlert);
            self.events.note(now, severity, kind, About::default(), &message);
            fx.push(Effect::Alert(message));
        }
    }
}
