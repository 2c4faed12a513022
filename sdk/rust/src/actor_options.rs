//! The options of an actor.
use crate::bindings::engine::compute::actors as wit;
use crate::placement::{Placement, placement_setters};

/// How long an actor lives without being killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until its last handle is dropped, or its job ends.
    #[default]
    Job,
    /// Until it is killed; it outlives its job, and is found by its name.
    Detached,
}

/// The options of an actor; `Counter::options()` begins with those of `#[engine::actor(…)]`.
#[derive(Clone, Debug)]
pub struct ActorOptions {
    placement: Placement,
    name: Option<String>,
    namespace: Option<String>,
    get_if_exists: bool,
    lifetime: Lifetime,
    max_restarts: i32,
    max_task_retries: i32,
    max_concurrency: u32,
    concurrency_groups: Vec<(String, u32)>,
    max_pending_calls: Option<u32>,
    env: Vec<(String, String)>,
}

impl Default for ActorOptions {
    fn default() -> Self {
        ActorOptions {
            placement: Placement::default(),
            name: None,
            namespace: None,
            get_if_exists: false,
            lifetime: Lifetime::Job,
            max_restarts: 0,
            max_task_retries: 0,
            max_concurrency: 1,
            concurrency_groups: Vec::new(),
            max_pending_calls: None,
            env: Vec::new(),
        }
    }
}

impl ActorOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    placement_setters!();

    /// The name that the actor is found by; one of a kind in its namespace.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The namespace of the name. Default: the job's.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// If there is an actor of that name already, gives that one. Default: ALREADY_EXISTS.
    pub fn get_if_exists(mut self, get_if_exists: bool) -> Self {
        self.get_if_exists = get_if_exists;
        self
    }

    /// How long the actor lives. Default: with its job.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How often the actor is made anew after it died; -1: without end. Default: 0.
    pub fn max_restarts(mut self, max_restarts: i32) -> Self {
        self.max_restarts = max_restarts;
        self
    }

    /// How often a call is run again when the actor died under it; -1: without end. Default: 0.
    pub fn max_task_retries(mut self, max_task_retries: i32) -> Self {
        self.max_task_retries = max_task_retries;
        self
    }

    /// How many calls may be inside the actor at once; above 1 needs `async` methods. Default: 1.
    pub fn max_concurrency(mut self, max_concurrency: u32) -> Self {
        self.max_concurrency = max_concurrency;
        self
    }

    /// A group of methods with a `max_concurrency` of its own; may be given several times.
    pub fn concurrency_group(mut self, name: impl Into<String>, max_concurrency: u32) -> Self {
        self.concurrency_groups.push((name.into(), max_concurrency));
        self
    }

    /// The most calls that may be pending through one handle; then PENDING_CALLS_EXCEEDED.
    pub fn max_pending_calls(mut self, max_pending_calls: u32) -> Self {
        self.max_pending_calls = Some(max_pending_calls);
        self
    }

    /// A variable of the actor's environment; may be given several times.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub(crate) fn lend(&self) -> wit::ActorOptions<'_> {
        let groups = self.concurrency_groups.iter().cloned();
        wit::ActorOptions {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            get_if_exists: self.get_if_exists,
            lifetime: match self.lifetime {
                Lifetime::Job => wit::Lifetime::Job,
                Lifetime::Detached => wit::Lifetime::Detached,
            },
            placement: self.placement.lend(),
            max_restarts: self.max_restarts,
            max_task_retries: self.max_task_retries,
            max_concurrency: self.max_concurrency,
            concurrency_groups: groups
                .map(|(name, max_concurrency)| wit::ConcurrencyGroup { name, max_concurrency })
                .collect(),
            max_pending_calls: self.max_pending_calls,
            env: self.env.clone(),
        }
    }
}

/// The setters of [`ActorOptions`] for a type that has them in its field `options`; what
/// `#[engine::actor]` gives to `Counter::options()`.
#[doc(hidden)]
#[macro_export]
macro_rules! __actor_setters {
    () => {
        $crate::__delegate! {
            /// CPUs, held for life. Default: 1 to place the actor and 0 once it is there.
            cpus(cpus: impl ::core::convert::Into<f64>);
            /// GPUs, held for life. Default: 0.
            gpus(gpus: impl ::core::convert::Into<f64>);
            /// So much of a custom resource of the cluster, held for life.
            resource(name: impl ::core::convert::Into<::std::string::String>, amount: impl ::core::convert::Into<f64>);
            /// Bytes of guest memory: reserved on the node, and enforced. Default: the tenant's.
            memory(bytes: u64);
            /// How the node is chosen.
            strategy(strategy: $crate::Strategy);
            /// A condition on the node's labels; may be given several times.
            label(label: $crate::Label);
            /// Higher goes first, among the tenant's own. Default: 0.
            priority(priority: i32);
            /// The name that the actor is found by; one of a kind in its namespace.
            name(name: impl ::core::convert::Into<::std::string::String>);
            /// The namespace of the name. Default: the job's.
            namespace(namespace: impl ::core::convert::Into<::std::string::String>);
            /// If there is an actor of that name already, gives that one. Default: ALREADY_EXISTS.
            get_if_exists(get_if_exists: bool);
            /// How long the actor lives. Default: with its job.
            lifetime(lifetime: $crate::Lifetime);
            /// How often the actor is made anew after it died; -1: without end. Default: 0.
            max_restarts(max_restarts: i32);
            /// How often a call is run again when the actor died under it; -1: without end. Default: 0.
            max_task_retries(max_task_retries: i32);
            /// How many calls may be inside the actor at once; above 1 needs `async` methods. Default: 1.
            max_concurrency(max_concurrency: u32);
            /// A group of methods with a `max_concurrency` of its own; may be given several times.
            concurrency_group(name: impl ::core::convert::Into<::std::string::String>, max_concurrency: u32);
            /// The most calls that may be pending through one handle; then PENDING_CALLS_EXCEEDED.
            max_pending_calls(max_pending_calls: u32);
            /// A variable of the actor's environment; may be given several times.
            env(key: impl ::core::convert::Into<::std::string::String>, value: impl ::core::convert::Into<::std::string::String>);
        }
    };
}
