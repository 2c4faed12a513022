//! What all nodes say, as one answer.

use std::collections::HashMap;

use engine_proto::convert::newest_first;
use engine_proto::v1;

/// Adds resources of a node to those of the others.
fn add_resources(sum: &mut v1::Resources, more: Option<&v1::Resources>) {
    let Some(more) = more else { return };
    sum.cpus += more.cpus;
    sum.gpus += more.gpus;
    sum.memory_bytes += more.memory_bytes;
    for (name, amount) in &more.custom {
        *sum.custom.entry(name.clone()).or_default() += amount;
    }
}

fn add_counters(sum: &mut v1::NodeCounters, more: Option<&v1::NodeCounters>) {
    let Some(more) = more else { return };
    sum.instantiations += more.instantiations;
    sum.live_instances += more.live_instances;
    sum.queued_tasks += more.queued_tasks;
    sum.running_tasks += more.running_tasks;
    sum.blocked_tasks += more.blocked_tasks;
    sum.actors_alive += more.actors_alive;
    sum.objects += more.objects;
    sum.store_used_bytes += more.store_used_bytes;
    sum.store_total_bytes += more.store_total_bytes;
    sum.spilled_bytes += more.spilled_bytes;
    sum.arena_objects += more.arena_objects;
    sum.spill_file_bytes += more.spill_file_bytes;
    sum.object_bytes_sent += more.object_bytes_sent;
    sum.object_bytes_received += more.object_bytes_received;
    sum.nodes_sent_on += more.nodes_sent_on;
    sum.sandboxes_paused += more.sandboxes_paused;
    sum.tasks_preempted += more.tasks_preempted;
}

/// Adds the tasks of a node to those of the others.
fn add_tasks(sum: &mut v1::TaskCounts, more: Option<&v1::TaskCounts>) {
    for (state, count) in more.into_iter().flat_map(v1::TaskCounts::by_state) {
        sum.add(state, count);
    }
}

/// How far a job is on all nodes.
pub(super) fn progress(
    home: v1::JobProgress,
    others: impl Iterator<Item = v1::JobProgress>,
) -> v1::JobProgress {
    let mut sum = home;
    let mut tasks = sum.tasks.unwrap_or_default();
    for other in others {
        add_tasks(&mut tasks, other.tasks.as_ref());
        sum.actors_alive += other.actors_alive;
        sum.instantiations += other.instantiations;
    }
    v1::JobProgress { tasks: Some(tasks), ..sum }
}

/// The cluster at a glance, of its nodes' answers.
pub(super) fn status(nodes: Vec<v1::StatusResponse>) -> v1::StatusResponse {
    let mut total = v1::Resources::default();
    let mut available = v1::Resources::default();
    let mut counters = v1::NodeCounters::default();
    let mut tasks = v1::TaskCounts::default();
    let mut sum = v1::StatusResponse::default();
    let mut pending: Vec<v1::Demand> = Vec::new();
    for node in nodes {
        add_resources(&mut total, node.total.as_ref());
        add_resources(&mut available, node.available.as_ref());
        add_counters(&mut counters, node.counters.as_ref());
        add_tasks(&mut tasks, node.tasks.as_ref());
        for (state, count) in node.actors {
            *sum.actors.entry(state).or_default() += count;
        }
        for demand in node.pending {
            match pending.iter_mut().find(|known| known.reason == demand.reason) {
                Some(known) => known.count += demand.count,
                None => pending.push(demand),
            }
        }
        sum.nodes.extend(node.nodes);
    }
    v1::StatusResponse {
        total: Some(total),
        available: Some(available),
        counters: Some(counters),
        tasks: Some(tasks),
        pending,
        nodes_total: sum.nodes.len() as u64,
        ..sum
    }
}

/// The listings of all nodes as one, at most `limit` items. A task or call that its owner has given to
/// another node is in both nodes' listings: it is shown once, as its owner sees it, and in the state in
/// which it is there.
pub(super) fn listings(listings: Vec<v1::ListResponse>, limit: usize) -> v1::ListResponse {
    let mut total = 0;
    let mut items: Vec<v1::View> = Vec::new();
    let mut tasks: HashMap<String, usize> = HashMap::new();
    for listing in listings {
        total += listing.total;
        for item in listing.items {
            let Some(v1::view::View::Task(task)) = &item.view else {
                items.push(item);
                continue;
            };
            match tasks.get(&task.task_id) {
                None => {
                    tasks.insert(task.task_id.clone(), items.len());
                    items.push(item);
                }
                Some(at) => {
                    total -= 1;
                    if let Some(v1::view::View::Task(known)) = &mut items[*at].view {
                        *known = one_task(std::mem::take(known), task.clone());
                    }
                }
            }
        }
    }
    items.truncate(limit);
    v1::ListResponse { items, total, forgotten: 0 }
}

/// The logs of the head and of all nodes as one, at most `limit` events, the newest first.
pub(super) fn events(logs: Vec<v1::ListResponse>, limit: usize) -> v1::ListResponse {
    let total = logs.iter().map(|log| log.total).sum();
    let forgotten = logs.iter().map(|log| log.forgotten).sum();
    let event = |item: v1::View| match item.view {
        Some(v1::view::View::Event(event)) => Some(event),
        _ => None,
    };
    let logs = logs.into_iter().map(|log| log.items.into_iter().filter_map(event).collect());
    let view = |event| v1::View { view: Some(v1::view::View::Event(event)) };
    v1::ListResponse {
        items: newest_first(logs).into_iter().take(limit).map(view).collect(),
        total,
        forgotten,
    }
}

/// Two views of one task: the owner's, and that of the node that runs it.
pub(super) fn one_task(one: v1::TaskView, other: v1::TaskView) -> v1::TaskView {
    // Only the owner knows who spawned it.
    let (mut owner, runner) = match one.parent_task_id.is_empty() && !other.parent_task_id.is_empty() {
        true => (other, one),
        false => (one, other),
    };
    if owner.state() == v1::TaskState::Submitted && !runner.state().is_final() {
        owner.state = runner.state;
        owner.pending_reason = runner.pending_reason;
    }
    owner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(parent: &str, state: v1::TaskState) -> v1::View {
        let task = v1::TaskView {
            task_id: "t".into(),
            parent_task_id: parent.into(),
            state: state.into(),
            ..Default::default()
        };
        v1::View { view: Some(v1::view::View::Task(task)) }
    }

    #[test]
    fn a_task_on_another_node_is_listed_once_as_its_owner_sees_it() {
        let runner = task("", v1::TaskState::Running);
        let owner = task("p", v1::TaskState::Submitted);
        for order in [[runner.clone(), owner.clone()], [owner, runner]] {
            let listed = listings(
                order.map(|item| v1::ListResponse { items: vec![item], total: 1, forgotten: 0 }).to_vec(),
                10,
            );
            assert_eq!((listed.items.len(), listed.total), (1, 1));
            let Some(v1::view::View::Task(task)) = &listed.items[0].view else { panic!("no task") };
            assert_eq!((task.parent_task_id.as_str(), task.state()), ("p", v1::TaskState::Running));
        }
    }

    #[test]
    fn the_newest_events_of_all_logs_are_kept_and_the_others_counted() {
        let event = |seconds| v1::EventView {
            time: Some(engine_proto::prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        };
        let log = |seconds: [i64; 2], total, forgotten| v1::ListResponse {
            items: seconds.map(|at| v1::View { view: Some(v1::view::View::Event(event(at))) }).to_vec(),
            total,
            forgotten,
        };
        let merged = events(vec![log([9, 2], 5, 1), log([8, 7], 2, 0)], 3);
        let times = merged.items.iter().map(|item| match &item.view {
            Some(v1::view::View::Event(event)) => event.time.expect("a time").seconds,
            other => panic!("{other:?} is no event"),
        });
        assert_eq!(times.collect::<Vec<_>>(), [9, 8, 7]);
        assert_eq!((merged.total, merged.forgotten), (7, 1));
    }

    #[test]
    fn what_nodes_have_is_added_up() {
        let node = |cpus| v1::StatusResponse {
            total: Some(v1::Resources { cpus, custom: [("x".to_owned(), 1)].into(), ..Default::default() }),
            tasks: Some(v1::TaskCounts { running: 2, ..Default::default() }),
            pending: vec![v1::Demand { reason: "r".into(), count: 3, resources: None }],
            nodes: vec![v1::NodeView::default()],
            ..Default::default()
        };
        let sum = status(vec![node(1), node(2)]);
        let total = sum.total.expect("a total");
        assert_eq!((total.cpus, total.custom["x"], sum.nodes_total), (3, 2, 2));
        assert_eq!(sum.tasks.expect("tasks").running, 4);
        assert_eq!((sum.pending.len(), sum.pending[0].count), (1, 6));
    }
}
