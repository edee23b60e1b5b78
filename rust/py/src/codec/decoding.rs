//! `Decoder` for Python: the codec without a connection.

use std::cell::UnsafeCell;
use std::ptr;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::fallback::Hook;
use super::{WireFormat, decoder};

/// Decodes payloads into one type.
#[pyclass(frozen, generic, name = "Decoder", module = "websocket_utils._core")]
pub(super) struct PyDecoder {
    decoder: decoder::Decoder,
    format: WireFormat,
    #[pyo3(get, name = "type")]
    type_: Py<PyAny>,
}

impl PyDecoder {
    /// What it decodes, in any format.
    pub(super) const fn decoder(&self) -> &decoder::Decoder {
        &self.decoder
    }

    /// The type that it decodes into.
    pub(super) fn type_<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.type_.bind(py).clone()
    }

    /// Decodes out of any object with a buffer but `bytes`.
    #[cold]
    fn decode_buffer<'py>(&self, buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = buffer.py();
        let view = PyBuffer::<u8>::get(buffer)?;
        if !view.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous: pass a copy of it"));
        }
        // A view's owner may change its bytes while a default factory of the class runs: decode a copy.
        let payload = view.to_vec(py)?;
        self.decoder.decode(py, &payload, self.format)
    }
}

#[pymethods]
impl PyDecoder {
    #[new]
    #[pyo3(signature = (type_, /, *, format = "json", strict = true, dec_hook = None))]
    fn py_new(type_: Bound<'_, PyAny>, format: &str, strict: bool, dec_hook: Option<Py<PyAny>>) -> PyResult<Self> {
        let format = WireFormat::from_name(format)?;
        let decoder = match (strict, dec_hook) {
            (true, None) => decoder::Decoder::compile(&type_)?,
            (strict, hook) => decoder::Decoder::new(&type_, strict, &Hook::new(hook))?,
        };
        if format == WireFormat::Protobuf && !decoder.is_raw() {
            // What has no form is refused here, not with the first message.
            decoder.protobuf(type_.py())?;
        }
        Ok(Self { decoder, format, type_: type_.unbind() })
    }

    /// How payloads are decoded: "compiled", "msgspec" or "raw".
    #[getter]
    fn plan(&self) -> &'static str {
        // Nothing else stands behind Protocol Buffers.
        if self.format == WireFormat::Protobuf && !self.decoder.is_raw() { "compiled" } else { self.decoder.plan() }
    }
}

/// Gives the class its method `decode`. PyO3's own would take its arguments apart in 150 instructions, a tenth of a decode.
pub(super) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    struct Definition(UnsafeCell<ffi::PyMethodDef>);
    // SAFETY: nothing writes to a method's definition once it is made.
    unsafe impl Sync for Definition {}
    static DECODE: Definition = Definition(UnsafeCell::new(ffi::PyMethodDef {
        ml_name: c"decode".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: decode },
        ml_flags: ffi::METH_O,
        ml_doc: c"decode($self, buffer, /)\n--\n\nDecodes one payload out of any object with a buffer. Nothing of the buffer is kept.".as_ptr(),
    }));
    let class = module.py().get_type::<PyDecoder>();
    // SAFETY: the definition lives as long as the process. A method descriptor checks that it is called on an instance of
    // its class. The class is not in use yet.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), DECODE.0.get());
        let method = Bound::from_owned_ptr_or_err(module.py(), method)?;
        if ffi::PyDict_SetItemString((*class.as_type_ptr()).tp_dict, c"decode".as_ptr(), method.as_ptr()) < 0 {
            return Err(PyErr::fetch(module.py()));
        }
        ffi::PyType_Modified(class.as_type_ptr());
    }
    Ok(())
}

unsafe extern "C" fn decode(slf: *mut ffi::PyObject, buffer: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // A panic must not unwind into C.
    let decoded = std::panic::catch_unwind(|| {
        // SAFETY: the interpreter calls with the GIL held. Nothing is dropped under this token that PyO3 would have to count:
        // what does not end well is done again under one that it gives itself.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: the descriptor has checked the type; both references are borrowed from the caller for this call.
        let (decoder, buffer) =
            unsafe { (borrowed(py, &slf).cast_unchecked::<PyDecoder>().get(), borrowed(py, &buffer)) };
        let restore = |error: PyErr| {
            error.restore(py);
            ptr::null_mut()
        };
        let Ok(bytes) = buffer.cast_exact::<PyBytes>() else {
            return Python::attach(|_| decoder.decode_buffer(buffer).map_or_else(restore, Bound::into_ptr));
        };
        let (payload, format) = (bytes.as_bytes(), decoder.format);
        match decoder.decoder.decode_plain(py, payload, format) {
            Ok(Ok(message)) => message.into_ptr(),
            Ok(Err(stop)) => Python::attach(|_| {
                decoder.decoder.decode_rest(py, payload, format, stop).map_or_else(restore, Bound::into_ptr)
            }),
            Err(error) => restore(error),
        }
    });
    decoded.unwrap_or_else(|_| {
        Python::attach(|py| PyRuntimeError::new_err("internal error: a decode panicked").restore(py));
        ptr::null_mut()
    })
}

/// # Safety
/// `object` points at a live object for as long as the reference lives.
#[inline]
unsafe fn borrowed<'a, 'py>(py: Python<'py>, object: &'a *mut ffi::PyObject) -> &'a Bound<'py, PyAny> {
    // SAFETY: the caller's contract.
    unsafe { Bound::ref_from_ptr(py, object) }
}
