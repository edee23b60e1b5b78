//! Encode of message objects.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Format;

/// Appends the encoded payload (no frame header) of `message` to `out`. On an error `out` is as it was.
///
/// # Errors
/// `EncodeError` when the object or a value in it has no form in `format`.
pub(crate) fn encode(py: Python<'_>, message: &Bound<'_, PyAny>, format: Format, out: &mut Vec<u8>) -> PyResult<()> {
    let module = match format {
        Format::Json => "msgspec.json",
        Format::MessagePack => "msgspec.msgpack",
    };
    let encoded = py.import(module)?.call_method1("encode", (message,))?.cast_into::<PyBytes>()?;
    out.extend_from_slice(encoded.as_bytes());
    Ok(())
}
