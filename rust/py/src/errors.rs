//! Errors of the core as exceptions of `websocket_utils.exceptions`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{IntoPyObjectExt, import_exception};
use websocket_utils_core::error::LocalError;

import_exception!(websocket_utils.exceptions, ConnectionClosedError);
import_exception!(websocket_utils.exceptions, ConnectionClosedOK);
import_exception!(websocket_utils.exceptions, LocalProtocolError);
import_exception!(websocket_utils.exceptions, MessageNotWritten);
import_exception!(websocket_utils.exceptions, SendQueueFull);

/// A close frame as it was seen or sent: code and reason.
pub(crate) type CloseInfo = (u16, String);

/// Close codes of a normal end (RFC 6455 section 7.4.1): done, and going away.
fn is_normal(info: Option<&CloseInfo>) -> bool {
    info.is_none_or(|(code, _)| matches!(code, 1000 | 1001))
}

/// The exception for using a connection whose closing handshake has begun.
#[cold]
pub(crate) fn closed(
    py: Python<'_>,
    received: Option<&CloseInfo>,
    sent: Option<&CloseInfo>,
    initiator: &'static str,
) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = py.import("websocket_utils.exceptions")?.getattr("Close")?;
        let frame = |info: Option<&CloseInfo>| -> PyResult<Py<PyAny>> {
            match info {
                Some((code, reason)) => Ok(class.call1((*code, reason.as_str()))?.unbind()),
                None => Ok(py.None()),
            }
        };
        let arguments = (frame(received)?, frame(sent)?, initiator.into_py_any(py)?);
        let ok = initiator != "transport" && is_normal(received) && is_normal(sent);
        Ok(if ok { ConnectionClosedOK::new_err(arguments) } else { ConnectionClosedError::new_err(arguments) })
    };
    make().unwrap_or_else(|error| error)
}

/// The caller asked for something that RFC 6455 forbids; nothing was sent.
#[cold]
pub(crate) fn local(error: LocalError) -> PyErr {
    // 1002: the code that the peer would have answered with.
    LocalProtocolError::new_err((1002_u16, error.to_string()))
}

#[cold]
pub(crate) fn send_queue_full(queued: usize, size: usize, limit: usize) -> PyErr {
    SendQueueFull::new_err((queued, size, limit))
}

/// A `SendOutcome`.
pub(crate) fn send_outcome<'py>(
    py: Python<'py>,
    fate: &str,
    epoch: Option<u64>,
    reason: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS
        .get_or_try_init(py, || py.import("websocket_utils.outcomes")?.getattr("SendOutcome").map(Bound::unbind))?;
    class.bind(py).call1((fate, epoch, reason))
}

/// The exception of whoever awaits a message that was not written, or perhaps not.
#[cold]
pub(crate) fn not_written(outcome: &Bound<'_, PyAny>) -> PyErr {
    MessageNotWritten::new_err((outcome.clone().unbind(),))
}
