//! The options of one actor call.
use crate::bindings::engine::compute::types as wit;
use crate::time::nanoseconds;
use std::time::Duration;

/// The options of calls to an actor's methods; `handle.submit()` begins with the method's own.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    name: Option<String>,
    streaming: Option<Option<u32>>,
    num_returns: Option<u32>,
    max_task_retries: Option<i32>,
    retry_kinds: Vec<String>,
    deadline: Option<Duration>,
    concurrency_group: Option<String>,
}

/// What stands for "as the actor's `max_task_retries` says" in a call's retries.
const AS_THE_ACTOR_SAYS: i32 = 0;
/// How often a call is run again after a failure that `retry_on` names, where nothing else is said.
const APPLICATION_RETRIES: i32 = 3;

impl CallOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for people, shown in listings. Default: the method's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many objects the call makes.
    pub fn num_returns(mut self, num_returns: usize) -> Self {
        self.num_returns = Some(u32::try_from(num_returns).unwrap_or(u32::MAX));
        self
    }

    /// The call makes a stream of objects, at most so many unread ahead of the reader.
    pub fn streaming(mut self, unread_objects_max: Option<u32>) -> Self {
        self.streaming = Some(unread_objects_max);
        self
    }

    /// How often the call is run again when the actor or its node died under it; -1: without end.
    /// Default: as the actor's `max_task_retries` says.
    pub fn max_task_retries(mut self, max_task_retries: i32) -> Self {
        self.max_task_retries = Some(max_task_retries);
        self
    }

    /// The kinds of failure of the program itself that are retried too, `max_task_retries` times, or 3
    /// times where that is not given. Default: none.
    pub fn retry_on<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.retry_kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// The longest time from the call to its end; then DEADLINE_EXCEEDED.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The concurrency group of the actor that the call runs in. Default: the method's.
    pub fn concurrency_group(mut self, group: impl Into<String>) -> Self {
        self.concurrency_group = Some(group.into());
        self
    }

    /// These options, with the other's where these say nothing.
    #[doc(hidden)]
    pub fn over(&self, other: CallOptions) -> CallOptions {
        let kinds = if self.retry_kinds.is_empty() { other.retry_kinds } else { self.retry_kinds.clone() };
        CallOptions {
            name: self.name.clone().or(other.name),
            streaming: self.streaming.or(other.streaming),
            num_returns: self.num_returns.or(other.num_returns),
            max_task_retries: self.max_task_retries.or(other.max_task_retries),
            retry_kinds: kinds,
            deadline: self.deadline.or(other.deadline),
            concurrency_group: self.concurrency_group.clone().or(other.concurrency_group),
        }
    }

    pub(crate) fn to_wire(&self) -> wit::CallOptions {
        let system = self.max_task_retries.unwrap_or(AS_THE_ACTOR_SAYS);
        wit::CallOptions {
            name: self.name.clone(),
            returns: match self.streaming {
                Some(unread_objects_max) => wit::Returns::Streaming(unread_objects_max),
                None => wit::Returns::Fixed(self.num_returns.unwrap_or(1)),
            },
            retries: wit::Retries {
                system,
                application: if self.retry_kinds.is_empty() {
                    0
                } else {
                    self.max_task_retries.unwrap_or(APPLICATION_RETRIES)
                },
                kinds: self.retry_kinds.clone(),
            },
            deadline: self.deadline.map(nanoseconds),
            concurrency_group: self.concurrency_group.clone(),
        }
    }
}

/// The setters of [`CallOptions`] for a type that has them in its field `options`; what
/// `#[engine::actor]` gives to `handle.submit()`.
#[doc(hidden)]
#[macro_export]
macro_rules! __call_setters {
    () => {
        $crate::__delegate! {
            /// A name for people, shown in listings. Default: the method's.
            name(name: impl ::core::convert::Into<::std::string::String>);
            /// How often the call is run again when the actor or its node died under it; -1: without end.
            max_task_retries(max_task_retries: i32);
            /// The kinds of failure of the program itself that are retried too. Default: none.
            retry_on(kinds: impl ::core::iter::IntoIterator<Item = &'static str>);
            /// The longest time from the call to its end; then DEADLINE_EXCEEDED.
            deadline(deadline: ::core::time::Duration);
            /// The concurrency group of the actor that the call runs in. Default: the method's.
            concurrency_group(group: impl ::core::convert::Into<::std::string::String>);
        }
    };
}
