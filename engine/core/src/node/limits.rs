//! A limit on everything, named with its unit.

use std::time::Duration;

/// What the node's tables are bounded by. At each bound the caller gets LIMIT_EXCEEDED (or the error
/// named below) and nothing that was accepted is lost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Tasks and calls that have not ended, on the whole node.
    pub queued_tasks_max: usize,
    /// Tasks and calls of one tenant with which it gets nothing of the last quarter of `queued_tasks_max`, where
    /// the node serves several: that is for those which have fewer.
    pub queued_tasks_of_small_tenant_max: u64,
    /// Tasks and calls that one call may spawn.
    pub children_per_task_max: u32,
    /// Arguments of one task or call.
    pub arguments_max: usize,
    /// Values that one task returns.
    pub returns_max: u32,
    /// Objects that one streaming task yields.
    pub stream_objects_max: u32,
    /// Objects that one call puts.
    pub puts_per_task_max: u32,
    /// Bytes of the arena, for values above `inline_object_bytes_max`. What does not fit is spilled, or
    /// refused with STORE_FULL.
    pub store_bytes_max: u64,
    /// Bytes of the values up to `inline_object_bytes_max`: objects and arguments. Beyond it:
    /// STORE_FULL.
    pub inline_bytes_max: u64,
    /// Whether objects are written to disk when the arena is full.
    pub spill: bool,
    /// Hundredths of the arena above which objects that nobody uses are written to disk.
    pub spill_above_percent: u64,
    /// Tasks whose arguments are brought back from disk at once.
    pub fetching_tasks_max: usize,
    /// Bytes of the records by which lost objects can be made again; the oldest go first.
    pub lineage_bytes_max: u64,
    /// Handles inside one value.
    pub handles_per_value_max: usize,
    /// Items of one wait.
    pub wait_items_max: usize,
    /// Sandboxes alive at once. Further tasks wait.
    pub instances_max: usize,
    /// Warm sandboxes that wait for work; the longest idle is ended first.
    pub warm_idle_max: usize,
    /// How long a warm sandbox waits for work.
    pub warm_idle_duration_max: Duration,
    /// Actors that are not dead.
    pub actors_max: usize,
    /// Concurrency groups of one actor.
    pub concurrency_groups_max: usize,
    /// Calls inside one actor at once, over all groups.
    pub max_concurrency_max: u32,
    /// Ended tasks that can still be listed.
    pub history_tasks_max: usize,
    /// Dead actors that can still be listed.
    pub history_actors_max: usize,
    /// Events that are kept; the oldest is forgotten first.
    pub events_max: usize,
    /// Attempts kept of one task, the oldest left out first.
    pub attempts_kept_max: usize,
    /// Guest memory of a task that does not say.
    pub task_memory_bytes_default: u64,
    /// Guest memory of a job's root task that does not say.
    pub root_memory_bytes_default: u64,
    /// How long a tenant waits for what is not CPUs of its guaranteed share before tasks of others are ended for it.
    pub preempt_after: Duration,
    /// How often one task may be ended and begun anew for other tenants' shares.
    pub preemptions_per_task_max: u32,
    /// Starts of others that a waiting class lets pass before nothing may pass it any more.
    pub passed_over_max: u32,
    /// Tasks in line here above which those of other nodes that do not fit at once are refused: few, as
    /// many owners may see the same room at once, and what is in line here cannot begin elsewhere.
    pub foreign_tasks_in_line_max: usize,
    /// How long the last of the short tasks that another node is given ahead of its room should wait there,
    /// by what those of its class took before; zero: none is given ahead. Those that run for longer are not.
    pub ahead_time_max: Duration,
    /// Tasks of one class that one other node is given ahead of its room, at once.
    pub ahead_tasks_max: usize,
    /// How long one waits here that another node has given ahead, before it goes back.
    pub ahead_wait_max: Duration,
    /// Tasks of other nodes that wait here ahead of room, at once; more are refused.
    pub ahead_in_line_max: usize,
    /// Other nodes that are looked at for one task; where there are more, the next ones each time.
    pub nodes_looked_at_max: usize,
    /// Clients outside that are roots of jobs here, at once.
    pub clients_max: usize,
    /// How long the client that a job is bound to may be away before the job is stopped.
    pub client_grace: Duration,
    /// Messages that another node has not acknowledged above which it is given no further task.
    pub unacknowledged_messages_max: usize,
    /// Bytes from which an object that many nodes ask for is given on by those that have got it.
    pub spread_bytes_min: u64,
    /// Nodes that are given the same object at once, and that each of them is sent.
    pub transfers_per_object_max: usize,
    /// Nodes that are known to have got an object here; further ones are not sent anybody.
    pub copies_known_max: usize,
    /// The same of all objects; those of the one that was asked for longest ago are forgotten.
    pub copies_known_of_all_max: usize,
    /// Bytes from which an object comes from several nodes at once, when several are known to have it.
    pub several_bytes_min: u64,
    /// Nodes that one object comes from at once.
    pub sources_max: usize,
    /// How long a node that drains waits, once its deadline has passed, for what others must hear of it.
    pub drain_grace_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued_tasks_max: 2_000_000,
            queued_tasks_of_small_tenant_max: 30_000,
            children_per_task_max: 10_000_000,
            arguments_max: 100_000,
            returns_max: 100_000,
            stream_objects_max: 1 << 30,
            puts_per_task_max: 1 << 30,
            store_bytes_max: 4 << 30,
            inline_bytes_max: 4 << 30,
            spill: false,
            spill_above_percent: 80,
            fetching_tasks_max: 64,
            lineage_bytes_max: 256 << 20,
            handles_per_value_max: 1_000_000,
            wait_items_max: 2_000_000,
            instances_max: 12_000,
            warm_idle_max: 256,
            warm_idle_duration_max: Duration::from_secs(60),
            actors_max: 100_000,
            concurrency_groups_max: 64,
            max_concurrency_max: 10_000,
            history_tasks_max: 10_000,
            history_actors_max: 10_000,
            events_max: 10_000,
            attempts_kept_max: 8,
            task_memory_bytes_default: 32 << 20,
            root_memory_bytes_default: 256 << 20,
            preempt_after: Duration::from_millis(100),
            preemptions_per_task_max: 8,
            passed_over_max: 1_000,
            foreign_tasks_in_line_max: 2,
            ahead_time_max: Duration::from_millis(5),
            ahead_tasks_max: 1_024,
            ahead_wait_max: Duration::from_millis(50),
            ahead_in_line_max: 4_096,
            nodes_looked_at_max: 64,
            clients_max: 1_000,
            client_grace: Duration::from_secs(30),
            unacknowledged_messages_max: 100_000,
            spread_bytes_min: 4 << 20,
            transfers_per_object_max: 2,
            copies_known_max: 1_024,
            copies_known_of_all_max: 65_536,
            several_bytes_min: 32 << 20,
            sources_max: 4,
            drain_grace_max: Duration::from_secs(2),
        }
    }
}
