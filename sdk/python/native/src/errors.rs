//! The engine's errors as Python sees them: `engine._backend.CallFailed`.

use std::sync::Arc;

use engine_core::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::shared::Shared;
use crate::values::value_to_python;

/// The exception for an error. `shared`: whose handles those in its payload become.
pub(crate) fn raised(py: Python<'_>, shared: Option<&Arc<Shared>>, error: &Error) -> PyErr {
    call_failed(py, shared, error)
        .unwrap_or_else(|unraisable| PyRuntimeError::new_err(format!("{error} (and {unraisable})")))
}

fn call_failed(py: Python<'_>, shared: Option<&Arc<Shared>>, error: &Error) -> PyResult<PyErr> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "engine._backend", "CallFailed")?;
    let more = PyDict::new(py);
    more.set_item("kind", error.kind())?;
    let step = |frame: &engine_core::error::Frame| {
        (frame.task.clone(), frame.function.clone(), frame.node.clone(), frame.attempt)
    };
    more.set_item("path", error.path().iter().map(step).collect::<Vec<_>>())?;
    more.set_item("backtrace", error.backtrace())?;
    if let (Some(payload), Some(shared)) = (error.payload(), shared) {
        more.set_item("payload", value_to_python(py, shared, payload)?)?;
    }
    let raised = class.call((error.code().as_str(), error.message()), Some(&more))?;
    Ok(PyErr::from_value(raised))
}
