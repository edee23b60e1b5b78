//! What comes into an inbox from Python: messages that others have received, and events.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::{Slow, State, Taken, count};
use crate::clock::Stamp;
use crate::codec::WireFormat;

impl State {
    /// Takes a message as if a connection had read it. `received` is when it was (wall clock), 0 for now.
    pub(super) fn feed(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        received: i64,
        binary: WireFormat,
    ) -> PyResult<()> {
        let (payload, format) = if let Ok(text) = payload.cast::<PyString>() {
            (text.to_str()?.as_bytes(), WireFormat::JSON)
        } else if let Ok(bytes) = payload.cast::<PyBytes>() {
            (bytes.as_bytes(), binary.binary())
        } else {
            return Err(PyTypeError::new_err(format!("expected bytes or str, got {}", payload.get_type())));
        };
        let mut stamp = Stamp::now();
        if received != 0 {
            let age = u64::try_from(stamp.wall.saturating_sub(received)).unwrap_or(0);
            stamp = Stamp { wall: received, monotonic: stamp.monotonic.saturating_sub(age) };
        }
        self.begin_read_at(stamp)?;
        let nobody = py.None().into_bound(py);
        match self.take(py, payload, format)? {
            Taken::Looked(looked) => {
                if self.ask(py, &nobody, &looked)? {
                    self.go_on(py, &nobody, &looked)?;
                }
                Ok(())
            }
            Taken::Call(callbacks, message, size) => self.call(py, &nobody, callbacks.bind(py), message.bind(py), size),
            Taken::Fault(error) => self.report(py, error),
            Taken::Queued | Taken::Dropped | Taken::Broken(_) | Taken::Malformed => Ok(()),
        }
    }

    /// Ends what was fed together; returns whether more waits than may: whoever feeds then should hold what it feeds from.
    pub(super) fn end_feed(&self, py: Python<'_>) -> PyResult<bool> {
        self.end_read(py, None)?;
        if !matches!(self.slow, Slow::Backpressure) {
            return Ok(false);
        }
        let store = self.store.read()?;
        Ok(store.held() > self.limit || store.len() > self.max_messages)
    }

    /// Puts an event behind all that was received so far.
    pub(super) fn tell(&self, py: Python<'_>, event: Py<PyAny>) -> PyResult<()> {
        if !self.keeps_events.get() {
            return Ok(());
        }
        self.set_barrier(py)?;
        // Dropped only when nothing is borrowed: it may be the last reference to it.
        let lost = self.store.lock()?.tell(event);
        if lost.is_some() {
            count(&self.events_dropped);
        }
        self.wake_for_event(py)
    }
}
