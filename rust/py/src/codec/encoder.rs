//! `Encoder` for Python: the codec without a connection.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use pyo3::{PyTraverseError, PyVisit};

use super::WireFormat;
use super::encode::{Foreign, encode_with};

/// Encodes messages.
#[pyclass(frozen, name = "Encoder", module = "websocket_utils._core")]
pub(super) struct PyEncoder {
    format: WireFormat,
    foreign: Foreign,
}

impl PyEncoder {
    #[inline]
    fn encode<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        with_scratch(|scratch| {
            encode_with(message, self.format, &self.foreign, scratch)?;
            let size = scratch.len() as ffi::Py_ssize_t;
            // SAFETY: the GIL is held, and the bytes are copied; null comes with Python's exception.
            unsafe {
                let bytes = ffi::PyBytes_FromStringAndSize(scratch.as_ptr().cast(), size);
                Bound::from_owned_ptr_or_err(message.py(), bytes)
            }
        })
    }

    fn encode_into(
        &self,
        message: &Bound<'_, PyAny>,
        buffer: &Bound<'_, PyAny>,
        offset: ffi::Py_ssize_t,
    ) -> PyResult<usize> {
        with_scratch(|scratch| {
            encode_with(message, self.format, &self.foreign, scratch)?;
            match buffer.cast::<PyByteArray>() {
                Ok(bytes) => write_into_bytearray(bytes, offset, scratch)?,
                Err(_) => write_into_buffer(buffer, offset, scratch)?,
            }
            Ok(scratch.len())
        })
    }
}

#[pymethods]
impl PyEncoder {
    #[new]
    #[pyo3(signature = (format = "json", *, enc_hook = None))]
    fn py_new(py: Python<'_>, format: &str, enc_hook: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        if enc_hook.as_ref().is_some_and(|hook| !hook.is_callable()) {
            return Err(PyTypeError::new_err("enc_hook must be callable"));
        }
        Ok(Self { format: WireFormat::from_name(format)?, foreign: Foreign::new(py, enc_hook.map(Bound::unbind))? })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.foreign.traverse(&visit)
    }
}

/// Where to write in a buffer of `size` bytes.
fn place(offset: ffi::Py_ssize_t, size: usize) -> PyResult<usize> {
    if offset == -1 {
        return Ok(size);
    }
    let place = usize::try_from(offset).map_err(|_| PyValueError::new_err("offset must be -1 or more"))?;
    if place > size {
        return Err(PyValueError::new_err(format!("offset {offset} lies behind the buffer's end ({size} bytes)")));
    }
    Ok(place)
}

fn write_into_bytearray(buffer: &Bound<'_, PyByteArray>, offset: ffi::Py_ssize_t, bytes: &[u8]) -> PyResult<()> {
    let place = place(offset, buffer.len())?;
    let end = place + bytes.len();
    if end != buffer.len() {
        buffer.resize(end)?;
    }
    // SAFETY: the GIL is held and no Python code runs until the bytes are written.
    unsafe { buffer.as_bytes_mut()[place..].copy_from_slice(bytes) };
    Ok(())
}

fn write_into_buffer(buffer: &Bound<'_, PyAny>, offset: ffi::Py_ssize_t, bytes: &[u8]) -> PyResult<()> {
    let py = buffer.py();
    let mut view = ffi::Py_buffer::new();
    // SAFETY: the object is alive; the request is for plain bytes that may be written, in one piece. On success the view
    // says where they are, and they stay until it is released; no Python code runs until they are written.
    unsafe {
        if ffi::PyObject_GetBuffer(buffer.as_ptr(), &raw mut view, ffi::PyBUF_WRITABLE) < 0 {
            return Err(PyErr::fetch(py));
        }
        let size = view.len as usize;
        let written = place(offset, size).and_then(|place| {
            let room = size - place;
            if room < bytes.len() {
                let needed = bytes.len();
                return Err(PyValueError::new_err(format!("the message needs {needed} bytes, the buffer has {room}")));
            }
            view.buf.cast::<u8>().add(place).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Ok(())
        });
        ffi::PyBuffer_Release(&raw mut view);
        written
    }
}

/// Bytes of the scratch that are kept for the next message.
const KEPT_BYTES: usize = 64 * 1024;

struct Scratch(UnsafeCell<Vec<u8>>);

// SAFETY: `with_scratch` takes the vector out and puts it back, each in one step with the GIL held.
unsafe impl Sync for Scratch {}

/// Lends a vector that is empty and has room. Whoever asks for it meanwhile (a hook that encodes) has one of its own.
///
/// The caller holds the GIL.
#[inline]
fn with_scratch<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    static SCRATCH: Scratch = Scratch(UnsafeCell::new(Vec::new()));
    // SAFETY: the GIL is held, and nothing else runs before the vector is ours.
    let mut scratch = unsafe { std::mem::take(&mut *SCRATCH.0.get()) };
    let result = use_it(&mut scratch);
    if scratch.capacity() <= KEPT_BYTES {
        scratch.clear();
        // SAFETY: as above. What is dropped is memory alone.
        unsafe { *SCRATCH.0.get() = scratch };
    }
    result
}

const ENCODE_DOC: &CStr = c"encode($self, message, /)
--

Encodes a message, or any object that msgspec can encode.";

const ENCODE_INTO_DOC: &CStr = c"encode_into($self, message, buffer, offset=0, /)
--

Encodes into a writable buffer from an offset on (-1: from its end on) and returns the number of bytes written.

A bytearray is cut or grown to end behind them. Any other buffer keeps its size.";

/// Adds the class to `module`, with its methods put in by hand: PyO3's way of taking arguments costs as much as half a
/// message.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let class = py.get_type::<PyEncoder>();
    let encode = ffi::PyMethodDefPointer { PyCFunction: encode };
    let encode_into = ffi::PyMethodDefPointer { PyCFunctionFast: encode_into };
    for (name, method, flags, doc) in [
        (c"encode", encode, ffi::METH_O, ENCODE_DOC),
        (c"encode_into", encode_into, ffi::METH_FASTCALL, ENCODE_INTO_DOC),
    ] {
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: method,
            ml_flags: flags,
            ml_doc: doc.as_ptr(),
        }));
        // SAFETY: the GIL is held, the function is what the flags say, and the definition lives as long as the process.
        // The method is made before the class can be seen by Python code.
        let method =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))? };
        class.setattr(name, method)?;
    }
    module.add("Encoder", class)
}

unsafe extern "C" fn encode(slf: *mut ffi::PyObject, message: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter's call of a method of `Encoder`; the argument is borrowed from the caller.
    unsafe { called(slf, |encoder, py| encoder.encode(&Bound::from_borrowed_ptr(py, message))) }
}

unsafe extern "C" fn encode_into(
    slf: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter's call of a method of `Encoder`; it passes as many arguments as it says, which are borrowed
    // from the caller.
    unsafe {
        called(slf, |encoder, py| {
            if !matches!(count, 2 | 3) {
                let text = format!("encode_into() takes 2 or 3 positional arguments ({count} given)");
                return Err(PyTypeError::new_err(text));
            }
            let argument = |index| Bound::from_borrowed_ptr(py, *arguments.add(index));
            let offset = if count == 3 { argument(2).extract()? } else { 0 };
            let written = encoder.encode_into(&argument(0), &argument(1), offset)?;
            Ok(written.into_pyobject(py)?.into_any())
        })
    }
}

/// What every method does around its work.
///
/// # Safety
/// The interpreter calls a method of `Encoder` with `slf`: it holds the GIL, and has checked the object.
#[inline]
unsafe fn called<'py>(
    slf: *mut ffi::PyObject,
    work: impl FnOnce(&PyEncoder, Python<'py>) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    let work = || {
        // SAFETY: the GIL is held. What needs PyO3 to know of that (`Python::attach`) says so itself.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: the caller's contract; the class can't be subclassed, and the object is borrowed for this call.
        let slf = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<PyEncoder>() };
        work(slf.get(), py).map_or_else(raised, Bound::into_ptr)
    };
    // A panic must not unwind into C: it becomes an exception like PyO3's own.
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| raised(PyRuntimeError::new_err("internal error: an encoder panicked")))
}

#[cold]
fn raised(error: PyErr) -> *mut ffi::PyObject {
    Python::attach(|py| error.restore(py));
    std::ptr::null_mut()
}
