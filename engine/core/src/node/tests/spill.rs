//! The arena is full: what is written out, what waits, and what comes back (contract O7).

use super::harness::*;
use crate::error::ErrorCode;
use crate::events::EventKind;
use crate::ids::ObjectId;
use crate::node::TaskState::*;
use crate::node::{Caller, Limits, Room, RoomTicket, Until, WaitState, Waitable};
use crate::value::{Argument, Handle, Residence};

/// A node whose arena has room for 100 bytes and which spills.
fn small_world() -> World {
    World::new(cpus(2), Limits { store_bytes_max: 100, spill: true, ..Limits::default() })
}

fn place_of(world: &World, id: ObjectId) -> &'static str {
    world.node.object(id).expect("an object").place
}

fn get_value(world: &mut World, from: Caller, id: ObjectId) -> WaitState {
    world.wait(from, &[Waitable::Value(id)], Until::AllOrFailure, None)
}

// contract: O7
#[test]
fn above_the_mark_the_least_recently_used_go_first() {
    let mut world = small_world();
    let root = world.job();
    let first = world.put(root, large(30));
    let second = world.put(root, large(30));
    assert_eq!(get_value(&mut world, root, first), WaitState::Ready);
    let third = world.put(root, large(30));
    assert_eq!(place_of(&world, second), "SPILLED", "it was used longest ago");
    assert_eq!((place_of(&world, first), place_of(&world, third)), ("ARENA", "ARENA"));
    world.end();
}

// contract: O7
#[test]
fn one_on_disk_comes_back_when_it_is_read_and_is_written_only_once() {
    let mut world = small_world();
    let root = world.job();
    let objects: Vec<_> = (0..4).map(|_| world.put(root, large(40))).collect();
    assert_eq!(place_of(&world, objects[0]), "SPILLED");
    let WaitState::Blocked(wait) = get_value(&mut world, root, objects[0]) else { panic!("it is on disk") };
    assert!(world.is_awake(wait));
    let value = world.outcome(root, objects[0]).expect("ready").expect("a value");
    assert_eq!(value.place.residence(), Residence::Arena);
    let written = world.node.node_view().counters.objects_spilled;
    for id in objects.iter().cycle().skip(1).take(8) {
        get_value(&mut world, root, *id);
    }
    let again = world.node.node_view().counters.objects_spilled - written;
    assert!(again <= 3, "each of the other three is written out at most once: {again}");
    world.end();
}

// contract: O7
#[test]
fn an_argument_of_a_running_task_stays_and_comes_free_after_it() {
    let mut world = small_world();
    let root = world.job();
    let used = world.put(root, large(60));
    let task = world.spawn(root, &[used], options());
    world.put(root, large(30));
    world.put(root, large(10));
    assert_eq!((world.state(task), place_of(&world, used)), (Running, "ARENA"));
    world.finish(task);
    world.put(root, large(60));
    assert_eq!(place_of(&world, used), "SPILLED");
    world.end();
}

// contract: O7
#[test]
fn a_task_waits_for_arguments_that_do_not_fit_and_holds_no_cpu_meanwhile() {
    let mut world = small_world();
    let root = world.job();
    let big = world.put(root, large(90));
    let other = world.put(root, large(60));
    assert_eq!(place_of(&world, big), "SPILLED");
    let reader = world.spawn(root, &[other], options());
    let waiting = world.spawn(root, &[big], options());
    assert_eq!((world.state(reader), world.state(waiting)), (Running, PendingStoreMemory));
    let others = world.spawn_many(root, 1);
    world.finish_all(&others);
    world.finish(reader);
    assert_eq!(world.state(waiting), Running);
    let (_, call) = &world.running[&waiting];
    assert_eq!(call.arguments[0].place.residence(), Residence::Arena);
    world.finish(waiting);
    world.end();
}

// contract: O7
#[test]
fn arguments_that_can_never_fit_fail_with_the_numbers() {
    let mut world = small_world();
    let root = world.job();
    let parts: Vec<_> = (0..3).map(|_| world.put(root, large(50))).collect();
    let task = world.spawn(root, &parts, options());
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::StoreFull);
    assert!(error.message().contains("150") && error.message().contains("100"), "{error}");
    world.end();
}

/// Two running tasks pin all of the arena, and one waits for a child that wants what is on disk.
// contract: O7, T2
#[test]
fn when_nothing_can_make_room_the_argument_is_read_from_disk() {
    let mut world = small_world();
    let root = world.job();
    let on_disk = world.put(root, large(50));
    let pinned = world.put(root, large(80));
    let parent = world.spawn(root, &[pinned], options());
    let guest = world.caller(parent);
    world.acquire(guest, Handle::Object(on_disk));
    let child = world.spawn(guest, &[on_disk], options());
    assert_eq!(world.state(child), PendingStoreMemory);
    let wait = world.block_on(guest, child);
    let wait_of_root = world.get(root, &[parent.output(0)]);
    assert!(wait_of_root.is_some());
    assert_eq!(world.state(child), Running, "nobody else runs who could give room up");
    assert_eq!(world.running[&child].1.arguments[0].place.residence(), Residence::Spilled);
    world.finish(child);
    assert!(world.is_awake(wait));
    world.finish(parent);
    world.end();
}

// contract: O7
#[test]
fn room_is_given_in_the_order_in_which_it_was_asked_for() {
    let mut world = small_world();
    world.slow_disk = true;
    let root = world.job();
    world.put(root, large(70));
    let tasks = world.spawn_many(root, 2);
    let waits: Vec<_> = tasks
        .iter()
        .map(|task| {
            let guest = world.caller(*task);
            let mut ticket = RoomTicket::new(50);
            match world.event(|node, now, fx| node.make_room(now, guest, &mut ticket, fx)) {
                Ok(Room::Wait(wait)) => wait,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(world.state(tasks[0]), Blocked);
    assert!(!world.is_awake(waits[0]));
    world.write_out(None);
    assert!(world.is_awake(waits[0]));
    world.end();
}

// contract: O7
#[test]
fn a_full_disk_is_told_to_who_waits_and_the_same_put_works_when_there_is_room() {
    let mut world = small_world();
    world.slow_disk = true;
    let root = world.job();
    let first = world.put(root, large(70));
    let mut ticket = RoomTicket::new(60);
    let Ok(Room::Wait(wait)) = world.event(|node, now, fx| node.make_room(now, root, &mut ticket, fx)) else {
        panic!("it can be written out")
    };
    world.write_out(Some(error(ErrorCode::OutOfDisk)));
    assert!(world.is_awake(wait));
    let refused = world.event(|node, now, fx| node.make_room(now, root, &mut ticket, fx));
    assert_eq!(refused.expect_err("the disk is full").code(), ErrorCode::OutOfDisk);
    assert_eq!(place_of(&world, first), "ARENA", "nothing is lost");
    let told: Vec<_> = world.node.events().newest_first().collect();
    assert_eq!((told.len(), told[0].kind), (1, EventKind::SpillFailed));
    assert!(told[0].message.starts_with("an object of 70 "), "{}", told[0].message);
    let mut again = RoomTicket::new(60);
    let room = world.event(|node, now, fx| node.make_room(now, root, &mut again, fx));
    assert!(matches!(room, Ok(Room::Wait(_))));
    world.write_out(None);
    assert_eq!(place_of(&world, first), "SPILLED");
    world.end();
}

// contract: O7
#[test]
fn without_a_place_to_spill_to_a_full_store_says_so() {
    let mut world = World::new(cpus(1), Limits { store_bytes_max: 100, ..Limits::default() });
    let root = world.job();
    world.put(root, large(90));
    let mut ticket = RoomTicket::new(20);
    let refused = world.event(|node, now, fx| node.make_room(now, root, &mut ticket, fx));
    let error = refused.expect_err("no room");
    assert_eq!(error.code(), ErrorCode::StoreFull);
    assert!(error.message().contains("--spill-dir"), "{error}");
    world.end();
}

#[test]
fn a_value_larger_than_the_arena_goes_straight_to_disk() {
    let mut world = small_world();
    let root = world.job();
    let mut ticket = RoomTicket::new(101);
    let room = world.event(|node, now, fx| node.make_room(now, root, &mut ticket, fx));
    assert!(matches!(room, Ok(Room::OnDisk)));
    world.end();
}

#[test]
fn a_large_argument_by_value_becomes_an_object_that_can_be_written_out() {
    let mut world = small_world();
    let root = world.job();
    let busy = world.spawn_many(root, 2);
    let task = world.try_spawn(root, vec![Argument::Value(large(70))], options()).expect("accepted");
    assert_eq!(world.node.object_count(), 4, "three outputs and the argument");
    world.put(root, large(60));
    assert_eq!(world.node.node_view().counters.objects_spilled, 1);
    world.finish_all(&busy);
    world.finish(task);
    assert_eq!(world.node.object_count(), 4, "three outputs and what was put");
    world.end();
}

#[test]
fn what_is_freed_while_it_moves_is_forgotten() {
    let mut world = small_world();
    world.slow_disk = true;
    let root = world.job();
    let first = world.put(root, large(90));
    assert_eq!(place_of(&world, first), "SPILLING");
    world.release(root, Handle::Object(first));
    world.write_out(None);
    let second = world.put(root, large(90));
    world.write_out(None);
    let WaitState::Blocked(_) = get_value(&mut world, root, second) else { panic!("it is on disk") };
    assert_eq!(place_of(&world, second), "RESTORING");
    world.release(root, Handle::Object(second));
    world.bring_back(None);
    assert_eq!(world.node.object_count(), 0);
    world.end();
}
