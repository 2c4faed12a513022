//! Jobs that are bound to their clients (contract J3).

use std::time::Duration;

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::{IdGenerator, JobId};
use crate::node::{JobSpec, Limits};
use crate::work::StopReason;

const GRACE: Duration = Duration::from_secs(30);

fn world() -> World {
    World::with_cpus(2)
}

/// A job that is bound to its clients, and has none yet.
fn attached(world: &mut World) -> JobId {
    let job = IdGenerator::new([9; 16]).job();
    world.submit_spec(JobSpec { is_attached: true, ..World::spec_of(job) });
    job
}

fn come(world: &mut World, job: JobId) {
    world.event(|node, _, _| node.client_attached(job));
}

fn leave(world: &mut World, job: JobId) {
    world.event(|node, now, fx| node.client_detached(now, job, fx));
}

// contract: J3
#[test]
fn a_job_is_stopped_when_its_client_does_not_come_back() {
    let mut world = world();
    let job = attached(&mut world);
    come(&mut world, job);
    world.advance(GRACE * 10);
    assert!(world.ended.is_empty(), "its client is there");
    leave(&mut world, job);
    world.advance(GRACE - Duration::from_millis(1));
    assert!(world.ended.is_empty(), "it may come back");
    world.advance(Duration::from_millis(1));
    let end = &world.ended[&job];
    assert!(end.stopped);
    let error = end.result.as_ref().expect_err("it was stopped");
    assert_eq!(error.code(), ErrorCode::TaskCancelled);
    assert!(error.message().contains("30s") && error.message().contains("client_grace"), "{error}");
    assert!(world.stops.iter().all(|(_, reason)| *reason == StopReason::JobEnded));
    leave(&mut world, job);
    world.end();
}

// contract: J3
#[test]
fn a_client_that_comes_back_finds_its_job() {
    let mut world = world();
    let job = attached(&mut world);
    for _ in 0..5 {
        come(&mut world, job);
        world.advance(GRACE * 2);
        leave(&mut world, job);
        world.advance(GRACE - Duration::from_millis(1));
        assert!(world.ended.is_empty());
    }
    // Two connections: the old one may be noticed to be broken after the new one is there.
    come(&mut world, job);
    come(&mut world, job);
    leave(&mut world, job);
    world.advance(GRACE * 2);
    assert!(world.ended.is_empty());
    world.end();
}

// contract: J3
#[test]
fn a_client_that_never_came_has_the_same_time() {
    let mut world = world();
    let job = attached(&mut world);
    world.advance(GRACE - Duration::from_millis(1));
    assert!(world.ended.is_empty());
    world.advance(Duration::from_millis(1));
    assert!(world.ended.contains_key(&job));
    world.end();
}

// contract: J3
#[test]
fn a_job_that_is_bound_to_nobody_goes_on() {
    let mut world = world();
    let root = world.job();
    let job = world.job_of(root);
    come(&mut world, job);
    leave(&mut world, job);
    world.advance(GRACE * 10);
    assert!(world.ended.is_empty());
    world.end();
}

// contract: J3, H2
#[test]
fn while_the_head_is_away_nobodys_absence_counts() {
    for leaves_first in [false, true] {
        let mut world = world();
        let job = attached(&mut world);
        come(&mut world, job);
        // The client's connection is by way of the head, and breaks with it.
        if leaves_first {
            leave(&mut world, job);
        }
        world.event(|node, _, _| node.head_is_away());
        if !leaves_first {
            leave(&mut world, job);
        }
        world.advance(GRACE * 100);
        assert!(world.ended.is_empty(), "nobody could have come");
        let other = IdGenerator::new([8; 16]).job();
        world.submit_spec(JobSpec { is_attached: true, ..World::spec_of(other) });
        world.advance(GRACE);
        world.event(|node, now, fx| node.head_is_back(now, fx));
        world.advance(GRACE - Duration::from_millis(1));
        assert!(world.ended.is_empty(), "each has the whole time again");
        come(&mut world, job);
        world.advance(GRACE);
        assert!(!world.ended.contains_key(&job) && world.ended.contains_key(&other));
        // A line that is made anew without having broken changes nothing.
        leave(&mut world, job);
        world.advance(GRACE / 2);
        world.event(|node, now, fx| node.head_is_back(now, fx));
        world.advance(GRACE / 2);
        assert!(world.ended.contains_key(&job));
        world.end();
    }
}

#[test]
fn the_grace_is_the_nodes() {
    let limits = Limits { client_grace: Duration::from_secs(1), ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let job = attached(&mut world);
    world.advance(Duration::from_secs(1));
    assert!(world.ended.contains_key(&job));
    world.end();
}
