//! Listings of placement groups, and what bounds them.

use std::sync::Arc;
use std::time::Duration;

use super::Group;
use crate::error::{Error, ErrorCode};
use crate::group::{GroupSpec, GroupState};
use crate::head::Head;
use crate::ids::{NodeId, PlacementGroupId};
use crate::tenant::unscoped;
use crate::time::Time;

/// What bounds groups, and how they are tried.
#[derive(Debug, Clone)]
pub struct GroupLimits {
    /// Groups that are not removed.
    pub groups_max: usize,
    /// Bundles of one group.
    pub bundles_per_group_max: usize,
    /// Removed groups that can still be looked at; the oldest is forgotten first.
    pub removed_groups_max: usize,
    /// Groups without room that are looked at in one go: half of them those that came first.
    pub groups_looked_at_max: usize,
    /// Groups that came later and are placed before one that waits, until it holds them up.
    pub passed_over_max: u32,
    /// How long a group that was passed so often holds others up, before they may pass it again.
    pub held_up_max: Duration,
    /// Groups that wait are tried at most so often, whatever changes.
    pub tried_every: Duration,
    /// Groups that wait are tried at least so often.
    pub retried_every: Duration,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups_max: 10_000,
            bundles_per_group_max: 1_000,
            removed_groups_max: 1_000,
            groups_looked_at_max: 64,
            passed_over_max: 100,
            held_up_max: Duration::from_secs(10),
            tried_every: Duration::from_millis(20),
            retried_every: Duration::from_secs(1),
        }
    }
}

/// A placement group, as it is listed.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// What was asked for.
    pub spec: Arc<GroupSpec>,
    /// Where it stands.
    pub state: GroupState,
    /// The node of each bundle.
    pub nodes: Vec<Option<NodeId>>,
    /// When it was asked for.
    pub created: Time,
    /// What it waits for, or why it is gone; empty when there is nothing to say.
    pub why: Arc<str>,
}

impl Group {
    pub(super) fn view(&self) -> GroupView {
        GroupView {
            spec: self.spec.clone(),
            state: self.state,
            nodes: self.news().bundles.iter().map(|(_, node)| *node).collect(),
            created: self.created,
            why: self.why.clone(),
        }
    }
}

impl Head {
    /// The group of this name, for a node that is about to give a guest a handle to it.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub fn lookup_group(&self, namespace: &str, name: &str) -> Result<PlacementGroupId, Error> {
        self.groups.names.get(&(namespace.to_owned(), name.to_owned())).copied().ok_or_else(|| {
            let namespace = unscoped(namespace).1;
            let message = format!("no placement group has the name {name:?} in the namespace {namespace:?}");
            Error::new(ErrorCode::NotFound, message)
        })
    }

    /// One group.
    pub fn group(&self, id: PlacementGroupId) -> Option<GroupView> {
        self.groups.table.get(&id).map(Group::view)
    }

    /// All groups, the newest first, those removed lately among them.
    pub fn groups(&self) -> Vec<GroupView> {
        let mut groups: Vec<&Group> = self.groups.table.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.arrival));
        groups.into_iter().map(Group::view).collect()
    }
}
