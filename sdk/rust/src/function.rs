//! Functions and actor classes by name: of this component, or of another that the job brought along.
use crate::actor::ActorRef;
use crate::actor_options::ActorOptions;
use crate::argument::{self, Argument};
use crate::bindings::engine::compute::{actors, tasks, types};
use crate::codec::Value;
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use crate::returns::Outputs;
use crate::stream::Stream;
use crate::task::Task;
use crate::task_options::TaskOptions;
use serde::Serialize;

/// Begins a call of the function of this name: a task of this component, or with
/// [`of`](FunctionCall::of) a function that another component of the job exports, in any language.
///
/// ```no_run
/// # use engine::prelude::*;
/// # fn run() -> Result<()> {
/// let sum: ObjectRef<i32> = engine::function("add").of("calculator").argument(&1)?.argument(&2)?.spawn()?;
/// # Ok(())
/// # }
/// ```
pub fn function(name: impl Into<String>) -> FunctionCall {
    let function = tasks::Function { component: None, name: name.into() };
    FunctionCall { function, arguments: Vec::new() }
}

/// A call of a function or the making of an actor by name, while its arguments are put together.
#[derive(Debug)]
pub struct FunctionCall {
    function: tasks::Function,
    arguments: Vec<Argument>,
}

impl FunctionCall {
    /// Of that component, by its digest or the name that the job gave it.
    pub fn of(mut self, component: impl Into<String>) -> Self {
        self.function.component = Some(component.into());
        self
    }

    /// The next argument: a value.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value does not encode.
    pub fn argument<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.arguments.push(Argument::plain(value)?);
        Ok(self)
    }

    /// The next argument: an object, which the function gets the value of.
    pub fn object<T>(mut self, object: &ObjectRef<T>) -> Self {
        self.arguments.push(Argument::object(object));
        self
    }

    /// Spawns it as a task with the default options.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn spawn<T: Value>(self) -> Result<ObjectRef<T>> {
        self.submit(TaskOptions::new()).map(Task::into_outputs)
    }

    /// Spawns it as a task.
    ///
    /// # Errors
    /// UNSCHEDULABLE, QUOTA_EXCEEDED, LIMIT_EXCEEDED, INVALID_ARGUMENT. That there is no such
    /// function is the failure of the task.
    pub fn submit<R: Outputs>(self, options: TaskOptions) -> Result<Task<R>> {
        spawn(self.function, self.arguments, &options).and_then(Task::from_wire)
    }

    /// Spawns it as a task that makes a stream of objects.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn stream<T: Value>(self, options: TaskOptions) -> Result<Stream<T>> {
        spawn(self.function, self.arguments, &options).map(Stream::from_wire)
    }

    /// Makes an actor; the function's name is its class.
    ///
    /// # Errors
    /// ALREADY_EXISTS, UNSCHEDULABLE, QUOTA_EXCEEDED, INVALID_COMPONENT.
    pub fn actor(self, options: ActorOptions) -> Result<ActorRef> {
        create(self.function, self.arguments, &options)
    }
}

fn spawn(
    function: tasks::Function,
    mut arguments: Vec<Argument>,
    options: &TaskOptions,
) -> Result<types::Task> {
    let arguments = argument::lend(&mut arguments);
    tasks::spawn(&function, &arguments, &options.lend()).map_err(Error::from_wire)
}

fn create(class: tasks::Function, mut arguments: Vec<Argument>, options: &ActorOptions) -> Result<ActorRef> {
    let arguments = argument::lend(&mut arguments);
    actors::create(&class, &arguments, &options.lend()).map(ActorRef::from_wire).map_err(Error::from_wire)
}

fn own(name: &str) -> tasks::Function {
    tasks::Function { component: None, name: name.to_owned() }
}

#[doc(hidden)]
pub fn submit<R: Outputs>(name: &str, arguments: Vec<Argument>, options: &TaskOptions) -> Result<Task<R>> {
    spawn(own(name), arguments, options).and_then(Task::from_wire)
}

#[doc(hidden)]
pub fn submit_streaming<T>(name: &str, arguments: Vec<Argument>, options: &TaskOptions) -> Result<Stream<T>> {
    spawn(own(name), arguments, options).map(Stream::from_wire)
}

#[doc(hidden)]
pub fn create_actor(class: &str, arguments: Vec<Argument>, options: &ActorOptions) -> Result<ActorRef> {
    create(own(class), arguments, options)
}
