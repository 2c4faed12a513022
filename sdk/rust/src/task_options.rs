//! The options of a task.
use crate::bindings::engine::compute::{tasks as wit, types};
use crate::placement::{Placement, placement_setters};
use crate::time::nanoseconds;
use std::time::Duration;

/// Whether an instance serves more than one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// A fresh instance for every task.
    #[default]
    Never,
    /// Warm instances serve many tasks of one job; what a task leaves in globals is seen by the next.
    Job,
}

/// The options of a task; `f::options()` begins with those of `#[engine::task(…)]`.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    placement: Placement,
    name: Option<String>,
    returns: types::Returns,
    max_retries: i32,
    retry: Retry,
    deadline: Option<Duration>,
    cpu_time: Option<Duration>,
    env: Vec<(String, String)>,
    reuse: Reuse,
    cache: bool,
}

/// Which failures of the program are retried.
#[derive(Clone, Debug)]
enum Retry {
    None,
    Kinds(Vec<String>),
    Any,
}

impl Default for TaskOptions {
    fn default() -> Self {
        TaskOptions {
            placement: Placement::default(),
            name: None,
            returns: types::Returns::Fixed(1),
            max_retries: 3,
            retry: Retry::None,
            deadline: None,
            cpu_time: None,
            env: Vec::new(),
            reuse: Reuse::Never,
            cache: false,
        }
    }
}

impl TaskOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    placement_setters!();

    /// A name for people, shown in listings. Default: the function's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many objects the task makes.
    pub fn num_returns(mut self, num_returns: usize) -> Self {
        self.returns = types::Returns::Fixed(u32::try_from(num_returns).unwrap_or(u32::MAX));
        self
    }

    /// The task makes a stream of objects, at most so many unread ahead of the reader; none: as many
    /// as there is memory for.
    pub fn streaming(mut self, unread_objects_max: Option<u32>) -> Self {
        self.returns = types::Returns::Streaming(unread_objects_max);
        self
    }

    /// How often the task is run again after the node, the worker or the transport failed, or after
    /// a failure that `retry_on` names; -1: without end. Default: 3.
    pub fn max_retries(mut self, max_retries: i32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// The kinds of failure of the program itself that are retried too. Default: none.
    pub fn retry_on<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.retry = Retry::Kinds(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// Every failure of the program itself is retried too.
    pub fn retry_on_any(mut self) -> Self {
        self.retry = Retry::Any;
        self
    }

    /// The longest time from submission to end; then DEADLINE_EXCEEDED.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The most CPU time of one attempt; then DEADLINE_EXCEEDED.
    pub fn cpu_time(mut self, cpu_time: Duration) -> Self {
        self.cpu_time = Some(cpu_time);
        self
    }

    /// A variable of the task's environment; may be given several times.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Whether warm instances may serve the task. Default: never.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// Runs the task in a closed world, so that its result may be taken from the cache. Default: off.
    pub fn cache(mut self, cache: bool) -> Self {
        self.cache = cache;
        self
    }

    pub(crate) fn lend(&self) -> wit::TaskOptions<'_> {
        wit::TaskOptions {
            name: self.name.clone(),
            placement: self.placement.lend(),
            returns: self.returns,
            retries: self.retry.to_wire(self.max_retries),
            deadline: self.deadline.map(nanoseconds),
            cpu_time: self.cpu_time.map(nanoseconds),
            env: self.env.clone(),
            reuse: match self.reuse {
                Reuse::Never => wit::Reuse::Never,
                Reuse::Job => wit::Reuse::Job,
            },
            cache: self.cache,
        }
    }
}

impl Retry {
    fn to_wire(&self, max_retries: i32) -> types::Retries {
        match self {
            Retry::None => types::Retries { system: max_retries, application: 0, kinds: Vec::new() },
            Retry::Kinds(kinds) if kinds.is_empty() => Retry::None.to_wire(max_retries),
            Retry::Kinds(kinds) => {
                types::Retries { system: max_retries, application: max_retries, kinds: kinds.clone() }
            }
            Retry::Any => types::Retries { system: max_retries, application: max_retries, kinds: Vec::new() },
        }
    }
}

/// The setters of [`TaskOptions`] for a type that has them in its field `options`; what
/// `#[engine::task]` gives to `f::options()`.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_setters {
    () => {
        $crate::__delegate! {
            /// CPUs, in steps of 1/10 000. Default: 1.
            cpus(cpus: impl ::core::convert::Into<f64>);
            /// GPUs, in steps of 1/10 000. Default: 0.
            gpus(gpus: impl ::core::convert::Into<f64>);
            /// So much of a custom resource of the cluster.
            resource(name: impl ::core::convert::Into<::std::string::String>, amount: impl ::core::convert::Into<f64>);
            /// Bytes of guest memory: reserved on the node, and enforced. Default: the tenant's.
            memory(bytes: u64);
            /// How the node is chosen.
            strategy(strategy: $crate::Strategy);
            /// A condition on the node's labels; may be given several times.
            label(label: $crate::Label);
            /// Higher goes first, among the tenant's own. Default: 0.
            priority(priority: i32);
            /// A name for people, shown in listings. Default: the function's.
            name(name: impl ::core::convert::Into<::std::string::String>);
            /// How often the task is run again after a failure of the system, or one that `retry_on`
            /// names; -1: without end. Default: 3.
            max_retries(max_retries: i32);
            /// The kinds of failure of the program itself that are retried too. Default: none.
            retry_on(kinds: impl ::core::iter::IntoIterator<Item = &'static str>);
            /// Every failure of the program itself is retried too.
            retry_on_any();
            /// The longest time from submission to end; then DEADLINE_EXCEEDED.
            deadline(deadline: ::core::time::Duration);
            /// The most CPU time of one attempt; then DEADLINE_EXCEEDED.
            cpu_time(cpu_time: ::core::time::Duration);
            /// A variable of the task's environment; may be given several times.
            env(key: impl ::core::convert::Into<::std::string::String>, value: impl ::core::convert::Into<::std::string::String>);
            /// Whether warm instances may serve the task. Default: never.
            reuse(reuse: $crate::Reuse);
            /// Runs the task in a closed world, so that its result may be taken from the cache.
            cache(cache: bool);
        }
    };
}

/// Setters by value that hand on to those of the same name in `self.options`.
#[doc(hidden)]
#[macro_export]
macro_rules! __delegate {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $($argument: $kind),*) -> Self {
                self.options = self.options.$name($($argument),*);
                self
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: T7
    #[test]
    fn failures_of_the_program_are_retried_only_as_asked() {
        let plain = TaskOptions::new();
        assert_eq!((plain.lend().retries.system, plain.lend().retries.application), (3, 0));
        let named = TaskOptions::new().max_retries(5).retry_on(["Flaky"]);
        let retries = named.lend().retries;
        assert_eq!(
            (retries.system, retries.application, &retries.kinds[..]),
            (5, 5, &["Flaky".to_owned()][..])
        );
        let any = TaskOptions::new().retry_on_any();
        assert_eq!((any.lend().retries.application, any.lend().retries.kinds.len()), (3, 0));
        let none = TaskOptions::new().retry_on([] as [&str; 0]);
        assert_eq!(none.lend().retries.application, 0);
    }
}
