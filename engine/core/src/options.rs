//! What a task, an actor or a call may ask for.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{ComponentId, NodeId, PlacementGroupId};
use crate::resources::Quantity;

/// Bytes of a name: of a task, an actor, a namespace, a resource, a label.
pub const NAME_BYTES_MAX: usize = 512;

/// What is run: a function, class or method of a component.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// The component.
    pub component: ComponentId,
    /// The function's name.
    pub name: Arc<str>,
}

/// How many objects come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Returns {
    /// So many, each an object from the start.
    Fixed(u32),
    /// A stream, at most so many unread objects ahead of its reader; none: no bound but memory.
    Streaming(Option<u32>),
}

/// How often a failed attempt is followed by another. -1 stands for "without end".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retries {
    /// After failures of the system.
    pub system: i32,
    /// After failures of the guest's own code.
    pub application: i32,
    /// The kinds of application failure that are retried; empty: all of them.
    pub kinds: Vec<String>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { system: 3, application: 0, kinds: Vec::new() }
    }
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelOperator {
    /// The label's value is one of these.
    In,
    /// The label is not there, or its value is none of these.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// One condition on a node's labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// With what.
    pub values: Vec<String>,
    /// A hard selector is required, a soft one preferred.
    pub hard: bool,
}

impl LabelSelector {
    /// Whether a node with these labels is what it wants.
    pub fn matches(&self, labels: &[(String, String)]) -> bool {
        let value = labels.iter().find(|(key, _)| *key == self.key).map(|(_, value)| value);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// Where a task wants to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Near its data, packed to half of a node, then the least loaded.
    #[default]
    Default,
    /// As evenly as may be.
    Spread,
    /// On this node; when soft, another will do.
    Node(NodeId, bool),
    /// In a bundle of a placement group, of what is reserved there.
    PlacementGroup {
        /// The group.
        group: PlacementGroupId,
        /// Which of its bundles; none: any.
        bundle: Option<u32>,
        /// Whether what is spawned from there, and does not say where, runs in the group too.
        capture_children: bool,
    },
}

impl Strategy {
    /// Whether a task may run on a node, as far as this says.
    pub fn allows(&self, node: NodeId) -> bool {
        !matches!(self, Self::Node(other, false) if *other != node)
    }
}

/// What a task needs and where it wants to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Placement {
    /// None: 1 for a task; for an actor 1 to place it and 0 once it is there.
    pub cpus: Option<Quantity>,
    /// GPUs.
    pub gpus: Quantity,
    /// Custom resources.
    pub resources: Vec<(String, Quantity)>,
    /// Bytes of guest memory, reserved and enforced; none: the tenant's default.
    pub memory: Option<u64>,
    /// Where it wants to run.
    pub strategy: Strategy,
    /// Conditions on the node's labels.
    pub labels: Vec<LabelSelector>,
    /// Among the tasks of its tenant: higher first.
    pub priority: i32,
}

impl Placement {
    /// The placement group that it is to be in, and which bundle of it; no bundle: any.
    pub fn group(&self) -> Option<(PlacementGroupId, Option<u32>)> {
        match self.strategy {
            Strategy::PlacementGroup { group, bundle, .. } => Some((group, bundle)),
            _ => None,
        }
    }

    /// Whether a node with these labels will do.
    pub fn accepts(&self, labels: &[(String, String)]) -> bool {
        self.labels.iter().all(|selector| !selector.hard || selector.matches(labels))
    }

    /// Whether some nodes are better than others that will do.
    pub fn has_likes(&self) -> bool {
        self.labels.iter().any(|selector| !selector.hard)
    }

    /// How many of the soft selectors a node with these labels is what they want.
    pub fn likes(&self, labels: &[(String, String)]) -> usize {
        self.labels.iter().filter(|selector| !selector.hard && selector.matches(labels)).count()
    }
}

/// Whether an instance serves one task or many (contract T3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reuse {
    /// A fresh instance for every task.
    #[default]
    Never,
    /// Warm instances serve many tasks of one job.
    Job,
}

/// What a task may ask for. Shared: a thousand tasks spawned with the same options hold it once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskOptions {
    /// For people.
    pub name: Option<String>,
    /// What it needs and where it wants to be.
    pub placement: Placement,
    /// How many objects come back.
    pub returns: Returns,
    /// How often it is tried again.
    pub retries: Retries,
    /// From submission to end.
    pub deadline: Option<Duration>,
    /// CPU time of one attempt.
    pub cpu_time: Option<Duration>,
    /// Environment of the guest, on top of the job's. Sorted by name.
    pub env: Arc<[(String, String)]>,
    /// Whether its instance may serve others.
    pub reuse: Reuse,
    /// Whether its result may be taken from the tenant's cache.
    pub cache: bool,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            name: None,
            placement: Placement::default(),
            returns: Returns::Fixed(1),
            retries: Retries::default(),
            deadline: None,
            cpu_time: None,
            env: Arc::from([]),
            reuse: Reuse::Never,
            cache: false,
        }
    }
}

/// What an actor call may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    /// For people.
    pub name: Option<String>,
    /// How many objects come back.
    pub returns: Returns,
    /// Retries after application failures; `system` binds as `max_task_retries` of the actor does,
    /// the larger of the two.
    pub retries: Retries,
    /// From submission to end.
    pub deadline: Option<Duration>,
    /// The group that bounds its concurrency; none: the actor's default one.
    pub concurrency_group: Option<String>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            name: None,
            returns: Returns::Fixed(1),
            retries: Retries { system: 0, application: 0, kinds: Vec::new() },
            deadline: None,
            concurrency_group: None,
        }
    }
}

/// How long an actor lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lifetime {
    /// As long as its job, at most.
    #[default]
    Job,
    /// Until it is killed.
    Detached,
}

/// What an actor may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorOptions {
    /// Unique in its namespace.
    pub name: Option<String>,
    /// None: the job's.
    pub namespace: Option<String>,
    /// An actor of this name that is there already is what the caller gets.
    pub get_if_exists: bool,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it needs, held for life if given, and where it wants to be.
    pub placement: Placement,
    /// Restarts after a death that was not asked for; -1: without end.
    pub max_restarts: i32,
    /// Further attempts of a call that was in flight at a restart; -1: without end.
    pub max_task_retries: i32,
    /// Calls inside at once, in the default group.
    pub max_concurrency: u32,
    /// Further groups: name and calls inside at once.
    pub concurrency_groups: Vec<(String, u32)>,
    /// Unfinished calls made through one handle; none: no bound but the node's.
    pub max_pending_calls: Option<u32>,
    /// Environment of the guest, on top of the job's. Sorted by name.
    pub env: Arc<[(String, String)]>,
}

impl Default for ActorOptions {
    fn default() -> Self {
        Self {
            name: None,
            namespace: None,
            get_if_exists: false,
            lifetime: Lifetime::Job,
            placement: Placement::default(),
            max_restarts: 0,
            max_task_retries: 0,
            max_concurrency: 1,
            concurrency_groups: Vec::new(),
            max_pending_calls: None,
            env: Arc::from([]),
        }
    }
}
