//! `Decoder` for Python: the codec without a connection.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
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

    fn decode_buffer<'py>(&self, buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = buffer.py();
        if let Ok(bytes) = buffer.cast_exact::<PyBytes>() {
            return self.decoder.decode(py, bytes.as_bytes(), self.format);
        }
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

    /// Decodes one payload out of any object with a buffer. Nothing of the buffer is kept.
    #[pyo3(signature = (buffer, /))]
    fn decode<'py>(&self, buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.decode_buffer(buffer)
    }
}
