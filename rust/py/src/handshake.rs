//! `HeadReader` and the negotiation of permessage-deflate for Python: the opening handshake without I/O.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;
use pyo3::{create_exception, wrap_pyfunction};
use websocket_utils_core::deflate::Agreement;
use websocket_utils_core::handshake::{self, DeflateSettings, Fields, Refusal, Request, Response};

create_exception!(
    websocket_utils._core,
    HandshakeRefusal,
    PyException,
    "A handshake that must not be completed: status and reason, both of ours."
);

#[cold]
fn refused(refusal: Refusal) -> PyErr {
    HandshakeRefusal::new_err((refusal.status, refusal.reason))
}

/// An `Agreement` as Python holds it: (send_window_bits, send_takeover, receive_window_bits, receive_takeover).
type AgreementTuple = (u8, bool, u8, bool);

const fn agreement_tuple(agreement: Agreement) -> AgreementTuple {
    (agreement.send_window_bits, agreement.send_takeover, agreement.receive_window_bits, agreement.receive_takeover)
}

type Headers = Vec<(String, String)>;

/// Names in lower case, and values as latin-1: each byte is the character of its number (RFC 9110 section 5.5).
fn headers(fields: &Fields<'_>) -> Headers {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), latin1(value))).collect()
}

fn latin1(text: &[u8]) -> String {
    text.iter().copied().map(char::from).collect()
}

/// Collects the head of a request or a response, and reads it.
#[pyclass(name = "HeadReader", module = "websocket_utils._core")]
pub(crate) struct PyHeadReader {
    reader: handshake::HeadReader,
}

impl PyHeadReader {
    fn head(&self) -> PyResult<&[u8]> {
        if self.reader.is_complete() {
            Ok(self.reader.bytes())
        } else {
            Err(PyRuntimeError::new_err("the head is not complete: feed it until that returns a number"))
        }
    }
}

#[pymethods]
impl PyHeadReader {
    #[new]
    fn py_new() -> Self {
        Self { reader: handshake::HeadReader::new() }
    }

    /// Takes the next bytes: how many of them belong to the head once that is complete, `None` before.
    #[pyo3(name = "feed", signature = (data, /))]
    fn py_feed(&mut self, data: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return self.reader.feed(bytes.as_bytes()).map_err(refused);
        }
        let view = PyBuffer::<u8>::get(data)?;
        if !view.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous: pass a copy of it"));
        }
        self.reader.feed(&view.to_vec(data.py())?).map_err(refused)
    }

    /// The request that the head is: (target, key, headers).
    #[pyo3(name = "request")]
    fn py_request(&self) -> PyResult<(String, String, Headers)> {
        let request = Request::parse(self.head()?).map_err(refused)?;
        Ok((request.target.to_owned(), request.key.to_owned(), headers(&request.fields)))
    }

    /// The response that the head is: (status, reason phrase, headers). A 101 is checked in full, but for its extensions.
    #[pyo3(name = "response")]
    #[allow(clippy::needless_pass_by_value, reason = "pyo3 hands over what it made of the arguments")]
    fn py_response(&self, accept: &str, subprotocols: Vec<PyBackedStr>) -> PyResult<(u16, String, Headers)> {
        let response = Response::parse(self.head()?).map_err(refused)?;
        if response.status == 101 {
            let offered: Vec<&str> = subprotocols.iter().map(|name| &**name).collect();
            response.check_upgrade(accept, &offered).map_err(refused)?;
        }
        Ok((response.status, latin1(response.reason), headers(&response.fields)))
    }
}

fn settings(window_bits: u8, takeover: bool) -> PyResult<DeflateSettings> {
    if (9..=15).contains(&window_bits) {
        Ok(DeflateSettings { window_bits, takeover })
    } else {
        Err(PyValueError::new_err(format!("window_bits is {window_bits}; it must be 9 to 15")))
    }
}

/// The value of a client's `Sec-WebSocket-Extensions`.
#[pyfunction]
#[pyo3(signature = (window_bits, takeover, /))]
fn deflate_offer(window_bits: u8, takeover: bool) -> PyResult<String> {
    Ok(handshake::offer(settings(window_bits, takeover)?))
}

/// A server's choice among offers: what is agreed, and the value to answer with.
#[pyfunction]
#[pyo3(signature = (window_bits, takeover, values, /))]
#[allow(clippy::needless_pass_by_value, reason = "pyo3 hands over what it made of the arguments")]
fn deflate_accept(
    window_bits: u8,
    takeover: bool,
    values: Vec<PyBackedStr>,
) -> PyResult<Option<(AgreementTuple, String)>> {
    let accepted =
        handshake::accept(settings(window_bits, takeover)?, values.iter().map(|value| &**value)).map_err(refused)?;
    Ok(accepted.map(|(agreement, answer)| (agreement_tuple(agreement), answer)))
}

/// A client's reading of the answer to its offer.
#[pyfunction]
#[pyo3(signature = (window_bits, takeover, values, /))]
#[allow(clippy::needless_pass_by_value, reason = "pyo3 hands over what it made of the arguments")]
fn deflate_confirm(window_bits: u8, takeover: bool, values: Vec<PyBackedStr>) -> PyResult<Option<AgreementTuple>> {
    let confirmed =
        handshake::confirm(settings(window_bits, takeover)?, values.iter().map(|value| &**value)).map_err(refused)?;
    Ok(confirmed.map(agreement_tuple))
}

/// Adds the handshake's Python names to `module`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("HandshakeRefusal", module.py().get_type::<HandshakeRefusal>())?;
    module.add_class::<PyHeadReader>()?;
    module.add_function(wrap_pyfunction!(deflate_offer, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_accept, module)?)?;
    module.add_function(wrap_pyfunction!(deflate_confirm, module)?)
}
