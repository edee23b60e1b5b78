//! `Encoder` for Python: the codec without a connection.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use super::{WireFormat, encode};

/// Encodes messages.
#[pyclass(frozen, name = "Encoder", module = "websocket_utils._core")]
pub(super) struct PyEncoder {
    format: WireFormat,
}

#[pymethods]
impl PyEncoder {
    #[new]
    #[pyo3(signature = (format = "json"))]
    fn py_new(format: &str) -> PyResult<Self> {
        Ok(Self { format: WireFormat::from_name(format)? })
    }

    /// Encodes a message, or any object that msgspec can encode.
    #[pyo3(signature = (message, /))]
    fn encode<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        encode::with_buffer(|out| {
            encode::encode(message.py(), message, self.format, out)?;
            Ok(PyBytes::new(message.py(), out))
        })
    }

    /// Encodes into `buffer` from `offset` on and cuts or grows it to end there. Returns the number of bytes written.
    #[pyo3(signature = (message, buffer, offset = 0, /))]
    fn encode_into(
        &self,
        message: &Bound<'_, PyAny>,
        buffer: &Bound<'_, PyByteArray>,
        offset: usize,
    ) -> PyResult<usize> {
        if offset > buffer.len() {
            let size = buffer.len();
            return Err(PyValueError::new_err(format!("offset {offset} lies behind the buffer's end ({size} bytes)")));
        }
        let mut out = Vec::with_capacity(256);
        encode::encode(message.py(), message, self.format, &mut out)?;
        buffer.resize(offset + out.len())?;
        // SAFETY: the GIL is held and no Python code runs until the bytes are written.
        unsafe { buffer.as_bytes_mut()[offset..].copy_from_slice(&out) };
        Ok(out.len())
    }
}
