//! Events that come too late, twice, or for what was never there change nothing.

use smallvec::SmallVec;

use super::harness::*;
use crate::ids::{IdGenerator, InstanceId};
use crate::node::TaskState::*;
use crate::node::{Caller, Until, Waitable};
use crate::options::{ActorOptions, Reuse};
use crate::value::Handle;
use crate::work::{CallReport, GoneReport, Usage};

fn report(task: crate::ids::TaskId) -> CallReport {
    CallReport { task, result: Ok(vec![value(999)]), usage: Usage::default() }
}

#[test]
fn a_result_of_a_task_that_is_not_there_or_elsewhere() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let instance = world.caller(task).instance;
    let unknown = IdGenerator::new([3; 16]).task();
    world.event(|node, now, fx| node.finished(now, instance, report(unknown), fx));
    world.event(|node, now, fx| node.finished(now, InstanceId(999), report(task), fx));
    world.event(|node, now, fx| node.finished(now, root.instance, report(task), fx));
    assert_eq!(world.state(task), Running);
    world.finish(task);
    world.event(|node, now, fx| node.finished(now, instance, report(task), fx));
    let size = world.outcome(root, task.output(0)).and_then(Result::ok).map(|value| value.size);
    assert_eq!(size, Some(8), "the first result counts");
    world.end();
}

#[test]
fn a_result_of_an_earlier_attempt() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let first = world.caller(task).instance;
    world.lose(task);
    world.event(|node, now, fx| node.finished(now, first, report(task), fx));
    let gone = GoneReport { instance: first, calls: SmallVec::from_elem(report(task), 1), cause: None };
    world.event(|node, now, fx| node.gone(now, gone, fx));
    assert_eq!(world.state(task), Running);
    assert!(world.outcome(root, task.output(0)).is_none());
    world.end();
}

#[test]
fn a_sandbox_that_is_gone_twice() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut warm = options();
    warm.reuse = Reuse::Job;
    let task = world.spawn(root, &[], warm);
    let instance = world.caller(task).instance;
    world.finish(task);
    world.gone(instance);
    let free = world.free().clone();
    for instance in [instance, InstanceId(12_345)] {
        let gone = GoneReport { instance, calls: SmallVec::new(), cause: None };
        world.event(|node, now, fx| node.gone(now, gone, fx));
    }
    assert_eq!(world.free(), &free);
    world.end();
}

#[test]
fn handles_that_are_not_held() {
    let mut world = World::with_cpus(1);
    let (root, other) = (world.job(), world.job());
    let object = world.put(root, value(1));
    let unknown = IdGenerator::new([3; 16]).task();
    for handle in [Handle::Object(object), Handle::Object(unknown.output(0)), Handle::Stream(unknown)] {
        world.release(other, handle);
    }
    world.release(Caller { instance: InstanceId(999), task: root.task }, Handle::Object(object));
    world.acquire(Caller { instance: InstanceId(999), task: root.task }, Handle::Object(object));
    assert!(world.node.object(object).is_some());
    world.end();
}

#[test]
fn handles_to_what_is_gone_give_an_error_and_no_hang() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(1));
    world.release(root, Handle::Object(object));
    world.acquire(root, Handle::Object(object));
    let items = [Waitable::Object(object)];
    assert_eq!(world.wait(root, &items, Until::AllOrFailure, None), crate::node::WaitState::Ready);
    assert_eq!(world.error_of(root, object).code(), crate::error::ErrorCode::ObjectFreed);
    let task = world.spawn(root, &[object], options());
    assert_eq!(world.code_of(root, task), crate::error::ErrorCode::ObjectFreed);
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[object]);
    assert_eq!(world.code_of(root, call), crate::error::ErrorCode::ObjectFreed);
    world.release(root, Handle::Object(object));
    world.end();
}

#[test]
fn a_sandbox_that_asks_after_its_call_has_ended() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut warm = options();
    warm.reuse = Reuse::Job;
    let task = world.spawn(root, &[], warm);
    let guest = world.caller(task);
    world.finish(task);
    assert!(world.try_spawn(guest, Vec::new(), options()).is_err());
    assert!(world.event(|node, now, fx| node.put(now, guest, value(1), fx)).is_err());
    assert!(world.event(|node, now, fx| node.emit(now, guest, value(1), fx)).is_err());
    world.end();
}

#[test]
fn cancels_kills_and_stops_of_what_is_not_there() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut ids = IdGenerator::new([3; 16]);
    let (task, job, actor) = (ids.task(), ids.job(), ids.actor());
    world.cancel(task, true, true);
    world.event(|node, now, fx| node.stop_job(now, job, "x", fx));
    assert!(world.event(|node, now, fx| node.kill_actor(now, root, actor, false, fx)).is_err());
    let actor = world.actor(root, ActorOptions::default());
    world.kill(root, actor, false);
    world.kill(root, actor, true);
    world.kill(root, actor, false);
    world.end();
}

#[test]
fn a_timer_that_comes_early_or_often() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], with_deadline(SECOND));
    for _ in 0..3 {
        world.event(|node, now, fx| node.timer(now, fx));
    }
    assert_eq!(world.state(task), Running);
    world.advance(SECOND);
    assert_eq!(world.state(task), Failed);
    world.end();
}

#[test]
fn a_job_that_is_here_already_is_refused() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let entry = crate::node::RootEntry::Invoke("f()".into());
    let spec = crate::node::JobSpec::new(world.job_of(root), component(), entry);
    let refused = world.event(|node, now, fx| node.submit_job(now, spec, fx));
    assert_eq!(refused.map_err(|error| error.code()).err(), Some(crate::error::ErrorCode::AlreadyExists));
    world.end();
}
