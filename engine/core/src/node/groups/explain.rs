//! Why something in a placement group does not run, in words with numbers (contract E2).

use super::bundles::inside;
use crate::group::GroupState;
use crate::node::{ClassKey, Node};
use crate::resources::{Lack, Resources};

impl Node {
    /// What a class that waits for its group lacks.
    pub(in crate::node) fn explain_in_group(&self, class: ClassKey) -> String {
        let class = &self.classes[class];
        let Some((group, wanted)) = class.group else { return String::new() };
        let state = self.groups.known_state(group);
        let Some(known) = self.groups.known.get(&group) else { return format!("waits for {group}") };
        if known.state != Some(GroupState::Created) {
            let why = if known.why.is_empty() { String::new() } else { format!(": the group {}", known.why) };
            return format!("waits for its placement group {group}, which is {state}{why}");
        }
        let bundles: Vec<String> = known
            .places_of(wanted)
            .take(5)
            .map(|(index, place)| {
                let id = crate::group::BundleId { group, index };
                let free = match (self.groups.bundles.get(&id), place.node) {
                    (Some(bundle), _) => bundle.free.clone(),
                    (None, _) => {
                        let mut free = place.resources.clone();
                        free.take_what_is_there(&place.sent);
                        free
                    }
                };
                let node = place.node.map_or("no node".to_owned(), |node| node.to_string());
                let lacks = print(&free.lacking(&inside(&place.resources, &class.needs)));
                format!("bundle {index} on {node} {lacks}")
            })
            .collect();
        format!("waits for room in its placement group {group}: {}", bundles.join("; "))
    }

    /// What of that which something lacks here is reserved by placement groups; empty when nothing is.
    pub(in crate::node) fn explain_reserved(&self, needs: &Resources) -> String {
        let mut reserved = Resources::default();
        self.groups.bundles.values().for_each(|bundle| reserved.give(&bundle.total));
        let mut then = self.free.clone();
        then.give(&reserved);
        let missed = self.free.lacking(needs).len() > then.lacking(needs).len();
        match missed {
            true => format!(
                " ({} of its {} CPUs are reserved by {} bundles of placement groups)",
                reserved.cpus,
                self.total.cpus,
                self.groups.bundles.len()
            ),
            false => String::new(),
        }
    }

    /// What a class lacks of where it is to run.
    pub(in crate::node) fn lacks_of(&self, class_key: ClassKey) -> Vec<Lack> {
        let class = &self.classes[class_key];
        let Some((group, wanted)) = class.group else {
            let mut lacks = self.free.lacking(&class.needs);
            lacks.extend(self.lacks_beside_shares(class_key));
            return lacks;
        };
        let mut bundles = self.groups.of_group(group).filter(|(id, _)| wanted.is_none_or(|i| id.index == i));
        bundles
            .next()
            .map_or(Vec::new(), |(_, bundle)| bundle.free.lacking(&inside(&bundle.total, &class.needs)))
    }
}

fn print(lacks: &[Lack]) -> String {
    if lacks.is_empty() {
        return "seems to have room".to_owned();
    }
    let lacks: Vec<String> = lacks
        .iter()
        .map(|lack| format!("{} of {} where {} is free", lack.wanted, lack.resource, lack.had))
        .collect();
    format!("lacks {}", lacks.join(" and "))
}
