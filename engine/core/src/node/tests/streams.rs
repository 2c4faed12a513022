//! Streaming tasks (contract T8).

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::{ObjectId, TaskId};
use crate::node::TaskState::*;
use crate::node::{Caller, Limits, Next, Until, WaitState, Waitable};
use crate::options::{Returns, TaskOptions};
use crate::value::Handle;

fn streaming(bound: Option<u32>) -> TaskOptions {
    TaskOptions { returns: Returns::Streaming(bound), ..options() }
}

fn emit(world: &mut World, task: TaskId) -> WaitState {
    let guest = world.caller(task);
    world.emit(guest).expect("a stream")
}

#[track_caller]
fn read(world: &mut World, from: Caller, stream: TaskId) -> ObjectId {
    match world.next(from, stream) {
        Next::Object(id) => id,
        other => panic!("an object is there, and next gave {other:?}"),
    }
}

// contract: T8
#[test]
fn objects_can_be_read_in_order_as_soon_as_each_is_yielded() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(None));
    let WaitState::Blocked(wait) = world.wait(root, &[Waitable::NextOf(stream)], Until::Count(1), None)
    else {
        panic!("nothing is there yet")
    };
    assert!(matches!(world.next(root, stream), Next::Pending));
    emit(&mut world, stream);
    assert!(world.is_awake(wait));
    emit(&mut world, stream);
    assert_eq!(read(&mut world, root, stream), stream.output(0));
    assert!(world.outcome(root, stream.output(0)).is_some_and(|outcome| outcome.is_ok()));
    assert_eq!(read(&mut world, root, stream), stream.output(1));
    world.finish(stream);
    assert!(matches!(world.next(root, stream), Next::End));
    assert!(matches!(world.next(root, stream), Next::End));
    world.end();
}

// contract: T8
#[test]
fn if_it_fails_those_before_stay_readable_then_the_error_then_the_end() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(None));
    emit(&mut world, stream);
    world.fail(stream, failure("E"));
    assert_eq!(read(&mut world, root, stream), stream.output(0));
    match world.next(root, stream) {
        Next::Failed(error) => assert_eq!(error.kind(), Some("E")),
        other => panic!("the error comes next, and not {other:?}"),
    }
    assert!(matches!(world.next(root, stream), Next::End));
    world.end();
}

// contract: T8
#[test]
fn with_a_bound_it_is_never_further_ahead() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(Some(2)));
    assert_eq!(emit(&mut world, stream), WaitState::Ready);
    let WaitState::Blocked(wait) = emit(&mut world, stream) else { panic!("two are unread") };
    assert_eq!(world.state(stream), Blocked);
    let other = world.spawn(root, &[], options());
    assert_eq!(world.state(other), Running, "its CPU is lent meanwhile");
    read(&mut world, root, stream);
    assert!(!world.is_awake(wait), "it needs its CPU to go on");
    world.finish(other);
    assert!(world.is_awake(wait));
    assert_eq!(world.state(stream), Running);
    world.end();
}

// contract: T8
#[test]
fn dropping_the_reader_lets_it_end() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(Some(1)));
    let WaitState::Blocked(wait) = emit(&mut world, stream) else { panic!("one is unread") };
    world.release(root, Handle::Stream(stream));
    assert!(world.is_awake(wait), "nobody will read: it is not held up");
    assert!(world.node.object(stream.output(0)).is_none(), "what was unread is freed");
    assert_eq!(emit(&mut world, stream), WaitState::Ready);
    assert!(world.node.object(stream.output(1)).is_none(), "nobody will ever see it");
    world.finish(stream);
    assert_eq!(world.state(stream), Finished);
    world.end();
}

// contract: T8
#[test]
fn a_wait_for_a_reader_that_another_call_dropped_ends() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(None));
    let WaitState::Blocked(wait) = world.wait(root, &[Waitable::NextOf(stream)], Until::Count(1), None)
    else {
        panic!("nothing is there yet")
    };
    world.release(root, Handle::Stream(stream));
    assert!(world.is_awake(wait));
    world.end();
}

// contract: T8
#[test]
fn a_retry_yields_again_and_nobody_sees_an_object_twice() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(None));
    emit(&mut world, stream);
    emit(&mut world, stream);
    read(&mut world, root, stream);
    world.lose(stream);
    let guest = world.caller(stream);
    for size in [100, 101, 102] {
        world.event(|node, now, fx| node.emit(now, guest, value(size), fx)).expect("a stream");
    }
    world.finish(stream);
    assert_eq!(read(&mut world, root, stream), stream.output(1));
    assert_eq!(read(&mut world, root, stream), stream.output(2));
    assert!(matches!(world.next(root, stream), Next::End));
    let size = |index| world.outcome(root, stream.output(index)).and_then(Result::ok).map(|value| value.size);
    assert_eq!([size(0), size(1), size(2)], [Some(8), Some(8), Some(102)], "the first attempt's values stay");
    world.end();
}

// contract: T8
#[test]
fn one_that_the_store_refuses_can_be_yielded_again() {
    let limits = Limits { inline_bytes_max: 20, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let object = world.put(root, value(16));
    let stream = world.spawn(root, &[], streaming(None));
    let guest = world.caller(stream);
    assert_eq!(world.emit(guest).map_err(|error| error.code()), Err(ErrorCode::StoreFull));
    world.release(root, Handle::Object(object));
    emit(&mut world, stream);
    emit(&mut world, stream);
    assert_eq!(read(&mut world, root, stream), stream.output(0));
    world.release(root, Handle::Object(stream.output(0)));
    world.lose(stream);
    for _ in 0..3 {
        emit(&mut world, stream);
    }
    assert_eq!(read(&mut world, root, stream), stream.output(1));
    assert_eq!(read(&mut world, root, stream), stream.output(2));
    world.end();
}

// contract: T8
#[test]
fn a_stream_that_dies_while_it_is_held_up_is_tried_again() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(Some(1)));
    emit(&mut world, stream);
    world.lose(stream);
    assert_eq!(world.state(stream), Running);
    assert_eq!(emit(&mut world, stream), WaitState::Ready, "the first one is there already");
    let WaitState::Blocked(wait) = emit(&mut world, stream) else { panic!("two are unread") };
    read(&mut world, root, stream);
    assert!(!world.is_awake(wait), "one is unread still");
    read(&mut world, root, stream);
    assert!(world.is_awake(wait));
    world.end();
}

#[test]
fn a_task_that_does_not_stream_cannot_yield_and_a_bound_of_0_is_refused() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let guest = world.caller(task);
    assert_eq!(world.emit(guest).map_err(|error| error.code()), Err(ErrorCode::InvalidArgument));
    let refused = world.try_spawn(root, Vec::new(), streaming(Some(0)));
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::InvalidArgument));
    world.end();
}

// contract: T8
#[test]
fn a_stream_that_is_cancelled_gives_that_after_what_it_yielded() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(Some(1)));
    emit(&mut world, stream);
    world.cancel(stream, false, true);
    read(&mut world, root, stream);
    match world.next(root, stream) {
        Next::Failed(error) => assert_eq!(error.code(), ErrorCode::TaskCancelled),
        other => panic!("the error comes next, and not {other:?}"),
    }
    world.end();
}

// contract: T8
#[test]
fn a_reader_elsewhere_can_be_waited_for_like_objects() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let stream = world.spawn(root, &[], streaming(None));
    let task = world.spawn(root, &[], options());
    let items = [Waitable::NextOf(stream), Waitable::Object(task.output(0))];
    let WaitState::Blocked(wait) = world.wait(root, &items, Until::Count(2), None) else { panic!("not yet") };
    world.finish(task);
    assert!(!world.is_awake(wait));
    world.finish(stream);
    assert!(world.is_awake(wait), "the end of a stream is what comes next of it");
    world.end();
}
