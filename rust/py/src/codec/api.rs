//! `Decoder` for Python: the codec without a connection.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Format, decoder};

pub(super) fn format_named(name: &str) -> PyResult<Format> {
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
