//! Instances of the package's own message classes, out of values that no plan has read.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use websocket_utils_core::codec::Text;

use super::class::Class;
use super::intern;

/// A message class with `N` fields.
pub(crate) struct OwnClass<const N: usize>(Class);

impl<const N: usize> OwnClass<N> {
    /// The class of this name in `websocket_utils.messages`, whose fields are these, in whatever order.
    ///
    /// # Errors
    /// `TypeError` if it has others, or is not laid out as message classes are.
    pub(crate) fn find(py: Python<'_>, name: &str, fields: [&str; N]) -> PyResult<Self> {
        let class = py.import("websocket_utils.messages")?.getattr(name)?.cast_into::<PyType>()?;
        let has_fields = class.getattr("__struct_fields__")?.len()? == N;
        let names = fields.map(|field| PyString::new(py, field));
        match Class::slotted(&class, &names, Vec::new(), true)? {
            Some(class) if has_fields && !class.needs_work(N) => Ok(Self(class)),
            _ => Err(PyTypeError::new_err(format!(
                "{name} has not the fields {}, or is not gc=False",
                fields.join(", ")
            ))),
        }
    }

    /// A new instance, its fields in the order of [`OwnClass::find`].
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub(crate) fn instance<'py>(&self, py: Python<'py>, values: [Bound<'py, PyAny>; N]) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: what comes back is a new reference with no field filled, or null with an exception set.
        let object = unsafe { Bound::from_owned_ptr_or_err(py, self.0.allocate()) }?;
        for (offset, value) in self.0.offsets().into_iter().flatten().zip(values) {
            // SAFETY: the offset is that of a slot of the instance's class, empty until now; it takes over the reference.
            unsafe { *object.as_ptr().byte_add(*offset).cast() = value.into_ptr() };
        }
        Ok(object)
    }
}

/// A text that was proven to be ASCII, shared if it is a short one.
///
/// # Errors
/// `ValueError` if it was not, and `MemoryError`.
#[inline]
pub(crate) fn ascii<'py>(py: Python<'py>, text: Text<'_>) -> PyResult<Bound<'py, PyAny>> {
    if !text.is_ascii {
        return Err(pyo3::exceptions::PyValueError::new_err("the text is not ASCII"));
    }
    // SAFETY: the GIL is held, the text is ASCII, and what comes back is a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, intern::ascii(text).map_or(ptr::null_mut(), ptr::NonNull::as_ptr)) }
}

/// An integer.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub(crate) fn unsigned(py: Python<'_>, value: u64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the GIL is held; what comes back is a new reference or null with an exception set. The signed constructor knows
    // the small integers that are shared.
    unsafe {
        let object = match i64::try_from(value) {
            Ok(value) => ffi::PyLong_FromLongLong(value),
            Err(_) => ffi::PyLong_FromUnsignedLongLong(value),
        };
        Bound::from_owned_ptr_or_err(py, object)
    }
}
