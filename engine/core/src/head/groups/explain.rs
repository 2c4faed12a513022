//! Why a group is not reserved, in a sentence with numbers (contract E2).

use super::choose::{Room, accepts, choose, sum};
use super::{Group, GroupState};
use crate::group::{Bundle, GroupStrategy};
use crate::head::Head;
use crate::ids::PlacementGroupId;
use crate::options::{LabelOperator, LabelSelector};
use crate::resources::{Lack, Resources};

impl Head {
    /// Says where a group stands and what it waits for; none when it is not known.
    pub fn explain_group(&self, id: PlacementGroupId) -> Option<String> {
        let group = self.groups.table.get(&id)?;
        let why = match group.state {
            GroupState::Created => {
                format!("all of its {} bundles are reserved", group.places.len())
            }
            GroupState::Removed => group.why.to_string(),
            GroupState::Pending | GroupState::Rescheduling if !group.asked.is_empty() => {
                let asked: Vec<String> = group.asked.iter().take(5).map(ToString::to_string).collect();
                format!("waits for {} nodes to prepare its bundles: {}", group.asked.len(), asked.join(", "))
            }
            GroupState::Pending | GroupState::Rescheduling => group.explain(&self.rooms()),
        };
        Some(format!("{id} is {}: it {why}", group.state))
    }
}

impl Group {
    /// What a group that waits lacks on these nodes.
    pub(super) fn explain(&self, rooms: &[Room]) -> String {
        let lost = self.missing().len();
        let what = match self.state {
            GroupState::Rescheduling => format!("{lost} of its {} bundles", self.places.len()),
            _ => format!("its {lost} bundles"),
        };
        let strategy = self.spec.strategy.as_str();
        if self.could_ever(rooms) {
            return match choose(&self.wanted(), rooms) {
                Some(_) => format!("is about to have {what} prepared"),
                None => format!(
                    "waits for room for {what} ({strategy}): {}",
                    self.lacks(rooms, |r| &r.free, "free")
                ),
            };
        }
        let why = self.lacks(rooms, |room| &room.total, "there");
        format!(
            "cannot have {what} ({strategy}) on the {} nodes that there are, and waits for others: {why}; ask for less, or add nodes",
            rooms.len()
        )
    }

    /// The first thing that is wrong: with one of the bundles, or with all of them together.
    fn lacks(&self, rooms: &[Room], amount: fn(&Room) -> &Resources, word: &str) -> String {
        let wanted = self.wanted();
        let missing = self.missing();
        for (index, bundle) in missing.iter().zip(&wanted.bundles) {
            if let Some(why) = lacks_bundle(*index, bundle, rooms, amount, word) {
                return why;
            }
        }
        let sum = sum(wanted.bundles.iter().copied());
        match self.spec.strategy {
            GroupStrategy::StrictPack => {
                let most = most(rooms.iter(), amount);
                match most.lacking(&sum).first() {
                    Some(lack) => format!(
                        "together they want {} of {} on one node, and the most that is {word} on one is {}",
                        lack.wanted, lack.resource, lack.had
                    ),
                    None => format!(
                        "together they want {} on one node, and none of the {} has all of it {word}",
                        print(&sum),
                        rooms.len()
                    ),
                }
            }
            GroupStrategy::StrictSpread => {
                let others = rooms.iter().filter(|room| !wanted.kept.contains(&room.node));
                let could = others.filter(|room| {
                    let fits = |bundle: &&Bundle| {
                        amount(room).covers(&bundle.resources) && accepts(&bundle.labels, room)
                    };
                    wanted.bundles.iter().any(fits)
                });
                format!(
                    "each of {} bundles wants a node of its own, and {} nodes have room {word} for one",
                    wanted.bundles.len(),
                    could.count()
                )
            }
            GroupStrategy::Pack | GroupStrategy::Spread => {
                let mut all = Resources::default();
                rooms.iter().for_each(|room| all.give(amount(room)));
                match all.lacking(&sum).first() {
                    Some(lack) => format!(
                        "together they want {} of {}, and {} is {word} on {} nodes together",
                        lack.wanted,
                        lack.resource,
                        lack.had,
                        rooms.len()
                    ),
                    None => format!(
                        "together they want {}, and what is {word} on {} nodes is in pieces too small for the bundles",
                        print(&sum),
                        rooms.len()
                    ),
                }
            }
        }
    }
}

/// Why no node can take a bundle alone; none when one can.
fn lacks_bundle(
    index: u32,
    bundle: &Bundle,
    rooms: &[Room],
    amount: fn(&Room) -> &Resources,
    word: &str,
) -> Option<String> {
    let labelled: Vec<&Room> = rooms.iter().filter(|room| accepts(&bundle.labels, room)).collect();
    if labelled.is_empty() {
        let labels: Vec<String> =
            bundle.labels.iter().filter(|selector| selector.hard).map(print_selector).collect();
        return Some(match labels.is_empty() {
            true => "there is no node".to_owned(),
            false => format!(
                "bundle {index} wants the labels {}, which none of {} nodes has",
                labels.join(" and "),
                rooms.len()
            ),
        });
    }
    if labelled.iter().any(|room| amount(room).covers(&bundle.resources)) {
        return None;
    }
    let most = most(labelled.iter().copied(), amount);
    let lacks = most.lacking(&bundle.resources);
    let Some(Lack { resource, wanted, had }) = lacks.first() else {
        return Some(format!(
            "bundle {index} wants {} on one node, and none of {} has all of it {word}",
            print(&bundle.resources),
            labelled.len()
        ));
    };
    Some(format!(
        "bundle {index} wants {wanted} of {resource}, and the most that is {word} on one of {} nodes is {had}",
        labelled.len()
    ))
}

fn most<'a>(rooms: impl Iterator<Item = &'a Room>, amount: fn(&Room) -> &Resources) -> Resources {
    let mut most = Resources::default();
    rooms.for_each(|room| most.raise_to(amount(room)));
    most
}

/// All that is wanted, for people.
fn print(resources: &Resources) -> String {
    let lacks = Resources::default().lacking(resources);
    let all: Vec<String> = lacks.iter().map(|lack| format!("{} of {}", lack.wanted, lack.resource)).collect();
    all.join(" and ")
}

fn print_selector(selector: &LabelSelector) -> String {
    let LabelSelector { key, operator, values, .. } = selector;
    match operator {
        LabelOperator::In => format!("{key:?} in {values:?}"),
        LabelOperator::NotIn => format!("{key:?} not in {values:?}"),
        LabelOperator::Exists => format!("{key:?}"),
        LabelOperator::DoesNotExist => format!("no {key:?}"),
    }
}
