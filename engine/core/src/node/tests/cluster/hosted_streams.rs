//! Streams and cancelled calls of actors that live on another node than their owner's.

use super::hosted_calls::scene;
use crate::error::ErrorCode;
use crate::node::tests::harness::{SECOND, World, large, options};
use crate::node::{Next, TaskState, Until, WaitState, Waitable};
use crate::options::{ActorOptions, CallOptions, Returns};
use crate::value::{Handle, Residence};

// contract: T8
#[test]
fn a_stream_from_elsewhere_is_read_in_order_and_never_too_far_ahead() {
    for reader in [0, 2, 1] {
        let mut scene = scene(ActorOptions::default());
        let (task, guest, lane) = match reader {
            0 => (None, scene.root, scene.lane),
            index => {
                let (task, guest, lane) = scene.guest(index);
                (Some(task), guest, lane)
            }
        };
        let options = CallOptions { returns: Returns::Streaming(Some(2)), ..CallOptions::default() };
        let stream = scene.cluster.worlds[reader].call_with(guest, scene.actor, lane, &[], options);
        let stream = stream.expect("accepted");
        scene.cluster.settle();
        let inside = scene.inside(1);
        let caller = scene.cluster.worlds[1].caller(inside);
        let mut last = None;
        for _ in 0..2 {
            let emitted =
                scene.cluster.worlds[1].event(|node, now, fx| node.emit(now, caller, large(400_000), fx));
            last = Some(emitted.expect("it may"));
            scene.cluster.settle();
        }
        let Some(WaitState::Blocked(wait)) = last else { panic!("two are unread") };
        for index in 0..2 {
            let next = scene.cluster.worlds[reader].next(guest, stream);
            let Next::Object(object) = next else { panic!("it was yielded: {next:?}") };
            assert_eq!(object, stream.output(index));
            scene.cluster.worlds[reader].wait(guest, &[Waitable::Value(object)], Until::AllOrFailure, None);
            scene.cluster.settle();
            assert!(scene.cluster.worlds[1].is_awake(wait), "the reader has read on");
            let outcome = scene.cluster.worlds[reader].outcome(guest, object).expect("there");
            assert_eq!(outcome.expect("a value").place.residence(), Residence::Arena);
            scene.cluster.worlds[reader].release(guest, Handle::Object(object));
        }
        scene.cluster.finish(inside);
        assert!(matches!(scene.cluster.worlds[reader].next(guest, stream), Next::End));
        scene.cluster.worlds[reader].release(guest, Handle::Stream(stream));
        if let Some(task) = task {
            scene.cluster.finish(task);
        }
        let left = |world: &World| (0..2).any(|index| world.node.object(stream.output(index)).is_some());
        assert!(!scene.cluster.worlds.iter().any(left));
        scene.cluster.end();
    }
}

// contract: T8, A3
#[test]
fn a_streaming_call_that_is_tried_again_goes_on_where_its_reader_is() {
    let mut scene = scene(ActorOptions { max_restarts: 1, max_task_retries: 1, ..ActorOptions::default() });
    let stream = scene.call(CallOptions { returns: Returns::Streaming(None), ..CallOptions::default() });
    for incarnation in 0..2 {
        for _ in 0..2 + incarnation {
            let inside = scene.cluster.worlds[1].caller(stream);
            scene.cluster.worlds[1].emit(inside).expect("it may");
            scene.cluster.settle();
        }
        if incarnation == 0 {
            scene.cluster.worlds[1].lose(stream);
            scene.cluster.settle();
            scene.cluster.construct(scene.actor);
        }
    }
    scene.cluster.finish(stream);
    for index in 0..3 {
        let next = scene.cluster.worlds[0].next(scene.root, stream);
        let Next::Object(object) = next else { panic!("it was yielded: {next:?}") };
        assert_eq!(object, stream.output(index));
    }
    assert!(matches!(scene.cluster.worlds[0].next(scene.root, stream), Next::End));
    scene.cluster.end();
}

// contract: A5
#[test]
fn a_queued_call_is_removed_and_a_running_one_is_asked_from_wherever_it_is_cancelled() {
    for caller in [0, 2, 1] {
        let mut scene = scene(ActorOptions::default());
        let (task, guest, lane) = match caller {
            0 => (None, scene.root, scene.lane),
            index => {
                let (task, guest, lane) = scene.guest(index);
                (Some(task), guest, lane)
            }
        };
        let running = scene.cluster.worlds[caller].call(guest, scene.actor, lane, &[]);
        let queued = scene.cluster.worlds[caller].call(guest, scene.actor, lane, &[]);
        scene.cluster.settle();
        let inside = scene.inside(1);
        let child = {
            let caller = scene.cluster.worlds[1].caller(inside);
            scene.cluster.worlds[1].spawn(caller, &[], options())
        };
        scene.cluster.settle();
        for call in [running, queued] {
            scene.cluster.worlds[caller].cancel(call, false, true);
        }
        scene.cluster.settle();
        assert_eq!(scene.cluster.worlds[caller].code_of(guest, queued), ErrorCode::TaskCancelled);
        assert_eq!(scene.cluster.worlds[1].interrupts, [inside]);
        scene.cluster.assert_state(1, child, TaskState::Cancelled);
        assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
        scene.cluster.finish(inside);
        assert!(scene.cluster.worlds[caller].outcome(guest, running.output(0)).is_some_and(|o| o.is_ok()));
        if let Some(task) = task {
            scene.cluster.finish(task);
        }
        scene.cluster.end();
    }
}

// contract: A5
#[test]
fn with_force_and_at_its_deadline_a_call_ends_the_incarnation_under_its_restart_budget() {
    for deadline in [None, Some(SECOND)] {
        let mut scene = scene(ActorOptions { max_restarts: 1, ..ActorOptions::default() });
        let call = scene.call(CallOptions { deadline, ..CallOptions::default() });
        let queued = scene.call(CallOptions::default());
        let code = match deadline {
            None => {
                scene.cluster.worlds[0].cancel(call, true, true);
                scene.cluster.settle();
                ErrorCode::TaskCancelled
            }
            Some(after) => {
                scene.cluster.advance(2 * after);
                ErrorCode::DeadlineExceeded
            }
        };
        assert_eq!(scene.cluster.worlds[0].code_of(scene.root, call), code);
        assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "RESTARTING");
        scene.cluster.construct(scene.actor);
        assert_eq!(scene.cluster.runs_on(queued), Some(1));
        scene.cluster.finish(queued);
        let again = scene.call(CallOptions::default());
        scene.cluster.worlds[0].cancel(again, true, false);
        scene.cluster.settle();
        assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "DEAD");
        scene.cluster.end();
    }
}

// contract: T4
#[test]
fn cancelling_the_task_that_made_a_call_asks_that_to_end() {
    let mut scene = scene(ActorOptions::default());
    let (task, guest, lane) = scene.guest(2);
    let call = scene.cluster.worlds[2].call(guest, scene.actor, lane, &[]);
    scene.cluster.settle();
    scene.cluster.worlds[0].cancel(task, false, true);
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].interrupts, [call]);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
    scene.cluster.finish(call);
    scene.cluster.end();
}
