//! Requests of peers and their answers, which carry what they are in front of their message.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use pyo3::{IntoPyObjectExt, PyTraverseError, PyVisit};
use websocket_utils_core::envelope::{Received, read_envelope};
use websocket_utils_core::publication::MARK;

use super::{State, Taken, count};
use crate::codec::{self, WireFormat};
use crate::loop_bound::Guarded;

const NANOSECONDS: f64 = 1e9;

/// Who takes them; nobody but peers have any.
#[derive(Default)]
pub(super) struct Envelopes {
    callbacks: Guarded<Option<Callbacks>>,
    are_taken: Cell<bool>,
}

/// Lists of one, as handlers of messages have them.
struct Callbacks {
    requests: Py<PyList>,
    answers: Py<PyList>,
}

impl Envelopes {
    /// Whether a payload is to be shown to [`State::take_envelope`].
    #[inline]
    pub(super) fn may_be(&self, payload: &[u8]) -> bool {
        self.are_taken.get() && payload.first() == Some(&MARK)
    }

    pub(super) fn take_with(&self, py: Python<'_>, on_request: Py<PyAny>, on_answer: Py<PyAny>) -> PyResult<()> {
        let (requests, answers) = (PyList::new(py, [on_request])?.unbind(), PyList::new(py, [on_answer])?.unbind());
        // Let go of behind the borrow: what it refers to may be freed with it.
        let before = self.callbacks.lock()?.replace(Callbacks { requests, answers });
        drop(before);
        self.are_taken.set(true);
        Ok(())
    }

    pub(super) fn clear(&self) -> PyResult<()> {
        self.are_taken.set(false);
        let before = self.callbacks.lock()?.take();
        drop(before);
        Ok(())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(callbacks) = self.callbacks.read() else { return Ok(()) };
        let Some(callbacks) = &*callbacks else { return Ok(()) };
        visit.call(&callbacks.requests)?;
        visit.call(&callbacks.answers)
    }
}

impl State {
    /// Takes a payload that begins with the mark.
    #[inline(never)]
    pub(super) fn take_envelope(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        let (head, body) = match read_envelope(payload) {
            Received::Envelope(head, body) => (head, body),
            Received::Bare(message) => return self.hand_on(py, message, format),
            Received::Malformed => {
                count(&self.decode_errors);
                let error = codec::malformed(py, "neither a request nor an answer of a peer", format, payload);
                return Ok(Taken::Fault(error));
            }
        };
        let callbacks = self.envelopes.callbacks.read()?;
        let Some(callbacks) = &*callbacks else { return Ok(Taken::Dropped) };
        let bytes = PyBytes::new(py, body);
        let (callbacks, message) = match head.within {
            Some(within) => {
                #[expect(clippy::cast_precision_loss, reason = "a deadline, not an amount")]
                let seconds = within as f64 / NANOSECONDS;
                (&callbacks.requests, (head.number, seconds, head.kind, bytes).into_py_any(py)?)
            }
            None => (&callbacks.answers, (head.number, head.kind, bytes).into_py_any(py)?),
        };
        Ok(Taken::Call(callbacks.clone_ref(py), message, payload.len()))
    }
}
