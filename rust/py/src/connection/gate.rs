//! Whether the transport reads: it is told to stop while there is any reason to, and to go on when there is none.
//!
//! It is told at the end of a turn, never inside a read: there a transport may have taken more from the socket, and decrypted
//! it, than it has handed on. Until the turn ends, the rest of its reads may come.

use pyo3::intern;
use pyo3::prelude::*;

use super::State;

/// A reason not to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// More waits in the inbox than its bound.
    Inbox = 1,
    /// Bytes that were read are not all looked at yet.
    Deferred = 2,
    /// `async def` handlers work on more than the inbox's bound.
    Handlers = 4,
}

impl State {
    /// Whether reading is to stop, or has.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.get() != 0
    }

    /// Whether that is a reason.
    pub(crate) fn is_held_by(&self, why: Hold) -> bool {
        self.holds.get() & why as u8 != 0
    }

    /// From the end of this turn on the transport does not read, until `why` is released.
    pub(crate) fn hold(&self, object: &Bound<'_, PyAny>, why: Hold) -> PyResult<()> {
        let before = self.holds.get();
        self.holds.set(before | why as u8);
        if before == 0 && !self.is_stopped.get() {
            let settle = object.getattr(intern!(object.py(), "settle_reading"))?;
            self.call_soon.call1(object.py(), (settle,))?;
        }
        Ok(())
    }

    /// `why` is no reason any more; without another one the transport reads again.
    pub(crate) fn release(&self, py: Python<'_>, why: Hold) -> PyResult<()> {
        self.holds.set(self.holds.get() & !(why as u8));
        if self.holds.get() == 0 && self.is_stopped.replace(false) {
            self.tell_transport(py, "resume_reading")?;
        }
        Ok(())
    }

    /// The end of the turn in which something was held.
    pub(super) fn settle_reading(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_held() && !self.is_stopped.replace(true) {
            self.tell_transport(py, "pause_reading")?;
        }
        Ok(())
    }

    fn tell_transport(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        let Some(transport) = self.transport.read()?.as_ref().map(|one| one.clone_ref(py)) else { return Ok(()) };
        let transport = transport.bind(py);
        if !transport.call_method0(intern!(py, "is_closing"))?.is_truthy()? {
            transport.call_method0(what)?;
        }
        Ok(())
    }
}
