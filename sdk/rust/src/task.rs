//! A task that was spawned, or an actor call that was made.
use crate::bindings::engine::compute::types as wit;
use crate::codec::Value;
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use crate::returns::Outputs;
use std::fmt;
use std::sync::Arc;

/// A task or an actor call, to be cancelled or named; `submit` gives one where `spawn` gives only
/// the references. Dropping it does not cancel anything.
pub struct Task<R> {
    task: Arc<wit::Task>,
    outputs: R,
}

impl<R: Outputs> Task<R> {
    pub(crate) fn from_wire(task: wit::Task) -> Result<Self> {
        let outputs = R::from_objects(task.outputs())?;
        Ok(Task { task: Arc::new(task), outputs })
    }
}

impl<R> Task<R> {
    /// The task's id: printable, for logs and listings.
    pub fn id(&self) -> String {
        self.task.id()
    }

    /// The references to what it will make: an [`ObjectRef`], or a tuple, array or `Vec` of them.
    pub fn outputs(&self) -> &R {
        &self.outputs
    }

    /// Gives up the task and keeps the references.
    pub fn into_outputs(self) -> R {
        self.outputs
    }

    /// Cancels it and the tasks that it spawned: a pending one never runs, a running one is stopped
    /// wherever it is, a finished one is left as it is. Reading its objects gives TASK_CANCELLED. A
    /// running actor call is only asked to stop (see [`Context::is_cancelled`](crate::Context::is_cancelled)).
    ///
    /// # Errors
    /// When the cluster could not be told.
    pub fn cancel(&self) -> Result<()> {
        self.cancel_with(false, true)
    }

    /// Cancels with a choice: `force` ends the actor that runs the call instead of asking it,
    /// `recursive` cancels the tasks that it spawned too.
    ///
    /// # Errors
    /// When the cluster could not be told.
    pub fn cancel_with(&self, force: bool, recursive: bool) -> Result<()> {
        self.task.cancel(force, recursive).map_err(Error::from_wire)
    }
}

impl<T: Value> Task<ObjectRef<T>> {
    /// The reference to what it will make.
    pub fn object(&self) -> ObjectRef<T> {
        self.outputs.clone()
    }

    /// Waits for the value and gives it.
    ///
    /// # Errors
    /// As [`ObjectRef::get`].
    pub fn get(&self) -> Result<T> {
        self.outputs.get()
    }
}

impl<R: Clone> Clone for Task<R> {
    fn clone(&self) -> Self {
        Task { task: Arc::clone(&self.task), outputs: self.outputs.clone() }
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.id())
    }
}
