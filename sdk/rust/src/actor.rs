//! Actor handles, whatever the actor's class.
use crate::argument::{self, Argument};
use crate::bindings::engine::compute::{actors, types as wit};
use crate::call_options::CallOptions;
use crate::codec::Value;
use crate::error::{Error, Result};
use crate::handles::{self, Handle};
use crate::object::ObjectRef;
use crate::returns::Outputs;
use crate::stream::Stream;
use crate::task::Task;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A handle to an actor of any class, perhaps of another component or language.
///
/// `#[engine::actor]` makes a typed handle over it, such as `CounterHandle`. Calls made through one
/// handle and its clones run in the order in which they were made. The actor lives as long as there
/// is a handle to it, unless it is detached.
#[derive(Clone)]
pub struct ActorRef {
    actor: Arc<wit::Actor>,
}

impl ActorRef {
    pub(crate) fn from_wire(actor: wit::Actor) -> Self {
        ActorRef { actor: Arc::new(actor) }
    }

    /// The actor of this name, in this namespace or the job's.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub fn lookup(name: &str, namespace: Option<&str>) -> Result<Self> {
        actors::lookup(name, namespace).map(Self::from_wire).map_err(Error::from_wire)
    }

    /// The actor's id: printable, for logs and listings.
    pub fn id(&self) -> String {
        self.actor.id()
    }

    /// Ends the actor now; calls in flight fail, and it is not restarted.
    ///
    /// # Errors
    /// When the cluster could not be told.
    pub fn kill(&self) -> Result<()> {
        self.actor.kill(false).map_err(Error::from_wire)
    }

    /// Ends the actor now, and has it made anew if its `max_restarts` allows.
    ///
    /// # Errors
    /// When the cluster could not be told.
    pub fn restart(&self) -> Result<()> {
        self.actor.kill(true).map_err(Error::from_wire)
    }

    /// Begins a call of the method of this name.
    ///
    /// ```no_run
    /// # use engine::prelude::*;
    /// # fn run(counter: engine::ActorRef) -> Result<()> {
    /// let total: ObjectRef<u64> = counter.method("add").argument(&5u64)?.call()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn method(&self, name: impl Into<String>) -> MethodCall<'_> {
        MethodCall { actor: self, method: name.into(), arguments: Vec::new(), options: CallOptions::new() }
    }

    #[doc(hidden)]
    pub fn submit<R: Outputs>(
        &self,
        method: &str,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Task<R>> {
        self.submit_raw(method, arguments, options).and_then(Task::from_wire)
    }

    #[doc(hidden)]
    pub fn submit_streaming<T>(
        &self,
        method: &str,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Stream<T>> {
        self.submit_raw(method, arguments, options).map(Stream::from_wire)
    }

    fn submit_raw(
        &self,
        method: &str,
        mut arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<wit::Task> {
        let arguments = argument::lend(&mut arguments);
        self.actor.call(method, &arguments, &options.to_wire()).map_err(Error::from_wire)
    }
}

/// A call of an actor's method by its name, while its arguments are put together.
#[derive(Debug)]
pub struct MethodCall<'a> {
    actor: &'a ActorRef,
    method: String,
    arguments: Vec<Argument>,
    options: CallOptions,
}

impl MethodCall<'_> {
    /// The next argument: a value.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value does not encode.
    pub fn argument<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.arguments.push(Argument::plain(value)?);
        Ok(self)
    }

    /// The next argument: an object, which the method gets the value of.
    pub fn object<T>(mut self, object: &ObjectRef<T>) -> Self {
        self.arguments.push(Argument::object(object));
        self
    }

    /// The options of the call.
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// ACTOR_DIED, PENDING_CALLS_EXCEEDED.
    pub fn call<T: Value>(self) -> Result<ObjectRef<T>> {
        self.submit().map(Task::into_outputs)
    }

    /// Makes the call, and gives the task.
    ///
    /// # Errors
    /// ACTOR_DIED, PENDING_CALLS_EXCEEDED.
    pub fn submit<T: Value>(self) -> Result<Task<ObjectRef<T>>> {
        self.actor.submit(&self.method, self.arguments, self.options.num_returns(1))
    }
}

impl fmt::Debug for ActorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.id())
    }
}

impl Serialize for ActorRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        handles::serialize(Handle::Actor(Arc::clone(&self.actor)), serializer)
    }
}

impl<'de> Deserialize<'de> for ActorRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        const WANTED: &str = "an actor handle";
        match handles::deserialize(deserializer, WANTED)? {
            Handle::Actor(actor) => Ok(ActorRef { actor }),
            other => Err(handles::mismatch(&other, WANTED)),
        }
    }
}

/// Makes a typed handle over [`ActorRef`] a value, as the bare one is.
#[doc(hidden)]
#[macro_export]
macro_rules! __handle_serde {
    ($handle:ident) => {
        impl $crate::__private::serde::Serialize for $handle {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::__private::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $handle {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                <$crate::ActorRef as $crate::__private::serde::Deserialize>::deserialize(deserializer)
                    .map($handle)
            }
        }
    };
}
