//! State as programs read it: names as in `proto/engine/v1`, states without their prefix, resources
//! in units, times as RFC 3339.

use engine_client::messages as v1;
use engine_core::resources::Quantity;
use engine_proto::convert::std_duration;
use serde_json::{Map, Value, json};

use crate::output::time::rfc3339;

/// One thing.
pub(crate) fn view(view: &v1::View) -> Value {
    use v1::view::View;
    match &view.view {
        None => Value::Null,
        Some(View::Job(view)) => job(view),
        Some(View::Task(view)) => task(view),
        Some(View::Actor(view)) => actor(view),
        Some(View::Object(view)) => object(view),
        Some(View::Node(view)) => node(view),
        Some(View::PlacementGroup(view)) => placement_group(view),
        Some(View::Event(view)) => event(view),
    }
}

/// A job.
pub(crate) fn job(job: &v1::JobView) -> Value {
    let progress = job.progress.clone().unwrap_or_default();
    json!({
        "job_id": job.job_id,
        "submission_id": job.submission_id,
        "name": job.name,
        "namespace": job.namespace,
        "tenant": job.tenant,
        "state": job.state().name(),
        "entry": job.entry,
        "result": job.result.as_ref().map(result),
        "error": job.error.as_ref().map(error),
        "root_task_id": job.root_task_id,
        "components": job.components.iter().map(|c| (c.name.clone(), json!(c.digest))).collect::<Map<_, _>>(),
        "submit_time": rfc3339(job.submit_time.as_ref()),
        "start_time": rfc3339(job.start_time.as_ref()),
        "end_time": rfc3339(job.end_time.as_ref()),
        "tasks": progress.tasks.as_ref().map(task_counts),
        "actors_alive": progress.actors_alive,
        "instantiations": progress.instantiations,
        "run": job.run,
        "job_retries": job.job_retries,
        "lost_runs": job.lost_runs.iter().map(lost_run).collect::<Vec<_>>(),
    })
}

fn lost_run(run: &v1::LostRun) -> Value {
    json!({
        "node_id": run.node_id,
        "start_time": rfc3339(run.start_time.as_ref()),
        "end_time": rfc3339(run.end_time.as_ref()),
        "error": run.error.as_ref().map(error),
    })
}

/// What a job gave back: WAVE as a text, MessagePack as the JSON that it means, else what there is
/// to say about it.
fn result(result: &v1::JobResult) -> Value {
    if let Some(wave) = &result.wave {
        return json!(wave);
    }
    let value = result.value.clone().unwrap_or_default();
    let described = || json!({ "codec": value.codec().as_str_name(), "size_bytes": value.bytes.len() });
    match value.codec() {
        v1::Codec::Msgpack => rmpv::decode::read_value(&mut &value.bytes[..])
            .ok()
            .map_or_else(described, |decoded| plain(&decoded)),
        _ => described(),
    }
}

fn plain(value: &rmpv::Value) -> Value {
    use rmpv::Value as M;
    match value {
        M::Nil => Value::Null,
        M::Boolean(is) => json!(is),
        M::Integer(n) => n.as_i64().map_or_else(|| json!(n.as_u64()), |n| json!(n)),
        M::F32(x) => json!(x),
        M::F64(x) => json!(x),
        M::String(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        M::Binary(bytes) => json!(bytes),
        M::Array(items) => items.iter().map(plain).collect(),
        M::Map(entries) => entries
            .iter()
            .map(|(key, value)| match key {
                M::String(text) => (String::from_utf8_lossy(text.as_bytes()).into_owned(), plain(value)),
                other => (plain(other).to_string(), plain(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        M::Ext(_, _) => json!("<handle>"),
    }
}

/// A task.
pub(crate) fn task(task: &v1::TaskView) -> Value {
    json!({
        "task_id": task.task_id,
        "job_id": task.job_id,
        "function": task.function,
        "name": task.name,
        "state": task.state().name(),
        "pending_reason": task.pending_reason,
        "node_id": task.node_id,
        "parent_task_id": task.parent_task_id,
        "actor_id": task.actor_id,
        "resources": task.resources.as_ref().map(resources),
        "attempts": task.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "submit_time": rfc3339(task.submit_time.as_ref()),
        "end_time": rfc3339(task.end_time.as_ref()),
        "error": task.error.as_ref().map(error),
    })
}

fn attempt(attempt: &v1::Attempt) -> Value {
    json!({
        "number": attempt.number,
        "node_id": attempt.node_id,
        "start_time": rfc3339(attempt.start_time.as_ref()),
        "end_time": rfc3339(attempt.end_time.as_ref()),
        "cause": attempt.cause.as_ref().map(error),
    })
}

fn actor(actor: &v1::ActorView) -> Value {
    json!({
        "actor_id": actor.actor_id,
        "job_id": actor.job_id,
        "class": actor.class,
        "name": actor.name,
        "namespace": actor.namespace,
        "state": actor.state().name(),
        "node_id": actor.node_id,
        "restarts": actor.restarts,
        "detached": actor.detached,
        "pending_calls": actor.pending_calls,
        "resources": actor.resources.as_ref().map(resources),
        "create_time": rfc3339(actor.create_time.as_ref()),
        "cause": actor.cause.as_ref().map(error),
    })
}

fn object(object: &v1::ObjectView) -> Value {
    json!({
        "object_id": object.object_id,
        "state": object.state().name(),
        "size_bytes": object.size_bytes,
        "holders": object.holders,
        "task_id": object.task_id,
        "job_id": object.job_id,
        "put": object.put,
        "node_ids": object.node_ids,
        "place": object.place,
        "pins": object.pins,
        "held_by": object.held_by.iter().map(holder).collect::<Vec<_>>(),
    })
}

fn holder(holder: &v1::ObjectHolder) -> Value {
    json!({ "kind": holder.kind, "id": holder.id, "function": holder.function })
}

/// A node.
pub(crate) fn node(node: &v1::NodeView) -> Value {
    let mut labels: Vec<_> = node.labels.iter().collect();
    labels.sort();
    json!({
        "node_id": node.node_id,
        "state": node.state().name(),
        "hostname": node.hostname,
        "process_id": node.process_id,
        "version": node.version,
        "total": node.total.as_ref().map(resources),
        "available": node.available.as_ref().map(resources),
        "labels": labels.into_iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>(),
        "start_time": rfc3339(node.start_time.as_ref()),
        "counters": node.counters.as_ref().map(counters),
        "drain": node.drain.as_ref().map(node_drain),
        "workers": node.workers.iter().map(worker).collect::<Vec<_>>(),
    })
}

/// A process of a node that runs the guests of one tenant.
fn worker(worker: &v1::NodeWorker) -> Value {
    json!({
        "tenant": worker.tenant,
        "process_id": worker.process_id,
        "locks": worker.locks,
        "missing": worker.missing,
    })
}

/// What is left on a node that drains.
pub(crate) fn node_drain(left: &v1::NodeDrain) -> Value {
    json!({
        "seconds_left": left.time_left.as_ref().and_then(std_duration).map(|span| span.as_secs_f64()),
        "jobs": left.jobs,
        "tasks": left.tasks,
        "actors": left.actors,
        "objects": left.objects,
        "object_bytes": left.object_bytes,
    })
}

fn placement_group(group: &v1::PlacementGroupView) -> Value {
    let bundle = |bundle: &v1::Bundle| json!({ "resources": bundle.resources.as_ref().map(resources), "node_id": bundle.node_id });
    json!({
        "placement_group_id": group.placement_group_id,
        "name": group.name,
        "job_id": group.job_id,
        "state": group.state().name(),
        "strategy": group.strategy,
        "bundles": group.bundles.iter().map(bundle).collect::<Vec<_>>(),
        "reason": group.reason,
    })
}

/// The cluster at a glance.
pub(crate) fn status(status: &v1::StatusResponse) -> Value {
    let sorted = |counts: &std::collections::HashMap<String, u64>| {
        let mut counts: Vec<_> = counts.iter().map(|(state, n)| (state.clone(), json!(n))).collect();
        counts.sort_by(|a, b| a.0.cmp(&b.0));
        counts.into_iter().collect::<Map<_, _>>()
    };
    let demand = |demand: &v1::Demand| {
        json!({
            "resources": demand.resources.as_ref().map(resources),
            "count": demand.count,
            "reason": demand.reason,
        })
    };
    json!({
        "nodes_total": status.nodes_total,
        "uptime_seconds": status.uptime.as_ref().and_then(std_duration).map(|span| span.as_secs_f64()),
        "total": status.total.as_ref().map(resources),
        "available": status.available.as_ref().map(resources),
        "tasks": status.tasks.as_ref().map(task_counts),
        "jobs": sorted(&status.jobs),
        "actors": sorted(&status.actors),
        "pending": status.pending.iter().map(demand).collect::<Vec<_>>(),
        "counters": status.counters.as_ref().map(counters),
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// Why a task is not running.
pub(crate) fn explanation(explanation: &v1::Explanation) -> Value {
    let lack = |lack: &v1::Lack| {
        json!({
            "node_id": lack.node_id,
            "resource": lack.resource,
            "wanted": lack.wanted,
            "available": lack.available,
            "total": lack.total,
        })
    };
    json!({
        "summary": explanation.summary,
        "lacks": explanation.lacks.iter().map(lack).collect::<Vec<_>>(),
        "missing_arguments": explanation.missing_arguments,
        "task": explanation.task.as_ref().map(task),
    })
}

/// A log line.
pub(crate) fn log_line(line: &v1::LogLine) -> Value {
    let source = match line.source() {
        v1::LogSource::Stdout => "stdout",
        v1::LogSource::Stderr => "stderr",
        v1::LogSource::Record => "record",
        v1::LogSource::Unspecified => "unspecified",
    };
    let mut object = json!({
        "sequence": line.sequence,
        "time": rfc3339(line.time.as_ref()),
        "task_id": line.task_id,
        "function": line.function,
        "node_id": line.node_id,
        "source": source,
        "text": line.text,
    });
    if line.source() == v1::LogSource::Record {
        object["level"] = json!(line.level);
        object["target"] = json!(line.target);
        let fields = line.fields.iter().map(|field| (field.name.clone(), json!(field.value)));
        object["fields"] = Value::Object(fields.collect());
    }
    object
}

/// An error.
pub(crate) fn error(error: &v1::Error) -> Value {
    let frame = |frame: &v1::Frame| {
        json!({
            "task_id": frame.task_id,
            "function": frame.function,
            "node_id": frame.node_id,
            "attempt": frame.attempt,
        })
    };
    json!({
        "code": error.code,
        "kind": error.kind,
        "message": error.message,
        "path": error.path.iter().map(frame).collect::<Vec<_>>(),
        "backtrace": error.backtrace,
    })
}

fn resources(resources: &v1::Resources) -> Value {
    let units = |parts: u64| json!(Quantity(parts).as_f64());
    let mut custom: Vec<_> =
        resources.custom.iter().map(|(name, parts)| (name.clone(), units(*parts))).collect();
    custom.sort_by(|a, b| a.0.cmp(&b.0));
    json!({
        "cpus": units(resources.cpus),
        "gpus": units(resources.gpus),
        "memory_bytes": resources.memory_bytes,
        "custom": custom.into_iter().collect::<Map<_, _>>(),
    })
}

fn counters(counters: &v1::NodeCounters) -> Value {
    json!({
        "instantiations": counters.instantiations,
        "live_instances": counters.live_instances,
        "queued_tasks": counters.queued_tasks,
        "running_tasks": counters.running_tasks,
        "blocked_tasks": counters.blocked_tasks,
        "actors_alive": counters.actors_alive,
        "objects": counters.objects,
        "store_used_bytes": counters.store_used_bytes,
        "store_total_bytes": counters.store_total_bytes,
        "spilled_bytes": counters.spilled_bytes,
        "arena_objects": counters.arena_objects,
        "spill_file_bytes": counters.spill_file_bytes,
        "object_bytes_sent": counters.object_bytes_sent,
        "object_bytes_received": counters.object_bytes_received,
        "nodes_sent_on": counters.nodes_sent_on,
        "sandboxes_paused": counters.sandboxes_paused,
        "tasks_preempted": counters.tasks_preempted,
    })
}

/// An event.
pub(crate) fn event(event: &v1::EventView) -> Value {
    json!({
        "event_id": event.event_id,
        "time": rfc3339(event.time.as_ref()),
        "severity": event.severity().name(),
        "kind": event.kind().name(),
        "node_id": event.node_id,
        "job_id": event.job_id,
        "actor_id": event.actor_id,
        "placement_group_id": event.placement_group_id,
        "message": event.message,
    })
}

fn task_counts(tasks: &v1::TaskCounts) -> Value {
    let states = tasks.by_state().map(|(state, count)| (state.name().to_owned(), json!(count)));
    Value::Object(states.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_what_programs_look_for() {
        let view = v1::JobView {
            job_id: "job-1".into(),
            state: v1::JobState::Succeeded.into(),
            result: Some(v1::JobResult { wave: Some("3".into()), value: None }),
            ..Default::default()
        };
        let json = job(&view);
        assert_eq!(json["state"], "SUCCEEDED");
        assert_eq!(json["result"], "3");
        assert_eq!(json["error"], Value::Null);
    }

    #[test]
    fn messagepack_is_shown_as_what_it_means() {
        let mut bytes = Vec::new();
        let map = rmpv::Value::Map(vec![
            ("words".into(), 12.into()),
            (1.into(), rmpv::Value::Array(vec![rmpv::Value::Nil, (-1).into(), 0.5.into()])),
            ("ref".into(), rmpv::Value::Ext(1, vec![0])),
        ]);
        rmpv::encode::write_value(&mut bytes, &map).unwrap();
        let value = |codec: v1::Codec, bytes: Vec<u8>| v1::JobResult {
            value: Some(v1::Value { codec: codec.into(), bytes, handles: 0 }),
            wave: None,
        };
        let shown = result(&value(v1::Codec::Msgpack, bytes));
        assert_eq!(shown, json!({ "words": 12, "1": [null, -1, 0.5], "ref": "<handle>" }));
        assert_eq!(result(&value(v1::Codec::Raw, vec![1, 2]))["size_bytes"], 2);
        assert_eq!(result(&value(v1::Codec::Msgpack, vec![0x92]))["size_bytes"], 1);
    }

    #[test]
    fn resources_are_in_units() {
        let shown = resources(&v1::Resources { cpus: 15_000, ..Default::default() });
        assert_eq!(shown["cpus"], 1.5);
    }
}
