use std::time::Duration;

use super::choose::{Room, Wanted, choose};
use super::*;
use crate::group::GroupStrategy;
use crate::head::Limits;
use crate::ids::IdGenerator;
use crate::node::{Load, NodeInfo};
use crate::options::{LabelOperator, LabelSelector};
use crate::resources::Quantity;

fn cpus(count: u64) -> Resources {
    Resources { cpus: Quantity::units(count), ..Resources::default() }
}

fn bundle(count: u64) -> Bundle {
    Bundle { resources: cpus(count), labels: Vec::new() }
}

fn on_rack(count: u64, rack: &str, hard: bool) -> Bundle {
    let selector = LabelSelector {
        key: "rack".to_owned(),
        operator: LabelOperator::In,
        values: vec![rack.to_owned()],
        hard,
    };
    Bundle { resources: cpus(count), labels: vec![selector] }
}

/// Nodes that have so many CPUs and all of them free, each in a rack of its own.
fn rooms(counts: &[u64]) -> Vec<Room> {
    let mut ids = IdGenerator::new([4; 16]);
    let room = |(at, count): (usize, &u64)| Room {
        node: ids.node(),
        labels: vec![("rack".to_owned(), at.to_string())],
        total: cpus(*count),
        free: cpus(*count),
    };
    counts.iter().enumerate().map(room).collect()
}

/// Where the bundles go, by the places of the nodes.
fn places(strategy: GroupStrategy, bundles: &[Bundle], rooms: &[Room], kept: &[usize]) -> Option<Vec<usize>> {
    let kept = kept.iter().map(|at| rooms[*at].node).collect();
    let chosen = choose(&Wanted { strategy, bundles: bundles.iter().collect(), kept }, rooms)?;
    let place = |node: &NodeId| rooms.iter().position(|room| room.node == *node).expect("one of these");
    Some(chosen.iter().map(place).collect())
}

fn counts(bundles: &[u64]) -> Vec<Bundle> {
    bundles.iter().map(|count| bundle(*count)).collect()
}

fn distinct(places: &[usize]) -> usize {
    places.iter().collect::<BTreeSet<_>>().len()
}

// contract: P1
#[test]
fn pack_uses_few_nodes() {
    let rooms = rooms(&[2, 8, 4]);
    let places = places(GroupStrategy::Pack, &counts(&[3, 3, 2]), &rooms, &[]).expect("room");
    assert_eq!(places, [1, 1, 1]);
    let many = counts(&[4, 3, 3]);
    let places = self::places(GroupStrategy::Pack, &many, &rooms, &[]).expect("room");
    assert_eq!(distinct(&places), 2, "{places:?}");
    assert_eq!(
        self::places(GroupStrategy::Pack, &counts(&[3, 3, 2, 4, 3]), &rooms, &[]),
        None,
        "all or none"
    );
}

// contract: P1
#[test]
fn pack_finds_a_tight_fit() {
    let rooms = rooms(&[5, 4]);
    let places = places(GroupStrategy::Pack, &counts(&[4, 3, 2]), &rooms, &[]).expect("room");
    assert_eq!(places, [1, 0, 0]);
}

// contract: P1
#[test]
fn pack_stays_with_what_it_has() {
    let rooms = rooms(&[4, 4, 4]);
    assert_eq!(places(GroupStrategy::Pack, &counts(&[1, 1]), &rooms, &[2]), Some(vec![2, 2]));
    assert_eq!(places(GroupStrategy::StrictPack, &counts(&[1]), &rooms, &[2]), Some(vec![2]));
    assert_eq!(places(GroupStrategy::StrictPack, &counts(&[5]), &rooms, &[2]), None);
}

// contract: P1
#[test]
fn spread_uses_many_nodes_and_shares_them_when_it_must() {
    let rooms = rooms(&[4, 4, 4]);
    let places = places(GroupStrategy::Spread, &counts(&[1, 1, 1]), &rooms, &[]).expect("room");
    assert_eq!(distinct(&places), 3);
    let places = self::places(GroupStrategy::Spread, &counts(&[1, 1, 1, 1]), &rooms, &[]).expect("room");
    assert_eq!(distinct(&places), 3);
    let places = self::places(GroupStrategy::Spread, &counts(&[1, 1]), &rooms, &[0]).expect("room");
    assert_eq!(places.iter().filter(|at| **at == 0).count(), 0, "away from those it has");
}

// contract: P1
#[test]
fn strict_pack_is_one_node_or_none() {
    let rooms = rooms(&[4, 6, 5]);
    assert_eq!(
        places(GroupStrategy::StrictPack, &counts(&[2, 3]), &rooms, &[]),
        Some(vec![2, 2]),
        "the tightest"
    );
    assert_eq!(places(GroupStrategy::StrictPack, &counts(&[4, 3]), &rooms, &[]), None);
}

// contract: P1
#[test]
fn strict_spread_is_a_node_for_each_or_none() {
    let rooms = rooms(&[4, 2, 1]);
    // Each of the two larger ones would do for the first alone: only one order fits all.
    let places = places(GroupStrategy::StrictSpread, &counts(&[1, 2, 3]), &rooms, &[]).expect("room");
    assert_eq!(places, [2, 1, 0]);
    assert_eq!(self::places(GroupStrategy::StrictSpread, &counts(&[1, 1, 1, 1]), &rooms, &[]), None);
    assert_eq!(self::places(GroupStrategy::StrictSpread, &counts(&[1, 1, 1]), &rooms, &[0]), None);
    let bundles = [on_rack(1, "0", true), bundle(1), on_rack(1, "1", true)];
    let places = self::places(GroupStrategy::StrictSpread, &bundles, &rooms, &[]).expect("room");
    assert_eq!(places, [0, 2, 1], "those that can go elsewhere make room");
}

// contract: P1
#[test]
fn labels_choose_nodes_of_bundles() {
    let rooms = rooms(&[4, 4, 4]);
    let bundles = [on_rack(1, "2", true), on_rack(1, "1", false), on_rack(1, "9", false)];
    for strategy in [GroupStrategy::Pack, GroupStrategy::Spread, GroupStrategy::StrictSpread] {
        let places = places(strategy, &bundles, &rooms, &[]).expect("room");
        assert_eq!(places[..2], [2, 1], "{strategy:?}");
    }
    let strict = &bundles[..2];
    assert_eq!(places(GroupStrategy::StrictPack, strict, &rooms, &[]), Some(vec![2, 2]));
    assert_eq!(places(GroupStrategy::Pack, &[on_rack(1, "9", true)], &rooms, &[]), None);
}

struct Scene {
    head: Head,
    nodes: Vec<NodeId>,
    ids: IdGenerator,
    now: Time,
}

impl Scene {
    fn new(counts: &[u64], limits: GroupLimits) -> Self {
        let mut ids = IdGenerator::new([5; 16]);
        let mut head = Head::new([1; 16], Limits { groups: limits, ..Limits::default() });
        let mut nodes = Vec::new();
        for count in counts {
            let id = ids.node();
            let labels = vec![("rack".to_owned(), nodes.len().to_string())];
            let info = NodeInfo { id, labels, total: cpus(*count) };
            head.node_joins(Time(0), info, &mut Vec::new()).expect("room");
            nodes.push(id);
        }
        Self { head, nodes, ids, now: Time(0) }
    }

    fn ask(&mut self, strategy: GroupStrategy, bundles: Vec<Bundle>) -> Result<PlacementGroupId, Error> {
        let id = self.ids.placement_group();
        let job = self.ids.job();
        let owner = self.nodes[0];
        let spec = GroupSpec { id, job, owner, name: None, namespace: String::new(), strategy, bundles };
        let mut fx = Vec::new();
        self.head.create_group(self.now, spec, &mut fx)?;
        self.answer(&fx);
        Ok(id)
    }

    /// The nodes prepare whatever they are asked to, and say nothing of what they have free.
    fn answer(&mut self, fx: &[Effect]) {
        let mut more = Vec::new();
        for effect in fx {
            let Effect::Tell(node, Notice::Group(GroupNotice::Prepare { group, generation, bundles })) =
                effect
            else {
                continue;
            };
            let (_, load) = self.head.nodes().find(|(info, _)| info.id == *node).expect("it lives");
            let mut free = load.free.clone();
            bundles.iter().for_each(|(_, resources)| free.take(resources));
            let load = Load { free, version: load.version + 1 };
            let answer = crate::group::Answer { group: *group, generation: *generation, load };
            self.head.group_message(self.now, *node, GroupMessage::Prepared(answer), &mut more);
        }
        if !more.is_empty() {
            self.answer(&more);
        }
    }

    /// A node has so many CPUs free, and time passes.
    fn has(&mut self, node: usize, count: u64) {
        self.now = self.now + Duration::from_millis(50);
        let id = self.nodes[node];
        let (_, load) = self.head.nodes().find(|(info, _)| info.id == id).expect("it lives");
        let load = Load { free: cpus(count), version: load.version + 1 };
        let mut fx = Vec::new();
        self.head.heard_of(self.now, id, load, &mut fx);
        self.answer(&fx);
    }

    fn state(&self, id: PlacementGroupId) -> GroupState {
        self.head.group(id).expect("it is known").state
    }

    fn why(&self, id: PlacementGroupId) -> String {
        self.head.explain_group(id).expect("it is known")
    }
}

// contract: P1, E2
#[test]
fn what_no_nodes_can_hold_waits_and_says_why() {
    let mut scene = Scene::new(&[4, 4], GroupLimits::default());
    let cases = [
        (
            GroupStrategy::Pack,
            vec![bundle(1), bundle(5)],
            "bundle 1 wants 5 of cpus, and the most that is there on one of 2 nodes is 4",
        ),
        (
            GroupStrategy::Spread,
            counts(&[4, 4, 4]),
            "together they want 12 of cpus, and 8 is there on 2 nodes together",
        ),
        (
            GroupStrategy::StrictPack,
            counts(&[3, 3]),
            "together they want 6 of cpus on one node, and the most that is there on one is 4",
        ),
        (
            GroupStrategy::StrictSpread,
            counts(&[1, 1, 1]),
            "each of 3 bundles wants a node of its own, and 2 nodes have room there for one",
        ),
        (
            GroupStrategy::Pack,
            vec![on_rack(1, "9", true)],
            "bundle 0 wants the labels \"rack\" in [\"9\"], which none of 2 nodes has",
        ),
        (GroupStrategy::Pack, counts(&[3, 3, 2]), "is in pieces too small"),
    ];
    for (strategy, bundles, wanted) in cases {
        let id = scene.ask(strategy, bundles).expect("it is accepted");
        assert_eq!(scene.state(id), GroupState::Pending);
        let why = scene.why(id);
        assert!(why.contains("PENDING") && why.contains("cannot") && why.contains(wanted), "{why}");
        scene.head.remove_group(scene.now, id, "enough", &mut Vec::new());
    }
    scene.has(0, 1);
    let id = scene.ask(GroupStrategy::StrictSpread, counts(&[2, 4])).expect("it is accepted");
    let why = scene.why(id);
    assert!(why.contains("waits for room") && why.contains("1 nodes have room free"), "{why}");
    scene.has(0, 4);
    assert_eq!(scene.state(id), GroupState::Created);
    assert!(scene.why(id).contains("all of its 2 bundles"), "{}", scene.why(id));
}

// contract: P1
#[test]
fn a_small_group_passes_a_large_one_a_bounded_number_of_times() {
    let limits =
        GroupLimits { passed_over_max: 3, held_up_max: Duration::from_secs(1), ..GroupLimits::default() };
    let mut scene = Scene::new(&[4], limits);
    scene.has(0, 3);
    let large = scene.ask(GroupStrategy::Pack, counts(&[4])).expect("accepted");
    let hopeless = scene.ask(GroupStrategy::Pack, counts(&[9])).expect("accepted");
    let mut states = Vec::new();
    for _ in 0..5 {
        let small = scene.ask(GroupStrategy::Pack, counts(&[1])).expect("accepted");
        states.push(scene.state(small));
        scene.has(0, 3);
    }
    use GroupState::{Created, Pending};
    assert_eq!(states, [Created, Created, Created, Pending, Pending]);
    // What it waits for does not come: the others go on in the end.
    (0..30).for_each(|_| scene.has(0, 3));
    let mut fx = Vec::new();
    scene.head.timer(scene.now, &mut fx);
    scene.answer(&fx);
    let pending = scene.head.groups().iter().filter(|group| group.state == Pending).count();
    assert_eq!(pending, 2, "the large one and the hopeless one");
    scene.has(0, 4);
    assert_eq!((scene.state(large), scene.state(hopeless)), (Created, Pending));
}

#[test]
fn every_group_that_waits_is_looked_at() {
    let limits = GroupLimits { groups_looked_at_max: 4, ..GroupLimits::default() };
    let mut scene = Scene::new(&[4], limits);
    for _ in 0..10 {
        scene.ask(GroupStrategy::Pack, counts(&[9])).expect("accepted");
    }
    scene.has(0, 0);
    let last = scene.ask(GroupStrategy::Pack, counts(&[2])).expect("accepted");
    for _ in 0..10 {
        // More is free each time.
        scene.has(0, 1);
        scene.has(0, 2);
    }
    assert_eq!(scene.state(last), GroupState::Created);
}

#[test]
fn groups_are_bounded_and_checked() {
    let limits = GroupLimits { groups_max: 2, bundles_per_group_max: 2, ..GroupLimits::default() };
    let mut scene = Scene::new(&[4], limits);
    let code = |result: Result<PlacementGroupId, Error>| result.expect_err("it is refused").code();
    assert_eq!(code(scene.ask(GroupStrategy::Pack, Vec::new())), ErrorCode::InvalidArgument);
    assert_eq!(code(scene.ask(GroupStrategy::Pack, counts(&[1, 0]))), ErrorCode::InvalidArgument);
    assert_eq!(code(scene.ask(GroupStrategy::Pack, counts(&[1, 1, 1]))), ErrorCode::LimitExceeded);
    let first = scene.ask(GroupStrategy::Pack, counts(&[1])).expect("accepted");
    scene.ask(GroupStrategy::Pack, counts(&[1])).expect("accepted");
    assert_eq!(code(scene.ask(GroupStrategy::Pack, counts(&[1]))), ErrorCode::LimitExceeded);
    scene.head.remove_group(scene.now, first, "enough", &mut Vec::new());
    scene.ask(GroupStrategy::Pack, counts(&[1])).expect("there is room again");
}

// contract: H3
#[test]
fn what_a_dead_node_says_of_groups_has_no_effect() {
    let mut scene = Scene::new(&[1, 4], GroupLimits::default());
    let id = scene.ids.placement_group();
    let (job, owner) = (scene.ids.job(), scene.nodes[0]);
    let bundles = counts(&[4]);
    let strategy = GroupStrategy::Pack;
    let spec = GroupSpec { id, job, owner, name: None, namespace: String::new(), strategy, bundles };
    let mut fx = Vec::new();
    scene.head.create_group(scene.now, spec, &mut fx).expect("accepted");
    let dead = scene.nodes[1];
    scene.head.node_leaves(scene.now, dead, "it was told to", &mut Vec::new());
    scene.answer_as(dead, id);
    assert_eq!(scene.state(id), GroupState::Pending);
}

impl Scene {
    fn answer_as(&mut self, node: NodeId, group: PlacementGroupId) {
        let answer = crate::group::Answer { group, generation: 1, load: Load::default() };
        self.head.group_message(self.now, node, GroupMessage::Prepared(answer), &mut Vec::new());
    }
}

#[test]
fn what_becomes_of_a_group_is_noted_in_order() {
    let mut scene = Scene::new(&[1, 4, 4], GroupLimits::default());
    let job = scene.ids.job();
    let (owner, strategy) = (scene.nodes[0], GroupStrategy::Pack);
    let spec =
        |id, bundles| GroupSpec { id, job, owner, name: None, namespace: String::new(), strategy, bundles };
    let (id, hopeless) = (scene.ids.placement_group(), scene.ids.placement_group());
    let mut fx = Vec::new();
    scene.head.create_group(scene.now, spec(id, counts(&[3, 1])), &mut fx).expect("accepted");
    scene.answer(&fx);
    let place = scene.head.group(id).and_then(|group| group.nodes[0]).expect("it is placed");
    fx.clear();
    scene.head.node_leaves(scene.now, place, "it was told to", &mut fx);
    scene.answer(&fx);
    fx.clear();
    // There may be a moment until it is tried again.
    scene.now = scene.now + Duration::from_secs(1);
    scene.head.timer(scene.now, &mut fx);
    scene.answer(&fx);
    scene.head.create_group(scene.now, spec(hopeless, counts(&[9])), &mut Vec::new()).expect("accepted");
    scene.head.remove_group(scene.now, id, "it was removed", &mut Vec::new());
    let is_of_group = |event: &&crate::events::Event| event.about.group.is_some();
    let mut told: Vec<_> = scene.head.events().newest_first().filter(is_of_group).cloned().collect();
    told.reverse();
    let kinds: Vec<EventKind> = told.iter().map(|event| event.kind).collect();
    use EventKind::*;
    let wanted = [GroupCreated, GroupRescheduling, GroupReplaced, GroupInfeasible, GroupRemoved];
    assert_eq!(kinds, wanted, "{told:#?}");
    assert_eq!(told[0].message, "its 2 bundles (PACK) are reserved on 1 node");
    assert_eq!(told[1].message, "2 of its 2 bundles lost their place, and are placed again");
    assert!(told[3].message.contains("cannot have its 1 bundles"), "{}", told[3].message);
    assert_eq!(told[4].message, "its 2 bundles are given back: it was removed");
    assert!(told.iter().all(|event| event.about.job == Some(job)));
    assert_eq!((told[3].about.group, told[4].about.group), (Some(hopeless), Some(id)));
}
