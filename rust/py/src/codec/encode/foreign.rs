//! What is left to others: to msgspec, and to a hook of the user.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::super::Format;

/// msgspec's encoders with one hook, or none.
pub(in super::super) struct Foreign {
    json: Py<PyAny>,
    msgpack: Py<PyAny>,
    hook: Option<Py<PyAny>>,
    /// `msgspec.UNSET`, which msgspec's module keeps.
    pub(super) unset: *mut ffi::PyObject,
    /// `"_value_"`, which the interpreter keeps.
    pub(super) value_name: *mut ffi::PyObject,
}

// SAFETY: both pointers are to objects that are never freed and are used with the GIL held alone.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl Foreign {
    pub(in super::super) fn new(py: Python<'_>, hook: Option<Py<PyAny>>) -> PyResult<Self> {
        static UNSET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let options = PyDict::new(py);
        options.set_item("enc_hook", &hook)?;
        let encode = |module| {
            py.import(module)?.getattr("Encoder")?.call((), Some(&options))?.getattr("encode").map(Bound::unbind)
        };
        let unset = UNSET.import(py, "msgspec", "UNSET")?.as_ptr();
        let value_name = intern!(py, "_value_").as_ptr();
        Ok(Self { json: encode("msgspec.json")?, msgpack: encode("msgspec.msgpack")?, hook, unset, value_name })
    }

    /// Those without a hook, made once.
    #[inline]
    pub(super) fn plain(py: Python<'_>) -> PyResult<&'static Self> {
        static PLAIN: PyOnceLock<Foreign> = PyOnceLock::new();
        match PLAIN.get(py) {
            Some(plain) => Ok(plain),
            None => PLAIN.get_or_try_init(py, || Self::new(py, None)),
        }
    }

    #[inline]
    pub(super) fn hook(&self) -> Option<*mut ffi::PyObject> {
        self.hook.as_ref().map(Py::as_ptr)
    }

    /// What msgspec makes of a value.
    pub(super) fn encode<'py>(&self, value: &Bound<'py, PyAny>, format: Format) -> PyResult<Bound<'py, PyBytes>> {
        let encode = match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        };
        Ok(encode.bind(value.py()).call1((value,))?.cast_into::<PyBytes>()?)
    }

    pub(in super::super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.json)?;
        visit.call(&self.msgpack)?;
        visit.call(&self.hook)
    }
}
