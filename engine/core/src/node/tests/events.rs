//! What a node notes in its log of events.

use super::harness::*;
use crate::events::{Event, EventKind, Severity};
use crate::options::ActorOptions;

fn noted(world: &World) -> Vec<Event> {
    let mut events: Vec<Event> = world.node.events().newest_first().cloned().collect();
    events.reverse();
    events
}

fn restarts(max_restarts: i32) -> ActorOptions {
    ActorOptions { max_restarts, ..ActorOptions::default() }
}

#[test]
fn restarts_and_the_death_of_an_actor_are_told_and_what_was_asked_for_is_not() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let actor = world.actor(root, restarts(1));
    let killed = world.actor(root, restarts(0));
    let goes_with_its_job = world.actor(root, restarts(0));
    world.kill(root, killed, false);
    world.die(world.instance_of(actor));
    world.construct(actor);
    world.die(world.instance_of(actor));
    assert_eq!(world.actor_state(goes_with_its_job), "ALIVE");
    let node = world.node.id();
    world.finish(root.task);
    let told = noted(&world);
    world.end();
    let kinds: Vec<EventKind> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::ActorRestarted, EventKind::ActorDied], "{told:#?}");
    assert!(told.iter().all(|event| event.about.actor == Some(actor) && event.about.node == Some(node)));
    assert!(told[0].message.contains("made anew, restart 1 of 1"), "{}", told[0].message);
    assert!(told[1].message.contains("has died, with 1 of 1 restarts used"), "{}", told[1].message);
    assert_eq!((told[0].severity, told[1].severity), (Severity::Warning, Severity::Error));
}
