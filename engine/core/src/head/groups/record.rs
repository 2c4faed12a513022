//! Groups as they are remembered.

use std::collections::BTreeSet;

use super::{Group, GroupLimits, Groups, Place};
use crate::head::{GroupRecord, Record};
use crate::ids::PlacementGroupId;
use crate::time::Time;

impl Groups {
    #[cfg(test)]
    pub(in crate::head) fn books(&self) -> Vec<String> {
        let mut books: Vec<String> = self.table.keys().map(|id| format!("{:?}", self.record(*id))).collect();
        books.push(format!("names {:?}", self.names));
        books.push(format!("waiting {:?}", self.waiting));
        books.push(format!("removed {:?}", self.removed));
        books
    }

    pub(in crate::head) fn record(&self, id: PlacementGroupId) -> Option<Record> {
        let group = self.table.get(&id)?;
        Some(Record::Group(GroupRecord {
            spec: group.spec.clone(),
            state: group.state,
            places: group.places.iter().map(|place| place.map(|at| (at.node, at.generation))).collect(),
            generation: group.generation,
            is_tried: !group.asked.is_empty(),
            arrival: group.arrival,
            created: group.created,
            version: group.version,
            removal: group.removal,
            why: group.why.clone(),
        }))
    }

    /// A group that was there before the head came back. Of an attempt that was under way it is not known
    /// who has prepared its part: the nodes' reports say that.
    pub(in crate::head) fn restore(&mut self, record: GroupRecord) {
        let id = record.spec.id;
        let place = |(node, generation)| Place { node, generation };
        let mut group = Group {
            state: record.state,
            places: record.places.into_iter().map(|at| at.map(place)).collect(),
            generation: record.generation,
            asked: BTreeSet::new(),
            arrival: record.arrival,
            passed_over: 0,
            holds_up: None,
            watchers: BTreeSet::new(),
            created: record.created,
            version: record.version,
            removal: record.removal,
            is_hopeless: None,
            why: record.why,
            spec: record.spec,
        };
        // A bundle without an entry has no place.
        group.places.resize(group.spec.bundles.len(), None);
        self.arrivals = self.arrivals.max(group.arrival);
        self.removals = self.removals.max(group.removal);
        if group.is_there() {
            group.watchers.insert(group.spec.owner);
            if let Some(name) = &group.spec.name {
                self.names.insert((group.spec.namespace.clone(), name.clone()), id);
            }
            if record.is_tried {
                group.asked = group.nodes_of(group.generation);
            }
            for node in &group.asked {
                self.pledges.entry(*node).or_default().push(group.pledge_of(*node));
            }
            if group.asked.is_empty() && !group.missing().is_empty() {
                self.waiting.insert(group.arrival, id);
            }
        }
        self.table.insert(id, group);
    }

    /// All of them are there.
    pub(in crate::head) fn restored(&mut self, now: Time, limits: &GroupLimits) {
        let removed = self.table.values().filter(|group| !group.is_there());
        let mut removed: Vec<_> = removed.map(|group| (group.removal, group.spec.id)).collect();
        removed.sort();
        self.removed = removed.into_iter().map(|(_, id)| id).collect();
        self.try_at = (!self.waiting.is_empty()).then(|| now + limits.retried_every);
    }
}
