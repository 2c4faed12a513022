//! From the core's views to the messages.

use engine_core::events::{Event, Events};
use engine_core::node::{ActorView, DrainView, Holder, ObjectView, TaskState, TaskView};
use engine_core::{Error, NodeId};
use engine_net::Scope;
use engine_proto::convert::{duration, event_view, newest_first, timestamp};
use engine_proto::v1;

use crate::clock::Clock;
use crate::driver::Driver;

pub(super) fn task(clock: &Clock, task: &TaskView, pending_reason: Option<String>) -> v1::TaskView {
    let attempts = task.attempts.iter().map(|attempt| v1::Attempt {
        number: attempt.attempt,
        node_id: attempt.node.to_string(),
        // Of one on another node: when it was sent there.
        start_time: Some(timestamp(clock.wall(attempt.started))),
        end_time: attempt.ended.map(|at| timestamp(clock.wall(at))),
        cause: attempt.cause.as_deref().map(Into::into),
    });
    let node_id = task.attempts.last().map(|attempt| attempt.node.to_string()).unwrap_or_default();
    v1::TaskView {
        task_id: task.id.to_string(),
        job_id: task.job.job().to_string(),
        function: task.function.clone(),
        name: task.name.clone().unwrap_or_default(),
        state: state(task.state).into(),
        attempts: attempts.collect(),
        parent_task_id: task.parent.map(|id| id.to_string()).unwrap_or_default(),
        actor_id: task.actor.map(|id| id.to_string()).unwrap_or_default(),
        resources: Some((&task.needs).into()),
        pending_reason: pending_reason.unwrap_or_default(),
        node_id,
        submit_time: Some(timestamp(clock.wall(task.submitted))),
        end_time: task.ended.map(|at| timestamp(clock.wall(at))),
        error: task.error.as_deref().map(Into::into),
    }
}

pub(super) fn state(state: TaskState) -> v1::TaskState {
    match state {
        TaskState::PendingArgs => v1::TaskState::PendingArgs,
        TaskState::PendingPlacement => v1::TaskState::PendingPlacement,
        TaskState::PendingStoreMemory => v1::TaskState::PendingStoreMemory,
        TaskState::FetchingArgs => v1::TaskState::FetchingArgs,
        TaskState::Submitted => v1::TaskState::Submitted,
        TaskState::Running => v1::TaskState::Running,
        TaskState::Blocked => v1::TaskState::Blocked,
        TaskState::Finished => v1::TaskState::Finished,
        TaskState::Failed => v1::TaskState::Failed,
        TaskState::Cancelled => v1::TaskState::Cancelled,
    }
}

pub(super) fn actor(driver: &Driver, actor: &ActorView) -> v1::ActorView {
    let state = match actor.state {
        "ALIVE" => v1::ActorState::Alive,
        "RESTARTING" => v1::ActorState::Restarting,
        "DEAD" => v1::ActorState::Dead,
        _ => v1::ActorState::Pending,
    };
    v1::ActorView {
        actor_id: actor.id.to_string(),
        job_id: actor.job.job().to_string(),
        class: actor.class.clone(),
        name: actor.name.clone().unwrap_or_default(),
        namespace: match driver.network() {
            Ok(network) => network.namespace_of(actor.id),
            Err(_) => driver.head.namespace_of(actor.id),
        }
        .unwrap_or_default(),
        state: state.into(),
        node_id: actor.node.map(|node| node.to_string()).unwrap_or_default(),
        restarts: actor.restarts,
        detached: actor.detached,
        pending_calls: u64::from(actor.pending_calls),
        resources: Some((&actor.held).into()),
        create_time: Some(timestamp(driver.clock().wall(actor.created))),
        cause: actor.cause.as_deref().map(|error: &Error| error.into()),
    }
}

pub(super) fn object(node: NodeId, inline_bytes_max: usize, object: &ObjectView) -> v1::ObjectView {
    let state = match object.state {
        "READY" => v1::ObjectState::Ready,
        "FAILED" => v1::ObjectState::Failed,
        _ => v1::ObjectState::Pending,
    };
    let shared = object.state == "READY" && object.size > inline_bytes_max as u64;
    v1::ObjectView {
        object_id: object.id.to_string(),
        size_bytes: (object.state == "READY").then_some(object.size),
        state: state.into(),
        holders: u64::from(object.holders),
        task_id: object.task.to_string(),
        job_id: object.job.job().to_string(),
        put: object.id.output_index().is_none(),
        node_ids: if shared { vec![node.to_string()] } else { Vec::new() },
        place: object.place.to_owned(),
        pins: object.pins,
        held_by: object.held_by.iter().map(holder).collect(),
    }
}

fn holder(holder: &Holder) -> v1::ObjectHolder {
    v1::ObjectHolder {
        kind: holder.kind.to_string(),
        id: holder.id.clone(),
        function: holder.function.clone(),
    }
}

pub(super) fn node(driver: &Driver) -> v1::NodeView {
    let view = driver.read(|node| node.node_view());
    let here = |state: TaskState| view.by_state[state as usize];
    let waiting = [
        TaskState::PendingArgs,
        TaskState::PendingPlacement,
        TaskState::PendingStoreMemory,
        TaskState::FetchingArgs,
        TaskState::Submitted,
    ];
    let runtime = driver.runtime().map(engine_runtime::Runtime::counters).ok();
    let store = driver.store.usage();
    let counters = v1::NodeCounters {
        instantiations: runtime
            .as_ref()
            .map_or(view.counters.instances_started, |c| c.instantiations + driver.workers.started()),
        live_instances: view.instances as u64,
        queued_tasks: waiting.iter().map(|state| here(*state)).sum(),
        running_tasks: here(TaskState::Running),
        blocked_tasks: here(TaskState::Blocked),
        actors_alive: view.actors as u64,
        objects: view.objects as u64,
        store_used_bytes: view.inline_bytes + view.stored_bytes,
        store_total_bytes: view.store_bytes_max,
        spilled_bytes: view.spilled_bytes,
        arena_objects: store.arena_extents as u64,
        spill_file_bytes: store.spill.disk_bytes,
        object_bytes_sent: view.counters.bytes_sent,
        object_bytes_received: view.counters.bytes_received,
        nodes_sent_on: view.counters.nodes_sent_on,
        sandboxes_paused: view.counters.sandboxes_paused,
        tasks_preempted: view.counters.tasks_preempted,
    };
    v1::NodeView {
        node_id: view.id.to_string(),
        state: match view.drain {
            Some(_) => v1::NodeState::Draining.into(),
            None => v1::NodeState::Alive.into(),
        },
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        total: Some((&view.total).into()),
        available: Some((&view.free).into()),
        labels: view.labels.into_iter().collect(),
        start_time: Some(timestamp(driver.clock().started())),
        counters: Some(counters),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process_id: std::process::id(),
        drain: view.drain.map(|drain| left(driver, drain)),
        workers: driver.workers.views(),
    }
}

fn left(driver: &Driver, drain: DrainView) -> v1::NodeDrain {
    let now = driver.clock().now();
    v1::NodeDrain {
        time_left: drain.deadline.map(|at| duration(at.since(now))),
        jobs: drain.jobs as u64,
        tasks: drain.tasks as u64,
        actors: drain.actors as u64,
        objects: drain.objects as u64,
        object_bytes: drain.bytes,
    }
}

/// What has happened, the newest first, and how much is not kept any more. Of a node of a cluster: what it
/// noted itself; of one of its own also what its head did.
pub(super) fn events(driver: &Driver, scope: &Scope) -> (Vec<v1::EventView>, u64) {
    let clock = driver.clock();
    let view = |event: &Event| event_view(event, clock.wall(event.time));
    let of = |events: &Events| {
        // What is of no job is of the machines.
        let sees = |job| driver.jobs.sees(scope, job);
        let seen = |event: &&Event| scope.is_all() || event.about.job.is_some_and(sees);
        let views: Vec<v1::EventView> = events.newest_first().filter(seen).map(view).collect();
        (views, if scope.is_all() { events.forgotten() } else { 0 })
    };
    let mut all = driver.read(|node| of(node.events()));
    if driver.network().is_err() {
        let (more, forgotten) = driver.head.event(|head, _| of(head.events())).0;
        all = (newest_first([all.0, more]), all.1 + forgotten);
    }
    all
}
