//! Placement groups: what runs in them, and what becomes of it.
use crate::actors::Counter;
use crate::scenario::{Arguments, got, shown};
use crate::{bad, good};
use engine::prelude::*;
use engine::{Bundle, GroupStrategy, PlacementGroup, Strategy};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// The node that it runs on.
#[engine::task]
pub fn node() -> String {
    engine::context().node_id()
}

/// The node that it runs on, and those of its children.
#[engine::task]
pub fn family(children: u64) -> Result<Vec<String>> {
    let children = (0..children).map(|_| node::spawn()).collect::<Result<Vec<_>>>()?;
    let mut nodes = vec![engine::context().node_id()];
    nodes.extend(engine::get_all(&children)?);
    Ok(nodes)
}

/// Runs [`node`] in each bundle of a group that came as a value.
#[engine::task(cpus = 0)]
pub fn through(group: PlacementGroup, bundles: u32) -> Result<Vec<String>> {
    nodes_of(&group, bundles)
}

/// Sleeps, and says where it ran.
#[engine::task]
pub fn sleep_here(milliseconds: u64) -> String {
    std::thread::sleep(Duration::from_millis(milliseconds));
    engine::context().node_id()
}

fn within(group: &PlacementGroup, bundle: Option<u32>, capture_children: bool) -> Strategy {
    Strategy::PlacementGroup { group: group.clone(), bundle, capture_children }
}

fn nodes_of(group: &PlacementGroup, bundles: u32) -> Result<Vec<String>> {
    let spawn = |bundle| node::options().strategy(within(group, Some(bundle), false)).spawn();
    let nodes = (0..bundles).map(spawn).collect::<Result<Vec<_>>>()?;
    engine::get_all(&nodes)
}

fn asked_for(args: &mut Arguments, name: Option<&str>) -> Result<(PlacementGroup, u32)> {
    let strategy = match args.text("the strategy")?.as_str() {
        "pack" => GroupStrategy::Pack,
        "spread" => GroupStrategy::Spread,
        "strict-pack" => GroupStrategy::StrictPack,
        "strict-spread" => GroupStrategy::StrictSpread,
        other => engine::bail!("there is no strategy `{other}`"),
    };
    let bundles = u32::try_from(args.number(2)?)?;
    let group = PlacementGroup::create((0..bundles).map(|_| Bundle::new().cpus(1)), strategy, name)?;
    Ok((group, bundles))
}

/// A group from its making to its removal.
pub fn group(args: &mut Arguments) -> Result<Json> {
    let (group, bundles) = asked_for(args, Some("ours"))?;
    group.ready().get()?;
    let nodes = nodes_of(&group, bundles)?;
    let through = through::spawn(&group, bundles)?.get()?;
    let captured = family::options().strategy(within(&group, Some(0), true)).spawn(3)?.get()?;
    let twin = PlacementGroup::create([Bundle::new().cpus(1)], GroupStrategy::Pack, Some("ours"));
    let found = PlacementGroup::lookup("ours")?;
    let beyond = node::options().strategy(within(&group, Some(bundles), false)).spawn()?.get();
    let too_large = node::options().cpus(2).strategy(within(&group, None, false)).spawn()?.get();
    let counter = Counter::options().strategy(within(&group, Some(0), false)).spawn(1)?;
    let counted = counter.add(1)?.get()?;
    let running = bad::sleep_forever::options().strategy(within(&group, Some(1), false)).spawn()?;
    found.remove()?;
    group.remove()?;
    let code = |error: Option<Error>| error.map(|error| error.code().as_str());
    Ok(json!({
        "nodes": nodes, "through": through, "captured": captured, "counted": counted,
        "twin": code(twin.err()), "found": found.id() == group.id(),
        "beyond": beyond.err().map(|error| shown(&error)),
        "too_large": too_large.err().map(|error| shown(&error)),
        "running": code(running.get().err()),
        "call": code(counter.add(1)?.get().err()),
        "after": code(node::options().strategy(within(&group, None, false)).spawn()?.get().err()),
        "ready": code(group.ready().get().err()),
        "gone": code(PlacementGroup::lookup("ours").err()),
        "outside": good::identity::spawn(7)?.get()?,
    }))
}

/// A group that waits for room, or for nodes: is it ready within so many milliseconds?
pub fn waits(args: &mut Arguments) -> Result<Json> {
    let (group, _) = asked_for(args, None)?;
    println!("waiting for {}", group.id());
    got(group.ready().get_timeout(Duration::from_millis(args.number(60_000)?)))
}

/// A task that sleeps in each bundle.
pub fn sleeps(args: &mut Arguments) -> Result<Json> {
    let (group, bundles) = asked_for(args, None)?;
    let milliseconds = args.number(1_000)?;
    group.ready().get()?;
    let spawn =
        |bundle| sleep_here::options().strategy(within(&group, Some(bundle), false)).spawn(milliseconds);
    let nodes = (0..bundles).map(spawn).collect::<Result<Vec<_>>>()?;
    got(engine::get_all(&nodes))
}

/// What is asked for in vain.
pub fn wrong() -> Result<Json> {
    let create = |bundles: Vec<Bundle>, name: Option<&str>| {
        PlacementGroup::create(bundles, GroupStrategy::Pack, name).err().map(|error| shown(&error))
    };
    Ok(json!({
        "nothing": create(Vec::new(), None),
        "empty": create(vec![Bundle::new()], None),
        "nameless": create(vec![Bundle::new().cpus(1)], Some("")),
        "many": create(vec![Bundle::new().cpus(1); 5_000], None),
        "unknown": PlacementGroup::lookup("nobody's").err().map(|error| shown(&error)),
    }))
}
