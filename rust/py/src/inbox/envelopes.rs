//! Requests of peers and their answers, which carry what they are in front of their message.

use std::cell::Cell;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use pyo3::{IntoPyObjectExt, PyTraverseError, PyVisit};
use websocket_utils_core::envelope::{Received, read_envelope};
use websocket_utils_core::publication::MARK;

use super::{State, Taken, count};
use crate::codec::{self, Decoder, WireFormat};
use crate::loop_bound::Guarded;

const NANOSECONDS: f64 = 1e9;

/// A callback, in its list, and what it is called with.
type Decoded = (Py<PyList>, Py<PyAny>);

/// Who takes them; nobody but peers have any.
#[derive(Default)]
pub(super) struct Envelopes {
    callbacks: Guarded<Option<Callbacks>>,
    answerers: Guarded<Vec<Answerer>>,
    /// The kind of the last answer: that of the next one, mostly.
    last_kind: Guarded<Option<Py<PyString>>>,
    are_taken: Cell<bool>,
}

/// Who answers requests of one kind.
struct Answerer {
    kind: String,
    decoder: Decoder,
    callback: Py<PyList>,
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

    pub(super) fn answer_with(&self, kind: &str, decoder: &Bound<'_, PyAny>, callback: Py<PyAny>) -> PyResult<()> {
        let callback = PyList::new(decoder.py(), [callback])?.unbind();
        let answerer = Answerer { kind: kind.to_owned(), decoder: Decoder::compile(decoder)?, callback };
        self.answerers.lock()?.push(answerer);
        Ok(())
    }

    /// Decodes a request that somebody here answers; `None` for any that needs more to be looked at.
    fn decode(&self, py: Python<'_>, kind: &str, body: &[u8], format: WireFormat) -> PyResult<Option<Decoded>> {
        let (decoder, callback) = {
            let answerers = self.answerers.read()?;
            let Some(answerer) = answerers.iter().find(|one| one.kind == kind) else { return Ok(None) };
            (answerer.decoder.clone(), answerer.callback.clone_ref(py))
        };
        // A default factory of the class may run, and do anything: nothing is borrowed.
        match decoder.decode(py, body, format) {
            Ok(message) => Ok(Some((callback, message.unbind()))),
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn kind<'py>(&self, py: Python<'py>, kind: &str) -> PyResult<Bound<'py, PyString>> {
        let mut last = self.last_kind.lock()?;
        if let Some(last) = &*last
            && last.to_str(py)? == kind
        {
            return Ok(last.bind(py).clone());
        }
        let made = PyString::new(py, kind);
        *last = Some(made.clone().unbind());
        Ok(made)
    }

    pub(super) fn clear(&self) -> PyResult<()> {
        self.are_taken.set(false);
        let before = (self.callbacks.lock()?.take(), std::mem::take(&mut *self.answerers.lock()?));
        drop(before);
        Ok(())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(callbacks) = self.callbacks.read() else { return Ok(()) };
        let Some(callbacks) = &*callbacks else { return Ok(()) };
        visit.call(&callbacks.requests)?;
        visit.call(&callbacks.answers)?;
        let Ok(answerers) = self.answerers.read() else { return Ok(()) };
        answerers.iter().try_for_each(|answerer| visit.call(&answerer.callback))
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
        #[expect(clippy::cast_precision_loss, reason = "a deadline, not an amount")]
        let seconds = head.within.map(|within| within as f64 / NANOSECONDS);
        if let Some(seconds) = seconds.filter(|&seconds| seconds > 0.0)
            && let Some((callback, message)) = self.envelopes.decode(py, head.kind, body, format)?
        {
            return Ok(Taken::Call(callback, (head.number, seconds, message).into_py_any(py)?, payload.len()));
        }
        let callbacks = self.envelopes.callbacks.read()?;
        let Some(callbacks) = &*callbacks else { return Ok(Taken::Dropped) };
        let bytes = PyBytes::new(py, body);
        let kind = self.envelopes.kind(py, head.kind)?;
        let (callbacks, message) = match seconds {
            Some(seconds) => (&callbacks.requests, (head.number, seconds, kind, bytes).into_py_any(py)?),
            None => (&callbacks.answers, (head.number, kind, bytes).into_py_any(py)?),
        };
        Ok(Taken::Call(callbacks.clone_ref(py), message, payload.len()))
    }
}
