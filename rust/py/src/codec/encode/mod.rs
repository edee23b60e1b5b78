//! Encode of messages: value by value, by each value's exact class.
//!
//! Scalars, containers and records (message classes, dataclasses) are written here, straight out of the objects; what is
//! none of these (dates, UUIDs, classes laid out in a way of their own) is written by msgspec, one value at a time, and a
//! hook of the user stands behind both. The bytes are msgspec's, whoever writes them.

mod attributes;
mod classes;
mod cursor;
mod foreign;
mod form;
mod objects;
mod record;
mod walk;

use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{WireFormat, class, protobuf};
pub(super) use foreign::Foreign;
use form::{Json, MessagePack};
use walk::{Raised, Walk};

pyo3::import_exception!(websocket_utils.exceptions, EncodeError);

/// Appends the encoded payload (no frame header) of `message` to `out`. On an error `out` is as it was.
///
/// # Errors
/// `EncodeError` when the object or a value in it has no form in `format`.
#[inline]
pub(crate) fn encode(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    format: WireFormat,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    encode_with(message, format, Foreign::plain(py)?, out)
}

/// [`encode`] with a hook of the user.
///
/// # Errors
/// As [`encode`], and what the hook raises that is no refusal of a value.
#[inline]
pub(super) fn encode_with(
    message: &Bound<'_, PyAny>,
    format: WireFormat,
    foreign: &Foreign,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let start = out.len();
    // SAFETY: `message` says that the GIL is held, and holds the object.
    let written = unsafe {
        match format {
            WireFormat::JSON => Walk::<Json>::new(out, foreign).write(message.as_ptr(), 0),
            WireFormat::MESSAGE_PACK => Walk::<MessagePack>::new(out, foreign).write(message.as_ptr(), 0),
            WireFormat::Protobuf => write_protobuf(message, out),
        }
    };
    written.map_err(|Raised| {
        out.truncate(start);
        encode_error(message, format)
    })
}

/// Appends a message as Protocol Buffers. The exception is set where that fails.
#[inline]
fn write_protobuf(message: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), Raised> {
    // SAFETY: `message` says that the GIL is held.
    let Some(known) = (unsafe { classes::find(message.get_type_ptr()) }) else {
        return match classes::learn(&message.get_type()) {
            Ok(()) => write_protobuf(message, out),
            Err(error) => Err(raised(message, error)),
        };
    };
    let writer = known.protobuf.get_or_try_init(message.py(), || protobuf::Writer::compile(&message.get_type()));
    // SAFETY: the GIL is held, and the message is alive; `known` holds the writer whatever Python code does.
    let written = writer.and_then(|writer| unsafe { writer.write(message.as_ptr(), out) }.map_err(protobuf::refusal));
    written.map_err(|error| raised(message, error))
}

#[cold]
fn raised(message: &Bound<'_, PyAny>, error: PyErr) -> Raised {
    error.restore(message.py());
    Raised
}

/// The exception that is set: what is wrong with a value becomes our error, anything else (a property that raised) stays
/// as it is.
#[cold]
fn encode_error(message: &Bound<'_, PyAny>, format: WireFormat) -> PyErr {
    let py = message.py();
    let error = PyErr::fetch(py);
    let is_refusal = error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyOverflowError>(py)
        // Too deep, changed while it was encoded, or what a hook says of a class that it does not know
        // (`NotImplementedError`).
        || error.is_instance_of::<PyRuntimeError>(py)
        || error.is_instance_of::<PyAttributeError>(py);
    if !is_refusal {
        return error;
    }
    let wrap = || {
        let details = PyDict::new(py);
        details.set_item("format", format.name())?;
        let name = class::class_name(message.get_type().as_any());
        let text = format!("can't encode a {name}: {}", error.value(py));
        py.get_type::<EncodeError>().call((text,), Some(&details))
    };
    let wrapped = match wrap() {
        Ok(wrapped) => PyErr::from_value(wrapped),
        Err(error) => return error,
    };
    wrapped.set_cause(py, Some(error));
    wrapped
}
