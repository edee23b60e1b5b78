//! Values that are not what the wire has.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use websocket_utils_core::codec::Refused;
use websocket_utils_core::codec::protobuf::Convert;

use super::super::object::{Objects, Value};

mod errors {
    pyo3::import_exception!(msgspec, ValidationError);
}

/// What a value becomes.
pub(in super::super) enum Conversion {
    /// What msgspec makes of it for this type, or its complaint.
    Type(Py<PyAny>),
    /// Itself, once its `__post_init__` has run.
    PostInit,
}

impl Conversion {
    fn run<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = value.py();
        match self {
            Self::Type(type_) => CONVERT.import(py, "msgspec", "convert")?.call1((value, type_)),
            Self::PostInit => match value.call_method0(intern!(py, "__post_init__")) {
                Ok(_) => Ok(value),
                // As msgspec has it: these two say that the values are wrong.
                Err(error) if error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyTypeError>(py) => {
                    let wrapped = errors::ValidationError::new_err(error.value(py).to_string());
                    wrapped.set_cause(py, Some(error));
                    Err(wrapped)
                }
                Err(error) => Err(error),
            },
        }
    }
}

impl Convert<'_> for Objects<'_, '_> {
    fn convert(&mut self, conversion: usize, value: Value) -> Result<Value, Refused> {
        let conversion = self.model.conversions.get(conversion).ok_or(Refused)?;
        // SAFETY: the GIL is held, and the reference is given away.
        let value = unsafe { Bound::from_owned_ptr(self.py, value.into_ptr()) };
        match conversion.run(value) {
            // SAFETY: the GIL is held, and the reference is given away.
            Ok(value) => unsafe { Value::own(value.into_ptr()) },
            Err(error) => Err(self.refuse(error)),
        }
    }
}
