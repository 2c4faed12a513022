//! Listings, one thing, the cluster at a glance, and why a task is not running.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::node::TaskState;
use engine_core::{Error, ErrorCode, TaskId};
use engine_head::node_for;
use engine_net::{Scope, StateKey};
use engine_proto::filter::Filters;
use engine_proto::v1::{self, view};

use crate::backend::{jobs, views};
use crate::driver::Driver;

/// Things looked at for one listing.
const SCANNED_MAX: usize = 100_000;

pub(super) fn list(
    driver: &Arc<Driver>,
    scope: &Scope,
    kind: v1::Kind,
    filters: &Filters,
    limit: usize,
) -> v1::ListResponse {
    let job = filters.required("job").and_then(|text| text.parse().ok());
    // Without a condition there is no need to look at more than is asked for.
    let is_all = filters.is_empty() && scope.is_all();
    let scanned = if is_all { limit } else { SCANNED_MAX };
    let sees = |job| driver.jobs.sees(scope, job);
    let clock = driver.clock();
    let (mut counted, mut forgotten) = (None, 0);
    let all: Vec<view::View> = match kind {
        v1::Kind::Job => {
            let jobs = driver.head.seen_jobs(scope);
            jobs.iter().map(|record| view::View::Job(jobs::view_of(driver, record))).collect()
        }
        v1::Kind::Task => {
            let (tasks, total) = driver.read(|node| (node.tasks(job, scanned), node.task_count()));
            counted = is_all.then_some(total);
            let tasks = tasks.iter().filter(|task| sees(task.job));
            tasks.map(|task| view::View::Task(views::task(clock, task, None))).collect()
        }
        v1::Kind::Actor => {
            let actors = driver.read(|node| node.actors(job, SCANNED_MAX));
            let actors = actors.iter().filter(|actor| sees(actor.job));
            actors.map(|actor| view::View::Actor(views::actor(driver, actor))).collect()
        }
        v1::Kind::Object => {
            let (node_id, objects, total) =
                driver.read(|node| (node.id(), node.objects(None, scanned), node.object_count()));
            counted = is_all.then_some(total);
            let inline = driver.inline_object_bytes_max();
            let objects = objects.iter().filter(|object| sees(object.job));
            objects.map(|object| view::View::Object(views::object(node_id, inline, object))).collect()
        }
        v1::Kind::Node => vec![view::View::Node(node_for(scope, views::node(driver)))],
        v1::Kind::PlacementGroup => {
            let groups = driver.head.event(|head, _| head.groups()).0;
            let groups = groups.iter().filter(|group| driver.head.sees(scope, group.spec.job));
            groups.map(|group| view::View::PlacementGroup(group.into())).collect()
        }
        v1::Kind::Event => {
            let events;
            (events, forgotten) = views::events(driver, scope);
            events.into_iter().map(view::View::Event).collect()
        }
        v1::Kind::Unspecified => Vec::new(),
    };
    let mut total = 0;
    let mut items = Vec::new();
    for view in all {
        let matches = match &view {
            view::View::Job(view) => filters.matches(view),
            view::View::Task(view) => filters.matches(view),
            view::View::Actor(view) => filters.matches(view),
            view::View::Object(view) => filters.matches(view),
            view::View::Node(view) => filters.matches(view),
            view::View::PlacementGroup(view) => filters.matches(view),
            view::View::Event(view) => filters.matches(view),
        };
        if matches {
            total += 1;
            if items.len() < limit {
                items.push(v1::View { view: Some(view) });
            }
        }
    }
    v1::ListResponse { items, total: counted.unwrap_or(total), forgotten }
}

fn not_found(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no {what}, or it is not kept any more"))
}

pub(super) fn get(driver: &Arc<Driver>, scope: &Scope, key: &StateKey) -> Result<v1::View, Error> {
    let sees = |job| driver.jobs.sees(scope, job);
    let view = match key {
        StateKey::Job(job) => view::View::Job(jobs::get(driver, scope, job)?),
        StateKey::Task(id) => view::View::Task(task(driver, scope, *id)?),
        StateKey::Actor(id) => {
            let actor = driver.read(|node| node.actor(*id)).filter(|actor| sees(actor.job));
            view::View::Actor(views::actor(driver, &actor.ok_or_else(|| not_found(id))?))
        }
        StateKey::Object(id) => {
            let (node_id, object) = driver.read(|node| (node.id(), node.object(*id)));
            let object = object.filter(|object| sees(object.job)).ok_or_else(|| not_found(id))?;
            view::View::Object(views::object(node_id, driver.inline_object_bytes_max(), &object))
        }
        StateKey::Node(id) if *id == driver.read(|node| node.id()) => {
            view::View::Node(node_for(scope, views::node(driver)))
        }
        StateKey::Node(id) => return Err(not_found(id)),
        StateKey::PlacementGroup(id) => {
            let group = driver.head.event(|head, _| head.group(*id)).0;
            let group = group.filter(|group| driver.head.sees(scope, group.spec.job));
            view::View::PlacementGroup((&group.ok_or_else(|| not_found(id))?).into())
        }
        StateKey::Event(id) => {
            let id = id.to_string();
            let event = views::events(driver, scope).0.into_iter().find(|event| event.event_id == id);
            view::View::Event(event.ok_or_else(|| not_found(id))?)
        }
    };
    Ok(v1::View { view: Some(view) })
}

fn task(driver: &Driver, scope: &Scope, id: TaskId) -> Result<v1::TaskView, Error> {
    let (task, reason) = driver.read(|node| {
        let task = node.task(id).filter(|task| driver.jobs.sees(scope, task.job));
        let waits = task.as_ref().is_some_and(|task| waits(task.state));
        (task, waits.then(|| node.explain(id)).flatten())
    });
    Ok(views::task(driver.clock(), &task.ok_or_else(|| not_found(id))?, reason))
}

fn waits(state: TaskState) -> bool {
    !state.is_end() && state != TaskState::Running
}

pub(super) fn explain(driver: &Driver, scope: &Scope, id: TaskId) -> Result<v1::Explanation, Error> {
    let task = task(driver, scope, id)?;
    let (summary, lacks, missing) = driver.read(|node| {
        let lacks = node.lacking(id).unwrap_or_default();
        let missing = node.missing_arguments(id, 100).unwrap_or_default();
        (node.explain(id), lacks, missing)
    });
    let summary = summary.ok_or_else(|| not_found(id))?;
    let node_id = driver.read(|node| node.id()).to_string();
    let lacks = lacks.into_iter().map(|lack| {
        let mut lack: v1::Lack = lack.into();
        lack.node_id.clone_from(&node_id);
        lack
    });
    Ok(v1::Explanation {
        task: Some(task),
        summary,
        lacks: lacks.collect(),
        missing_arguments: missing.iter().map(ToString::to_string).collect(),
    })
}

pub(super) fn status(driver: &Arc<Driver>, scope: &Scope) -> Result<v1::StatusResponse, Error> {
    if !scope.is_all() {
        return Ok(status_for(driver, scope));
    }
    let node = views::node(driver);
    let (tasks, demands, actors) = driver.read(|node| {
        let actors: Vec<&'static str> =
            node.actors(None, SCANNED_MAX).iter().map(|actor| actor.state).collect();
        (node.progress(), node.demands(100), actors)
    });
    let mut by_actor_state: HashMap<String, u64> = HashMap::new();
    for state in actors {
        *by_actor_state.entry(state.to_owned()).or_default() += 1;
    }
    let mut by_job_state: HashMap<String, u64> = HashMap::new();
    for job in driver.head.jobs() {
        *by_job_state.entry(job.state.to_string()).or_default() += 1;
    }
    let pending = demands
        .into_iter()
        .map(|demand| v1::Demand {
            resources: Some((&*demand.needs).into()),
            count: demand.count as u64,
            reason: demand.reason,
        })
        .collect();
    Ok(v1::StatusResponse {
        total: node.total.clone(),
        available: node.available.clone(),
        counters: node.counters,
        nodes: vec![node],
        nodes_total: 1,
        tasks: Some(jobs::counts(&tasks)),
        jobs: by_job_state,
        actors: by_actor_state,
        pending,
        uptime: Some(engine_proto::convert::duration(driver.clock().uptime())),
    })
}

/// The same for who does not see all: what is its own, and which machines there are.
fn status_for(driver: &Arc<Driver>, scope: &Scope) -> v1::StatusResponse {
    let node = node_for(scope, views::node(driver));
    let sees = |job| driver.jobs.sees(scope, job);
    let (tasks, actors) = driver.read(|node| (node.tasks(None, SCANNED_MAX), node.actors(None, SCANNED_MAX)));
    let mut status = v1::StatusResponse {
        total: node.total.clone(),
        nodes: vec![node],
        nodes_total: 1,
        uptime: Some(engine_proto::convert::duration(driver.clock().uptime())),
        ..v1::StatusResponse::default()
    };
    let mut counts = v1::TaskCounts::default();
    for task in tasks.iter().filter(|task| sees(task.job)) {
        counts.add(views::state(task.state), 1);
    }
    status.tasks = Some(counts);
    for actor in actors.iter().filter(|actor| sees(actor.job)) {
        *status.actors.entry(actor.state.to_owned()).or_default() += 1;
    }
    for job in driver.head.seen_jobs(scope) {
        *status.jobs.entry(job.state.to_string()).or_default() += 1;
    }
    status
}
