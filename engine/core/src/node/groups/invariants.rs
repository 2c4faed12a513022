//! What must hold of placement groups between any two events.

use super::Known;
use super::bundles::{inside, outside};
use crate::group::BundleId;
use crate::ids::PlacementGroupId;
use crate::node::task::Kind;
use crate::node::{Node, TaskState};
use crate::resources::Resources;

impl Node {
    /// The groups that are known, each with how many hold it.
    pub(in crate::node) fn group_edges(&self) -> impl Iterator<Item = (PlacementGroupId, u32)> {
        self.groups.known.iter().map(|(id, known)| (*id, known.edges))
    }

    /// What the node's ledger has given to bundles and to sandboxes; what does not hold of the bundles.
    pub(in crate::node) fn reserved_by_bundles(&self) -> Result<Resources, String> {
        let mut reserved = Resources::default();
        for (id, bundle) in &self.groups.bundles {
            reserved.give(&bundle.total);
            let known = self.groups.known.get(&id.group);
            if bundle.is_committed() && known.is_some_and(Known::is_removed) {
                return Err(format!("{id:?} may be used, and its group is removed"));
            }
            let mut sum = bundle.free.clone();
            let mut sandboxes = 0;
            for instance in self.instances.values().filter(|instance| instance.bundle == Some(*id)) {
                let mut held = Resources::clone(&instance.held);
                held.cpus.0 -= instance.lent_cpus.0;
                sum.give(&inside(&bundle.total, &held));
                reserved.give(&outside(&bundle.total, &held));
                sandboxes += 1;
            }
            if sum != bundle.total || sandboxes != bundle.sandboxes {
                return Err(format!(
                    "{id:?}: free and held make {sum:?} of {:?}, with {sandboxes} sandboxes of {}",
                    bundle.total, bundle.sandboxes
                ));
            }
            let mut soon = Resources::default();
            for task in self.tasks.values().filter(|task| task.state == TaskState::Running) {
                let class = &self.classes.get(task.class);
                let group = class.and_then(|class| class.group).map(|(group, _)| group);
                if matches!(task.kind, Kind::Function)
                    && group == Some(id.group)
                    && task.bundle() == Some(id.index)
                    && let Some(class) = class
                {
                    soon.give(&inside(&bundle.total, &class.needs));
                }
            }
            if soon != bundle.soon {
                return Err(format!(
                    "{id:?}: running tasks hold {soon:?} and the books say {:?}",
                    bundle.soon
                ));
            }
        }
        Ok(reserved)
    }

    /// What tasks and actors of this node take of bundles elsewhere, against the books.
    pub(in crate::node) fn broken_sent(&self) -> Option<String> {
        for (group, known) in &self.groups.known {
            for (index, place) in (0..).zip(&known.bundles) {
                let mut sent = Resources::default();
                for task in self.tasks.values().filter(|task| task.away().is_some()) {
                    let class = &self.classes[task.class];
                    if class.group.is_some_and(|(of, _)| of == *group) && task.bundle() == Some(index) {
                        sent.give(&inside(&place.resources, &class.needs));
                    }
                }
                let id = BundleId { group: *group, index };
                let hosts = self.actors.values().filter_map(|actor| actor.host.as_ref());
                let holds = hosts.filter_map(|host| host.holds.as_ref()).filter(|(of, _)| *of == id);
                holds.for_each(|(_, held)| sent.give(held));
                if sent != place.sent {
                    return Some(format!(
                        "{id:?}: {sent:?} is taken there and the books say {:?}",
                        place.sent
                    ));
                }
            }
        }
        None
    }

    /// Whether every sandbox is in a bundle of the group that its calls are in, and no other.
    pub(in crate::node) fn misplaced_sandbox(&self) -> Option<String> {
        for (id, instance) in &self.instances {
            let group = instance.bundle.map(|bundle| bundle.group);
            if instance.bundle.is_some_and(|bundle| !self.groups.bundles.contains_key(&bundle)) {
                return Some(format!("{id} is in a bundle that is not there"));
            }
            for key in &instance.calls {
                let Some(task) = self.tasks.get(*key) else { continue };
                let wanted = self.classes[task.class].group.map(|(group, _)| group);
                if !matches!(task.kind, Kind::Call(_)) && wanted != group {
                    return Some(format!("{} runs in {group:?} and is of {wanted:?}", task.id));
                }
            }
        }
        None
    }
}
