//! The fields of views by name: what filters compare and tables show.

use crate::v1::{self, Kind};

/// A view whose fields are known by name.
pub trait Fields {
    /// Its kind.
    const KIND: Kind;
    /// The names of its fields, the identifier first.
    const KEYS: &'static [&'static str];

    /// A field's value as text; empty when it has none. None when there is no such field.
    fn field(&self, key: &str) -> Option<String>;
}

/// The names of a kind's fields.
pub fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Unspecified => &[],
        Kind::Job => v1::JobView::KEYS,
        Kind::Task => v1::TaskView::KEYS,
        Kind::Actor => v1::ActorView::KEYS,
        Kind::Object => v1::ObjectView::KEYS,
        Kind::Node => v1::NodeView::KEYS,
        Kind::PlacementGroup => v1::PlacementGroupView::KEYS,
        Kind::Event => v1::EventView::KEYS,
    }
}

/// A kind's name in the plural, as the command line has it.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "unspecified",
        Kind::Job => "jobs",
        Kind::Task => "tasks",
        Kind::Actor => "actors",
        Kind::Object => "objects",
        Kind::Node => "nodes",
        Kind::PlacementGroup => "placement-groups",
        Kind::Event => "events",
    }
}

/// The kind of a view; none of an empty one.
pub fn kind_of(view: &v1::View) -> Option<Kind> {
    use v1::view::View;
    Some(match view.view.as_ref()? {
        View::Job(_) => Kind::Job,
        View::Task(_) => Kind::Task,
        View::Actor(_) => Kind::Actor,
        View::Object(_) => Kind::Object,
        View::Node(_) => Kind::Node,
        View::PlacementGroup(_) => Kind::PlacementGroup,
        View::Event(_) => Kind::Event,
    })
}

/// A field of a view of any kind.
pub fn field(view: &v1::View, key: &str) -> Option<String> {
    use v1::view::View;
    match view.view.as_ref()? {
        View::Job(view) => view.field(key),
        View::Task(view) => view.field(key),
        View::Actor(view) => view.field(key),
        View::Object(view) => view.field(key),
        View::Node(view) => view.field(key),
        View::PlacementGroup(view) => view.field(key),
        View::Event(view) => view.field(key),
    }
}

macro_rules! fields {
    ($view:ident of $kind:ident, |$self:ident| $($key:literal => $value:expr,)*) => {
        impl Fields for v1::$view {
            const KIND: Kind = Kind::$kind;
            const KEYS: &'static [&'static str] = &[$($key,)*];

            fn field(&self, key: &str) -> Option<String> {
                let $self = self;
                match key {
                    $($key => Some($value.to_string()),)*
                    _ => None,
                }
            }
        }
    };
}

fields!(JobView of Job, |job|
    "id" => job.job_id,
    "submission_id" => job.submission_id,
    "name" => job.name,
    "namespace" => job.namespace,
    "tenant" => job.tenant,
    "state" => job.state().name(),
    "entry" => job.entry,
    "runs" => job.run + 1,
    "root_task" => job.root_task_id,
    "error" => code(&job.error),
);

fields!(TaskView of Task, |task|
    "id" => task.task_id,
    "job" => task.job_id,
    "function" => task.function,
    "name" => task.name,
    "state" => task.state().name(),
    "node" => task.node_id,
    "parent" => task.parent_task_id,
    "actor" => task.actor_id,
    "attempts" => task.attempts.last().map_or(0, |last| last.number + 1),
    "reason" => task.pending_reason,
    "error" => code(&task.error),
);

fields!(ActorView of Actor, |actor|
    "id" => actor.actor_id,
    "job" => actor.job_id,
    "class" => actor.class,
    "name" => actor.name,
    "namespace" => actor.namespace,
    "state" => actor.state().name(),
    "node" => actor.node_id,
    "restarts" => actor.restarts,
    "detached" => actor.detached,
    "pending_calls" => actor.pending_calls,
    "cause" => code(&actor.cause),
);

fields!(ObjectView of Object, |object|
    "id" => object.object_id,
    "state" => object.state().name(),
    "size" => object.size_bytes.map(|size| size.to_string()).unwrap_or_default(),
    "holders" => object.holders,
    "task" => object.task_id,
    "job" => object.job_id,
    "put" => object.put,
    "place" => object.place,
    "pins" => object.pins,
);

fields!(NodeView of Node, |node|
    "id" => node.node_id,
    "state" => node.state().name(),
    "hostname" => node.hostname,
    "version" => node.version,
    "process" => node.process_id,
);

fields!(PlacementGroupView of PlacementGroup, |group|
    "id" => group.placement_group_id,
    "name" => group.name,
    "job" => group.job_id,
    "state" => group.state().name(),
    "strategy" => group.strategy,
    "reason" => group.reason,
);

fields!(EventView of Event, |event|
    "id" => event.event_id,
    "severity" => event.severity().name(),
    "kind" => event.kind().name(),
    "node" => event.node_id,
    "job" => event.job_id,
    "actor" => event.actor_id,
    "placement_group" => event.placement_group_id,
    "message" => event.message,
);

fn code(error: &Option<v1::Error>) -> &str {
    error.as_ref().map_or("", |error| error.code.as_str())
}

macro_rules! state_names {
    ($($state:ident: $prefix:literal,)*) => { $(
        impl v1::$state {
            /// The state as it is printed: `RUNNING`.
            pub fn name(self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix($prefix).unwrap_or(name)
            }
        }
    )* };
}

state_names! {
    JobState: "JOB_STATE_",
    TaskState: "TASK_STATE_",
    ActorState: "ACTOR_STATE_",
    ObjectState: "OBJECT_STATE_",
    NodeState: "NODE_STATE_",
    PlacementGroupState: "PLACEMENT_GROUP_STATE_",
    EventSeverity: "EVENT_SEVERITY_",
    EventKind: "EVENT_KIND_",
}

impl v1::JobState {
    /// Whether a job in this state has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Succeeded | Self::Failed)
    }
}

impl v1::TaskState {
    /// Whether a task in this state has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

impl v1::TaskCounts {
    /// Counts one task more in a state.
    pub fn add(&mut self, state: v1::TaskState, count: u64) {
        use v1::TaskState::*;
        let slot = match state {
            Unspecified => return,
            PendingArgs => &mut self.pending_args,
            PendingPlacement => &mut self.pending_placement,
            PendingStoreMemory => &mut self.pending_store_memory,
            FetchingArgs => &mut self.fetching_args,
            Submitted => &mut self.submitted,
            Running => &mut self.running,
            Blocked => &mut self.blocked,
            Finished => &mut self.finished,
            Failed => &mut self.failed,
            Cancelled => &mut self.cancelled,
        };
        *slot += count;
    }

    /// States and how many tasks are in each, in the order of a task's life.
    pub fn by_state(&self) -> [(v1::TaskState, u64); 10] {
        use v1::TaskState::*;
        [
            (PendingArgs, self.pending_args),
            (PendingPlacement, self.pending_placement),
            (PendingStoreMemory, self.pending_store_memory),
            (FetchingArgs, self.fetching_args),
            (Submitted, self.submitted),
            (Running, self.running),
            (Blocked, self.blocked),
            (Finished, self.finished),
            (Failed, self.failed),
            (Cancelled, self.cancelled),
        ]
    }

    /// Tasks that have not begun.
    pub fn queued(&self) -> u64 {
        self.pending_args
            + self.pending_placement
            + self.pending_store_memory
            + self.fetching_args
            + self.submitted
    }

    /// Tasks that have ended.
    pub fn ended(&self) -> u64 {
        self.finished + self.failed + self.cancelled
    }

    /// All tasks.
    pub fn total(&self) -> u64 {
        self.queued() + self.running + self.blocked + self.ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_field() {
        fn check<V: Fields + Default>() {
            for key in V::KEYS {
                assert!(V::default().field(key).is_some(), "{key}");
            }
            assert_eq!(V::default().field("nonsense"), None);
            assert_eq!(keys(V::KIND), V::KEYS);
        }
        check::<v1::JobView>();
        check::<v1::TaskView>();
        check::<v1::ActorView>();
        check::<v1::ObjectView>();
        check::<v1::NodeView>();
        check::<v1::PlacementGroupView>();
        check::<v1::EventView>();
    }

    #[test]
    fn states_are_printed_without_their_type() {
        assert_eq!(v1::TaskState::PendingPlacement.name(), "PENDING_PLACEMENT");
        assert_eq!(v1::JobState::Succeeded.name(), "SUCCEEDED");
        assert_eq!(v1::PlacementGroupState::Created.name(), "CREATED");
    }

    #[test]
    fn counts_add_up() {
        let mut counts = v1::TaskCounts::default();
        for (n, (state, _)) in v1::TaskCounts::default().by_state().into_iter().enumerate() {
            counts.add(state, n as u64 + 1);
        }
        assert_eq!(counts.total(), 55);
        assert_eq!(counts.queued(), 15);
        assert_eq!(counts.ended(), 27);
        assert_eq!(counts.by_state()[9], (v1::TaskState::Cancelled, 10));
    }
}
