//! `Decoder` and `Encoder` for Python: the codec without a connection.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use super::{Format, decoder, encode};

fn format_named(name: &str) -> PyResult<Format> {
    match name {
        "json" => Ok(Format::Json),
        "msgpack" => Ok(Format::MessagePack),
        _ => Err(PyValueError::new_err(format!("unknown format {name:?}: expected \"json\" or \"msgpack\""))),
    }
}

/// Decodes payloads into one type.
#[pyclass(frozen, name = "Decoder", module = "websocket_utils._core")]
pub(super) struct PyDecoder {
    decoder: decoder::Decoder,
    format: Format,
    #[pyo3(get, name = "type")]
    type_: Py<PyAny>,
}

#[pymethods]
impl PyDecoder {
    #[new]
    #[pyo3(signature = (type_, /, *, format = "json"))]
    fn py_new(type_: Bound<'_, PyAny>, format: &str) -> PyResult<Self> {
        let format = format_named(format)?;
        Ok(Self { decoder: decoder::Decoder::compile(&type_)?, format, type_: type_.unbind() })
    }

    /// How payloads are decoded: "compiled", "msgspec" or "raw".
    #[getter]
    fn plan(&self) -> &'static str {
        self.decoder.plan()
    }

    /// Decodes one payload out of any object with a buffer. Nothing of the buffer is kept.
    #[pyo3(signature = (buffer, /))]
    fn decode<'py>(&self, buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = buffer.py();
        let is_text = self.format == Format::Json;
        if let Ok(bytes) = buffer.cast_exact::<PyBytes>() {
            return self.decoder.decode(py, bytes.as_bytes(), is_text);
        }
        let view = PyBuffer::<u8>::get(buffer)?;
        if !view.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous: pass a copy of it"));
        }
        // A view's owner may change its bytes while a default factory of the class runs: decode a copy.
        let payload = view.to_vec(py)?;
        self.decoder.decode(py, &payload, is_text)
    }
}

/// Encodes messages.
#[pyclass(frozen, name = "Encoder", module = "websocket_utils._core")]
pub(super) struct PyEncoder {
    format: Format,
}

#[pymethods]
impl PyEncoder {
    #[new]
    #[pyo3(signature = (format = "json"))]
    fn py_new(format: &str) -> PyResult<Self> {
        Ok(Self { format: format_named(format)? })
    }

    /// Encodes a message, or any object that msgspec can encode.
    #[pyo3(signature = (message, /))]
    fn encode<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(256);
        encode::encode(message.py(), message, self.format, &mut out)?;
        Ok(PyBytes::new(message.py(), &out))
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
