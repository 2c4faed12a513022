//! Whether a task can ever be placed here.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::node::class::Class;
use crate::node::{Node, TaskKey};
use crate::options::{LabelOperator, LabelSelector, Strategy};

/// Nodes that an error names.
const NODES_NAMED_MAX: usize = 8;

impl Node {
    /// Why a task can never run, however long they wait; none when they can
    /// (contract E2).
    pub(super) fn never_fits(&self, key: TaskKey) -> Option<Arc<Error>> {
        if let Some(error) = self.never_within_quota(self.tasks[key].class) {
            return Some(Arc::new(error));
        }
        if self.classes[self.tasks[key].class].group.is_some() {
            return self.never_fits_in_group(key);
        }
        if self.any_peer_could_run(key) {
            return None;
        }
        let class = &self.classes[self.tasks[key].class];
        let what = self.lacks_resources(class, self.may_leave(key)).or_else(|| self.is_elsewhere(class))?;
        let message = format!("{what} (looked at {})", self.nodes_looked_at());
        Some(Arc::new(Error::new(ErrorCode::Unschedulable, message)))
    }

    fn nodes_looked_at(&self) -> String {
        let count = self.peers.len() + 1;
        let ids = std::iter::once(self.id).chain(self.peers.ids()).take(NODES_NAMED_MAX);
        let ids = ids.map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
        match count {
            1 => format!("1 node: {ids}"),
            2..=NODES_NAMED_MAX => format!("{count} nodes: {ids}"),
            _ => format!("{count} nodes, among them {ids}"),
        }
    }

    /// What no node has that may run it; `leaves`: all of them may.
    fn lacks_resources(&self, class: &Class, leaves: bool) -> Option<String> {
        if self.total.covers(&class.needs) {
            return None;
        }
        let total = if leaves { self.largest_total() } else { self.total.clone() };
        // A root runs where it was submitted, and what descends from a detached actor where that lived.
        let stays = !leaves && !self.peers.is_empty();
        let who = if stays { "this node, which it cannot leave, has no" } else { "no node has" };
        let what: Vec<String> = total
            .lacking(&class.needs)
            .iter()
            .map(|lack| format!("{} of {}, and {who} more than {}", lack.wanted, lack.resource, lack.had))
            .collect();
        Some(format!("it asks for {}: ask for less, or add a node that has it", what.join("; ")))
    }

    fn is_elsewhere(&self, class: &Class) -> Option<String> {
        let placement = &class.spec.options.placement;
        if let Strategy::Node(node, false) = &placement.strategy
            && *node != self.id
        {
            return Some(format!(
                "it must run on {node}, which is not there: choose another node, or let it be soft"
            ));
        }
        let missing =
            placement.labels.iter().find(|selector| selector.hard && !selector.matches(&self.labels))?;
        let LabelSelector { key, operator, values, .. } = missing;
        let wanted = match operator {
            LabelOperator::In => format!("{key:?} to be one of {values:?}"),
            LabelOperator::NotIn => format!("{key:?} to be none of {values:?}"),
            LabelOperator::Exists => format!("{key:?} to be there"),
            LabelOperator::DoesNotExist => format!("{key:?} not to be there"),
        };
        Some(format!("it wants the node's label {wanted}: ask for another, or start a node with that label"))
    }
}
