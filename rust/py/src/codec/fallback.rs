//! msgspec's own decoders, for what no plan holds, and its complaints as our errors.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Format;

/// msgspec's decoders of one type.
pub(crate) struct Fallback {
    json: Py<PyAny>,
    msgpack: Py<PyAny>,
}

impl Fallback {
    pub(crate) fn new(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = type_.py();
        let json = py.import("msgspec.json")?.getattr("Decoder")?.call1((type_,))?.getattr("decode")?.unbind();
        let msgpack = py.import("msgspec.msgpack")?.getattr("Decoder")?.call1((type_,))?.getattr("decode")?.unbind();
        Ok(Self { json, msgpack })
    }

    pub(crate) fn decode<'py>(&self, py: Python<'py>, payload: &[u8], format: Format) -> PyResult<Bound<'py, PyAny>> {
        let decode = match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        };
        decode.bind(py).call1((PyBytes::new(py, payload),))
    }
}
