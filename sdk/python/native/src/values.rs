//! Values between Python and the node: `(codec, data, handles)`.

use std::sync::Arc;

use engine_core::{Argument, Codec, Handle, Value};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence, PyTuple};

use crate::buffer::{Borrowed, view};
use crate::client::place_of;
use crate::handles::{Actor, Object, PlacementGroup};
use crate::shared::{LONG_COPY_BYTES, Shared};

fn codec_from(number: u32) -> PyResult<Codec> {
    Ok(match number {
        0 => Codec::Raw,
        1 => Codec::Msgpack,
        2 => Codec::ArrowIpc,
        3 => Codec::Python,
        other => {
            return Err(PyValueError::new_err(format!("{other} is no codec: use engine._backend.Codec")));
        }
    })
}

fn number_of(codec: Codec) -> u32 {
    match codec {
        Codec::Raw => 0,
        Codec::Msgpack => 1,
        Codec::ArrowIpc => 2,
        Codec::Python => 3,
    }
}

/// A value that Python gives: its bytes are copied once, to where they stay.
pub(crate) fn value_from_python(shared: &Arc<Shared>, given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = given.py();
    let (codec, data, handles) = given.extract::<(u32, Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    let codec = codec_from(codec)?;
    let handles = handles_from_python(&handles)?;
    let buffers = match data.cast::<PyList>() {
        Ok(list) => list.iter().map(|part| Borrowed::of(&part)).collect::<PyResult<Vec<_>>>()?,
        Err(_) => vec![Borrowed::of(&data)?],
    };
    let parts: Vec<&[u8]> = buffers.iter().map(Borrowed::as_slice).collect();
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let placed = match size > LONG_COPY_BYTES {
        true => py.detach(|| shared.client.place(&parts)),
        false => shared.client.place(&parts),
    };
    let place = placed.map_err(|error| shared.raised(py, &error))?;
    drop(buffers);
    shared.block(py, shared.client.value(codec, size as u64, place, &handles))
}

fn handles_from_python(given: &Bound<'_, PyAny>) -> PyResult<Vec<Handle>> {
    let mut handles = Vec::new();
    for item in given.try_iter()? {
        handles.push(handle_of(&item?)?);
    }
    Ok(handles)
}

fn handle_of(item: &Bound<'_, PyAny>) -> PyResult<Handle> {
    if let Ok(object) = item.cast::<Object>() {
        return Ok(object.get().held.handle());
    }
    if let Ok(actor) = item.cast::<Actor>() {
        return Ok(Handle::Actor(actor.get().actor.actor()));
    }
    if let Ok(group) = item.cast::<PlacementGroup>() {
        return Ok(group.get().held.handle());
    }
    Err(PyTypeError::new_err(format!(
        "{} is no handle of this session that can travel in a value: objects, actors and placement groups can",
        item.get_type()
    )))
}

/// Arguments of a call: values and objects.
pub(crate) fn arguments_from_python(
    shared: &Arc<Shared>,
    given: &Bound<'_, PySequence>,
) -> PyResult<Vec<Argument>> {
    let mut arguments = Vec::with_capacity(given.len()?);
    for item in given.try_iter()? {
        let item = item?;
        arguments.push(match item.cast::<Object>() {
            Ok(object) => Argument::Object(object.get().id),
            Err(_) => Argument::Value(value_from_python(shared, &item)?),
        });
    }
    Ok(arguments)
}

/// A value that Python gets: small ones as bytes, others as a view of where they lie.
pub(crate) fn value_to_python<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    value: &Value,
) -> PyResult<Bound<'py, PyTuple>> {
    let place = place_of(value);
    let bytes = engine_objects::slice(place).unwrap_or_default();
    let is_inline = place.residence() == engine_core::Residence::Inline;
    let data = match is_inline && bytes.len() <= LONG_COPY_BYTES {
        true => None,
        false => view(py, place)?,
    };
    let data = data.unwrap_or_else(|| PyBytes::new(py, bytes).into_any());
    let handles = PyList::empty(py);
    for handle in value.handles.iter() {
        handles.append(handle_to_python(py, shared, *handle)?)?;
    }
    PyTuple::new(py, [number_of(value.codec).into_pyobject(py)?.into_any(), data, handles.into_any()])
}

fn handle_to_python(py: Python<'_>, shared: &Arc<Shared>, handle: Handle) -> PyResult<Py<PyAny>> {
    let client = &shared.client;
    Ok(match handle {
        Handle::Object(id) => Object::new(shared, client.hold(handle), id).into_py(py)?,
        Handle::Actor(id) => {
            let actor = Arc::new(client.hold_actor(id));
            Py::new(py, Actor { shared: shared.clone(), actor })?.into_any()
        }
        Handle::PlacementGroup(id) => {
            let held = Arc::new(client.hold(handle));
            Py::new(py, PlacementGroup { shared: shared.clone(), held, id })?.into_any()
        }
        Handle::Stream(_) => return Err(PyValueError::new_err("a value came with a stream inside")),
    })
}
