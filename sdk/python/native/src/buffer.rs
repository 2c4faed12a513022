//! Python's buffers: what it gives is read where it lies, and what it gets lies where the engine has it.
//!
//! The limited API has buffers from 3.11 on only. Their layout, their two functions and their slots are the
//! same in every CPython from 3.10, so what the bindings leave out for 3.10 is declared here.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use engine_core::Place;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// `Py_buffer` of CPython.
#[repr(C)]
struct RawBuffer {
    buf: *mut c_void,
    obj: *mut ffi::PyObject,
    len: ffi::Py_ssize_t,
    itemsize: ffi::Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut ffi::Py_ssize_t,
    strides: *mut ffi::Py_ssize_t,
    suboffsets: *mut ffi::Py_ssize_t,
    internal: *mut c_void,
}

const PYBUF_SIMPLE: c_int = 0;

// SAFETY: as CPython declares them, in every version from 3.10 on.
unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut ffi::PyObject, view: *mut RawBuffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut RawBuffer);
    fn PyBuffer_FillInfo(
        view: *mut RawBuffer,
        object: *mut ffi::PyObject,
        buf: *mut c_void,
        len: ffi::Py_ssize_t,
        readonly: c_int,
        flags: c_int,
    ) -> c_int;
}

/// The bytes of a Python object, which stay where they are as long as this lives.
pub(crate) struct Borrowed<'py> {
    // CPython keeps pointers into it: it must not move.
    view: Box<RawBuffer>,
    _py: PhantomData<Python<'py>>,
}

impl<'py> Borrowed<'py> {
    /// BufferError, or TypeError when it has none, as Python says.
    pub(crate) fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(RawBuffer {
            buf: ptr::null_mut(),
            obj: ptr::null_mut(),
            len: 0,
            itemsize: 0,
            readonly: 0,
            ndim: 0,
            format: ptr::null_mut(),
            shape: ptr::null_mut(),
            strides: ptr::null_mut(),
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
        });
        // SAFETY: the object lives, the view is one to be filled, and the interpreter is held.
        if unsafe { PyObject_GetBuffer(object.as_ptr(), &raw mut *view, PYBUF_SIMPLE) } != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self { view, _py: PhantomData })
    }

    /// The bytes. Python code on another thread may write to them while they are read, as it may under
    /// every function that lets it run: it then finds in the object what it made of it.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match usize::try_from(self.view.len) {
            // SAFETY: a simple buffer is so many bytes from there on, as long as it is not released.
            Ok(length) if length > 0 => unsafe {
                std::slice::from_raw_parts(self.view.buf.cast::<u8>(), length)
            },
            _ => &[],
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        // SAFETY: it was filled, and is released once. The lifetime says that the interpreter is held.
        unsafe { PyBuffer_Release(&raw mut *self.view) }
    }
}

/// The object behind a memoryview that Python gets: it keeps the bytes where they are.
#[repr(C)]
struct Exporter {
    base: ffi::PyObject,
    place: *mut Place,
}

/// A read-only memoryview of the bytes of a place, none of which are copied; none when they are not in
/// memory. The place is kept as long as anything sees them.
pub(crate) fn view<'py>(py: Python<'py>, place: &Place) -> PyResult<Option<Bound<'py, PyAny>>> {
    if engine_objects::slice(place).is_none() {
        return Ok(None);
    }
    let class = exporter_class(py)?;
    // SAFETY: the class was made for objects of the size of an `Exporter`; the memory that comes is one of
    // them, with its base initialised and the rest zero, and is given to nobody before it is whole. The
    // references that come are owned.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_type_ptr(), 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        (*object.as_ptr().cast::<Exporter>()).place = Box::into_raw(Box::new(place.clone()));
        let view = ffi::PyMemoryView_FromObject(object.as_ptr());
        Bound::from_owned_ptr_or_err(py, view).map(Some)
    }
}

fn exporter_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
        let mut slots = [
            slot(ffi::Py_bf_getbuffer, get_buffer as *mut c_void),
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            slot(0, ptr::null_mut()),
        ];
        let size = c_int::try_from(size_of::<Exporter>()).unwrap_or(c_int::MAX);
        let mut spec = ffi::PyType_Spec {
            name: c"engine._native.Bytes".as_ptr(),
            basicsize: size,
            itemsize: 0,
            flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).unwrap_or_default(),
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec is whole, its slots end with a zero, and CPython copies what it keeps; the name is
        // static. The functions are of the types of their slots.
        let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }?;
        Ok::<_, PyErr>(class.cast_into::<PyType>()?.unbind())
    })?;
    Ok(class.bind(py))
}

/// `bf_getbuffer` of an [`Exporter`].
unsafe extern "C" fn get_buffer(object: *mut ffi::PyObject, view: *mut RawBuffer, flags: c_int) -> c_int {
    // SAFETY: CPython calls it with an object of the class and with a view to be filled. The place is boxed,
    // or null in an object that Python has made of the class itself. What is filled in keeps the object,
    // and so the bytes.
    unsafe {
        let Some(place) = (*object.cast::<Exporter>()).place.as_ref() else {
            (*view).obj = ptr::null_mut();
            ffi::PyErr_SetString(ffi::PyExc_BufferError, c"it holds no bytes".as_ptr());
            return -1;
        };
        let bytes = engine_objects::slice(place).unwrap_or_default();
        let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or_default();
        PyBuffer_FillInfo(view, object, bytes.as_ptr().cast_mut().cast(), length, 1, flags)
    }
}

/// `tp_dealloc` of an [`Exporter`].
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: nobody sees the object any more. Its place was boxed, or is still null when there was no
    // memory for the view. An object of a heap type owns a reference to it, which goes last.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let place = (*object.cast::<Exporter>()).place;
        if !place.is_null() {
            drop(Box::from_raw(place));
        }
        let free = ffi::PyType_GetSlot(class, ffi::Py_tp_free);
        if !free.is_null() {
            let free = std::mem::transmute::<*mut c_void, ffi::freefunc>(free);
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}
