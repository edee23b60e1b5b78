//! Messages as columns: a value of Rust's own for each, no Python object for any.

mod arrow;
mod batch;
mod column;
mod layout;
mod reader;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::WireFormat;
pub(crate) use batch::Columns;
pub(crate) use reader::Reader;

/// Rows that room is made for before they are there: what an iterable says about its length need not be true.
const MAX_RESERVED: usize = 1 << 16;

/// Decodes payloads of messages of one class into columns.
#[pyfunction]
#[pyo3(signature = (type_, frames, /, *, format = "json", strict = true))]
fn decode_columns(
    type_: &Bound<'_, PyAny>,
    frames: &Bound<'_, PyAny>,
    format: &str,
    strict: bool,
) -> PyResult<Columns> {
    let py = type_.py();
    let format = WireFormat::from_name(format)?;
    let mut reader = Reader::new(type_, strict)?;
    reader.reserve(frames.len().unwrap_or(0).min(MAX_RESERVED));
    for (index, frame) in frames.try_iter()?.enumerate() {
        let frame = frame?;
        let read = match frame.cast_exact::<PyBytes>() {
            Ok(bytes) => reader.read(py, bytes.as_bytes(), format),
            Err(_) => reader.read(py, &copied(&frame)?, format),
        };
        read.inspect_err(|error| {
            // The note is a help; the error is what counts.
            let _ =
                error.value(py).call_method1(intern!(py, "add_note"), (format!("in frame {index} of those given"),));
        })?;
    }
    Ok(reader.finish())
}

/// The bytes of any object with a buffer. Its owner may change them while Python code of a class runs.
fn copied(frame: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let view = PyBuffer::<u8>::get(frame)?;
    if !view.is_c_contiguous() {
        return Err(PyBufferError::new_err("the buffer is not contiguous: pass a copy of it"));
    }
    view.to_vec(frame.py())
}

/// Adds the Python names of columns to `module`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<batch::Columns>()?;
    module.add_class::<column::Column>()?;
    module.add_function(wrap_pyfunction!(decode_columns, module)?)
}
