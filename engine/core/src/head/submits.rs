//! How many jobs a tenant may have, and how many it may submit in a minute.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::events::Span;
use crate::head::Head;
use crate::rate::Rate;
use crate::tenant::{TenantBounds, TenantName};
use crate::time::Time;
use crate::usage::UsageKind;

impl Head {
    /// A tenant is about to submit a job more.
    ///
    /// # Errors
    /// QUOTA_EXCEEDED when it may not, or not yet.
    pub(super) fn check_tenant_submits(&mut self, now: Time, tenant: &TenantName) -> Result<(), Error> {
        let bounds = self.ledger.bounds_of(tenant);
        let TenantBounds { jobs_max, submits_per_minute_max, .. } = bounds;
        let refusal = match jobs_max {
            Some(max) if self.jobs_of(tenant) as u64 >= max => Some(format!(
                "the tenant {tenant} may have {max} unfinished jobs at once (jobs_max), and has as many: wait for one to end, or stop one (`engine job list`, `engine job stop`)"
            )),
            _ => submits_per_minute_max.and_then(|max| {
                let rate = self.ledger.submit_rate_of(tenant, || Rate::new(max, now))?;
                if rate.per_minute() != max {
                    rate.change(now, max);
                }
                let after = rate.take(now, 1).err()?;
                let when = match after {
                    Duration::MAX => "ask whoever runs the engine for more".to_owned(),
                    after => format!("try again in {}", Span(after)),
                };
                Some(format!(
                    "the tenant {tenant} may submit {max} jobs a minute (submits_per_minute_max), and has: {when}"
                ))
            }),
        };
        match refusal {
            None => Ok(()),
            Some(message) => {
                self.usage.note(now, tenant, UsageKind::Refused);
                Err(Error::new(ErrorCode::QuotaExceeded, message))
            }
        }
    }
}
