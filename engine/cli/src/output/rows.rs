//! The rows of listings.

use std::time::SystemTime;

use engine_client::fields::Fields;
use engine_client::messages as v1;
use engine_core::resources::{Quantity, bytes};
use engine_proto::convert::system_time;

use crate::output::table::table;
use crate::output::time::{ago, between, rfc3339, short};

/// A listing as a table.
pub(crate) fn listing(kind: v1::Kind, items: &[v1::View], now: SystemTime) -> String {
    let rows: Vec<_> = items.iter().filter_map(|item| row(item.view.as_ref()?, now)).collect();
    table(header(kind), &rows)
}

/// Jobs as a table.
pub(crate) fn jobs(jobs: &[v1::JobView], now: SystemTime) -> String {
    table(header(v1::Kind::Job), &jobs.iter().map(|view| job(view, now)).collect::<Vec<_>>())
}

fn header(kind: v1::Kind) -> &'static [&'static str] {
    match kind {
        v1::Kind::Unspecified => &[],
        v1::Kind::Job => {
            &["id", "tenant", "submission id", "name", "state", "runs", "tasks", "submitted", "took", "error"]
        }
        v1::Kind::Task => &["id", "function", "name", "state", "attempts", "node", "took", "reason"],
        v1::Kind::Actor => &["id", "class", "name", "state", "restarts", "pending calls", "node", "cause"],
        v1::Kind::Object => &["id", "state", "size", "place", "holders", "held by", "task"],
        v1::Kind::Node => {
            &["id", "state", "host", "cpus", "memory", "running", "queued", "sandboxes", "store", "labels"]
        }
        v1::Kind::PlacementGroup => &["id", "name", "state", "strategy", "bundles", "reason"],
        v1::Kind::Event => &["time", "severity", "kind", "about", "message"],
    }
}

fn row(view: &v1::view::View, now: SystemTime) -> Option<Vec<String>> {
    use v1::view::View;
    Some(match view {
        View::Job(view) => job(view, now),
        View::Task(view) => task(view, now),
        View::Actor(view) => {
            fields(view, &["id", "class", "name", "state", "restarts", "pending_calls", "node", "cause"])
        }
        View::Object(view) => object(view),
        View::Node(view) => node(view),
        View::PlacementGroup(view) => {
            let mut row = fields(view, &["id", "name", "state", "strategy"]);
            let placed = view.bundles.iter().filter(|bundle| !bundle.node_id.is_empty()).count();
            row.push(format!("{placed}/{}", view.bundles.len()));
            row.push(view.reason.clone());
            row
        }
        View::Event(view) => event(view),
    })
}

fn fields<V: Fields>(view: &V, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| view.field(key).unwrap_or_default()).collect()
}

fn job(view: &v1::JobView, now: SystemTime) -> Vec<String> {
    // Of an engine without tenants there is no need to say.
    let tenant = if view.tenant == "default" { String::new() } else { view.tenant.clone() };
    let mut row = vec![view.job_id.clone(), tenant];
    row.extend(fields(view, &["submission_id", "name", "state"]));
    row.push(if view.run > 0 { view.field("runs").unwrap_or_default() } else { String::new() });
    let counts = view.progress.as_ref().and_then(|progress| progress.tasks.as_ref());
    row.push(counts.map(|tasks| format!("{}/{}", tasks.ended(), tasks.total())).unwrap_or_default());
    row.push(ago(view.submit_time.as_ref(), now));
    row.push(took(view.start_time.as_ref(), view.end_time.as_ref(), now));
    row.push(view.field("error").unwrap_or_default());
    row
}

fn task(view: &v1::TaskView, now: SystemTime) -> Vec<String> {
    let mut row = fields(view, &["id", "function", "name", "state", "attempts", "node"]);
    let last = view.attempts.last();
    let end = last.and_then(|last| last.end_time.as_ref()).or(view.end_time.as_ref());
    row.push(took(last.and_then(|last| last.start_time.as_ref()), end, now));
    row.push(match &view.error {
        Some(error) => error.code.clone(),
        None => view.pending_reason.clone(),
    });
    row
}

fn object(view: &v1::ObjectView) -> Vec<String> {
    let mut row = fields(view, &["id", "state"]);
    row.push(view.size_bytes.map(bytes).unwrap_or_default());
    row.extend(fields(view, &["place", "holders"]));
    row.push(held_by(view));
    row.extend(fields(view, &["task"]));
    row
}

/// The first of those that hold it: `handle of main`.
pub(crate) fn held_by(view: &v1::ObjectView) -> String {
    let Some(first) = view.held_by.first() else { return String::new() };
    let who = if first.function.is_empty() { &first.id } else { &first.function };
    format!("{} of {who}", first.kind.to_lowercase())
}

fn node(view: &v1::NodeView) -> Vec<String> {
    let mut row = fields(view, &["id", "state", "hostname"]);
    let (total, free) = (view.total.clone().unwrap_or_default(), view.available.clone().unwrap_or_default());
    let counters = view.counters.unwrap_or_default();
    let cpus = |parts: u64| Quantity(parts).to_string();
    row.push(format!("{}/{}", cpus(total.cpus.saturating_sub(free.cpus)), cpus(total.cpus)));
    let memory = total.memory_bytes.saturating_sub(free.memory_bytes);
    row.push(format!("{}/{}", bytes(memory), bytes(total.memory_bytes)));
    row.push(counters.running_tasks.to_string());
    row.push(counters.queued_tasks.to_string());
    row.push(counters.live_instances.to_string());
    row.push(bytes(counters.store_used_bytes));
    let mut labels: Vec<_> = view.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.sort();
    row.push(labels.join(","));
    row
}

/// The most particular thing that an event is about; the rest of its ids are in the JSON.
fn event(view: &v1::EventView) -> Vec<String> {
    let ids = [&view.placement_group_id, &view.actor_id, &view.node_id, &view.job_id];
    let of_job = view.kind().name().starts_with("JOB_");
    let about = if of_job { Some(&view.job_id) } else { ids.into_iter().find(|id| !id.is_empty()) };
    let mut row = vec![rfc3339(view.time.as_ref()).unwrap_or_default()];
    row.extend(fields(view, &["severity", "kind"]));
    row.push(about.cloned().unwrap_or_default());
    row.push(view.message.clone());
    row
}

/// An event as one line, aligned with those before and after it.
pub(crate) fn event_line(view: &v1::EventView) -> String {
    let row = event(view);
    format!("{}  {:<7}  {:<17}  {:<30}  {}", row[0], row[1], row[2], row[3], row[4])
}

fn took(
    start: Option<&engine_proto::prost_types::Timestamp>,
    end: Option<&engine_proto::prost_types::Timestamp>,
    now: SystemTime,
) -> String {
    let end = end.map_or(Some(now), system_time);
    between(start, end).map(short).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use v1::view::View;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)
    }

    fn at(seconds: i64) -> Option<engine_proto::prost_types::Timestamp> {
        Some(engine_proto::prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn list(kind: v1::Kind, view: View) -> String {
        listing(kind, &[v1::View { view: Some(view) }], now())
    }

    #[test]
    fn a_job_shows_its_tasks_and_times() {
        let tasks = v1::TaskCounts { finished: 3, running: 2, ..Default::default() };
        let view = v1::JobView {
            job_id: "job-1".into(),
            name: "count".into(),
            state: v1::JobState::Running.into(),
            submit_time: at(880),
            start_time: at(940),
            progress: Some(v1::JobProgress { tasks: Some(tasks), ..Default::default() }),
            ..Default::default()
        };
        let expected = "\
ID     NAME   STATE    TASKS  SUBMITTED  TOOK
job-1  count  RUNNING  3/5    2m 0s ago  1m 0s
";
        assert_eq!(list(v1::Kind::Job, View::Job(view.clone())), expected);
        assert_eq!(jobs(std::slice::from_ref(&view), now()), expected);
        let again = v1::JobView { run: 1, ..view };
        assert!(jobs(&[again], now()).contains("RUNNING  2     3/5"));
    }

    #[test]
    fn a_task_shows_why_it_waits_or_failed() {
        let mut view = v1::TaskView {
            task_id: "task-1".into(),
            function: "count".into(),
            state: v1::TaskState::PendingPlacement.into(),
            pending_reason: "wants 4 cpus".into(),
            ..Default::default()
        };
        let expected = "\
ID      FUNCTION  STATE              ATTEMPTS  REASON
task-1  count     PENDING_PLACEMENT  0         wants 4 cpus
";
        assert_eq!(list(v1::Kind::Task, View::Task(view.clone())), expected);
        view.set_state(v1::TaskState::Failed);
        view.error = Some(v1::Error { code: "TRAPPED".into(), ..Default::default() });
        view.attempts = vec![v1::Attempt { start_time: at(1), end_time: at(3), ..Default::default() }];
        let expected = "\
ID      FUNCTION  STATE   ATTEMPTS  TOOK    REASON
task-1  count     FAILED  1         2.00 s  TRAPPED
";
        assert_eq!(list(v1::Kind::Task, View::Task(view)), expected);
    }

    #[test]
    fn a_node_shows_what_is_used_of_what_it_has() {
        let resources = |cpus, memory_bytes| v1::Resources { cpus, memory_bytes, ..Default::default() };
        let view = v1::NodeView {
            node_id: "node-1".into(),
            state: v1::NodeState::Alive.into(),
            total: Some(resources(20_000, 2 << 30)),
            available: Some(resources(5_000, 1 << 30)),
            labels: [("zone".into(), "a".into())].into(),
            ..Default::default()
        };
        let text = list(v1::Kind::Node, View::Node(view));
        assert!(text.contains("1.5/2"), "{text}");
        assert!(text.contains("1 GiB/2 GiB"), "{text}");
        assert!(text.contains("zone=a"), "{text}");
    }

    #[test]
    fn an_event_shows_what_it_is_about() {
        let view = v1::EventView {
            event_id: "event-1".into(),
            time: at(5),
            severity: v1::EventSeverity::Warning.into(),
            kind: v1::EventKind::JobRunLost.into(),
            node_id: "node-1".into(),
            job_id: "job-1".into(),
            message: "it is run again".into(),
            ..Default::default()
        };
        let expected = "\
TIME                      SEVERITY  KIND          ABOUT  MESSAGE
1970-01-01T00:00:05.000Z  WARNING   JOB_RUN_LOST  job-1  it is run again
";
        assert_eq!(list(v1::Kind::Event, View::Event(view.clone())), expected);
        let actor = v1::EventView { actor_id: "actor-1".into(), ..view };
        let actor = v1::EventView { kind: v1::EventKind::ActorDied.into(), ..actor };
        assert_eq!(event(&actor)[3], "actor-1");
        assert!(
            event_line(&actor).contains("WARNING  ACTOR_DIED         actor-1 "),
            "{}",
            event_line(&actor)
        );
    }

    #[test]
    fn every_kind_has_as_many_cells_as_its_header() {
        let views = [
            (v1::Kind::Job, View::Job(Default::default())),
            (v1::Kind::Task, View::Task(Default::default())),
            (v1::Kind::Actor, View::Actor(Default::default())),
            (v1::Kind::Object, View::Object(Default::default())),
            (v1::Kind::Node, View::Node(Default::default())),
            (v1::Kind::PlacementGroup, View::PlacementGroup(Default::default())),
            (v1::Kind::Event, View::Event(Default::default())),
        ];
        for (kind, view) in views {
            assert_eq!(row(&view, now()).unwrap().len(), header(kind).len(), "{kind:?}");
        }
    }
}
