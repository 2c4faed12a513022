//! What is noted of groups in the log of events.

use std::collections::BTreeSet;

use super::Group;
use crate::events::{About, Count, EventKind, Severity};
use crate::group::GroupState;

/// Something that has happened to a group.
pub(in crate::head) struct Happened {
    pub severity: Severity,
    pub kind: EventKind,
    pub about: About,
    pub message: String,
}

impl Happened {
    pub(super) fn of(group: &Group, severity: Severity, kind: EventKind, message: String) -> Self {
        let about = About { group: Some(group.spec.id), ..About::job(group.spec.job) };
        Self { severity, kind, about, message }
    }

    /// All that its last attempt asked for is there, and will be committed.
    pub(super) fn reserved(group: &Group) -> Self {
        let nodes: BTreeSet<_> = group.places.iter().flatten().map(|place| place.node).collect();
        let bundles = Count(group.spec.bundles.len(), "bundle");
        let nodes = Count(nodes.len(), "node");
        let strategy = group.spec.strategy.as_str();
        match group.state {
            GroupState::Rescheduling => {
                let message = format!("its {bundles} ({strategy}) are all reserved again, on {nodes}");
                Self::of(group, Severity::Info, EventKind::GroupReplaced, message)
            }
            _ => {
                let message = format!("its {bundles} ({strategy}) are reserved on {nodes}");
                Self::of(group, Severity::Info, EventKind::GroupCreated, message)
            }
        }
    }

    /// Some of its places were lost.
    pub(super) fn rescheduling(group: &Group) -> Self {
        let lost = group.missing().len();
        let all = Count(group.spec.bundles.len(), "bundle");
        let message = format!("{lost} of its {all} lost their place, and are placed again");
        Self::of(group, Severity::Warning, EventKind::GroupRescheduling, message)
    }

    /// There is no room for it: something to tell when there never can be, as things are.
    pub(super) fn infeasible(group: &Group) -> Option<Self> {
        let is_news = group.is_hopeless == Some(true);
        is_news.then(|| {
            Self::of(group, Severity::Warning, EventKind::GroupInfeasible, format!("it {}", group.why))
        })
    }
}
