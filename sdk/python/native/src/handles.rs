//! Handles as Python holds them: dropping the last reference gives each back.

use std::sync::Arc;

use engine_core::node::Waitable;
use engine_core::{Handle, ObjectId, TaskId};
use engine_runtime::host::PlacementGroupId;
use pyo3::prelude::*;
use pyo3::types::PySequence;

use crate::client::{ActorRef, Call, Held, ManyHeld};
use crate::options::call_options;
use crate::shared::{Shared, timeout};
use crate::values::arguments_from_python;

/// A reference to an immutable object that exists or will.
#[pyclass(frozen, module = "engine._native", weakref)]
pub(crate) struct Object {
    pub(crate) shared: Arc<Shared>,
    pub(crate) held: Held,
    pub(crate) id: ObjectId,
}

impl Object {
    pub(crate) fn new(shared: &Arc<Shared>, held: Held, id: ObjectId) -> Self {
        Self { shared: shared.clone(), held, id }
    }

    pub(crate) fn of(shared: &Arc<Shared>, held: Held) -> PyResult<Self> {
        let id = held.object().ok_or_else(|| {
            pyo3::exceptions::PyRuntimeError::new_err("the engine gave a handle that is no object's")
        })?;
        Ok(Self::new(shared, held, id))
    }

    pub(crate) fn into_py(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, self)?.into_any())
    }
}

#[pymethods]
impl Object {
    #[classattr]
    fn kind() -> &'static str {
        "object"
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn is_ready(&self, py: Python<'_>) -> PyResult<bool> {
        self.shared.ask(py, self.shared.client.is_ready(Waitable::Object(self.id)))
    }
}

/// A spawned task or actor call.
#[pyclass(frozen, module = "engine._native", weakref)]
pub(crate) struct Task {
    pub(crate) shared: Arc<Shared>,
    pub(crate) task: TaskId,
    /// How many objects it makes, and its own handles to them, until Python has asked for some.
    count: u32,
    outputs: parking_lot::Mutex<ManyHeld>,
    pub(crate) stream: Option<Held>,
}

impl Task {
    pub(crate) fn new(shared: &Arc<Shared>, call: Call) -> Self {
        Self {
            shared: shared.clone(),
            task: call.task,
            count: u32::try_from(call.outputs.len()).unwrap_or(u32::MAX),
            outputs: parking_lot::Mutex::new(call.outputs),
            stream: call.stream,
        }
    }
}

#[pymethods]
impl Task {
    #[classattr]
    fn kind() -> &'static str {
        "task"
    }

    fn id(&self) -> String {
        self.task.to_string()
    }

    /// The objects it will make, in order; empty for a streaming one. They live as long as what this gives
    /// does: asked again, it gives what is still held elsewhere.
    fn outputs(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let mut outputs = self.outputs.lock().take();
        if outputs.is_empty() {
            let hold = |index| self.shared.client.hold(Handle::Object(self.task.output(index)));
            outputs = (0..self.count).map(hold).collect();
        }
        outputs.into_iter().map(|held| Object::of(&self.shared, held)?.into_py(py)).collect()
    }

    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        let timeout = self::timeout(timeout)?;
        let next = self.shared.block(py, self.shared.client.next(self.task, timeout))?;
        next.map(|held| Object::of(&self.shared, held)?.into_py(py)).transpose()
    }

    fn cancel(&self, py: Python<'_>, force: bool, recursive: bool) -> PyResult<()> {
        self.shared.ask(py, self.shared.client.cancel(self.task, force, recursive))
    }
}

/// An actor, and the queue of the calls made through this handle.
#[pyclass(frozen, module = "engine._native", weakref)]
pub(crate) struct Actor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) actor: Arc<ActorRef>,
}

#[pymethods]
impl Actor {
    #[classattr]
    fn kind() -> &'static str {
        "actor"
    }

    fn id(&self) -> String {
        self.actor.actor().to_string()
    }

    fn call(
        &self,
        py: Python<'_>,
        method: String,
        arguments: &Bound<'_, PySequence>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Task> {
        let options = call_options(options)?;
        let arguments = arguments_from_python(&self.shared, arguments)?;
        let call = self.shared.client.call_actor(&self.actor, method, arguments, options);
        Ok(Task::new(&self.shared, self.shared.ask(py, call)?))
    }

    fn kill(&self, py: Python<'_>, restart: bool) -> PyResult<()> {
        self.shared.ask(py, self.shared.client.kill_actor(&self.actor, restart))
    }
}

/// Resources reserved together.
#[pyclass(frozen, module = "engine._native", weakref)]
pub(crate) struct PlacementGroup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) held: Arc<Held>,
    pub(crate) id: PlacementGroupId,
}

#[pymethods]
impl PlacementGroup {
    #[classattr]
    fn kind() -> &'static str {
        "placement-group"
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn ready(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let ready = self.shared.ask(py, self.shared.client.group_ready(self.id))?;
        Object::of(&self.shared, ready)?.into_py(py)
    }

    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.ask(py, self.shared.client.remove_group(self.id))
    }
}
