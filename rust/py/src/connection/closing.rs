//! The ways a connection ends: the peer's close frame, ours, and failing it (RFC 6455 section 7).

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::Role;

use super::{Connection, Hold, State};
use crate::errors::{self, CloseInfo};

impl State {
    /// The peer's close frame: echo its code once, then the transport ends (RFC 6455 section 5.5.1 and 7.1.1).
    pub(super) fn handle_close(&self, object: &Bound<'_, PyAny>, info: Option<CloseInfo>) -> PyResult<()> {
        let echo = info.as_ref().map(|(code, _)| CloseCode::from_u16(*code));
        // 1005: "no status received", the name of an empty close frame (RFC 6455 section 7.1.5).
        *self.received_close.lock()? = Some(info.unwrap_or((CloseCode::NO_STATUS_RCVD.as_u16(), String::new())));
        let we_began = self.sent_close.read()?.is_some();
        if !we_began {
            self.initiator.set("peer");
            self.queue_close(echo, "")?;
            self.tell_closing(object)?;
        }
        // The server closes first, so that the client's port is not left in TIME_WAIT (RFC 6455 section 7.1.1).
        if self.role == Role::Server {
            self.close_when_written.set(true);
        }
        self.flush(object)
    }

    /// Puts a close frame behind all that is queued; no data follows it.
    pub(super) fn queue_close(&self, code: Option<CloseCode>, reason: &str) -> PyResult<()> {
        let mut outbox = self.outbox.lock()?;
        let key = self.key()?;
        self.protocol.lock()?.send_close(code, reason, key, &mut outbox.own).map_err(errors::local)?;
        outbox.commit_own();
        self.open.set(false);
        let code = code.map_or(CloseCode::NO_STATUS_RCVD.as_u16(), CloseCode::as_u16);
        *self.sent_close.lock()? = Some((code, reason.to_owned()));
        Ok(())
    }

    /// Fails the connection (RFC 6455 section 7.1.7): a close frame with the right code, then the end of our side.
    pub(super) fn fail(&self, object: &Bound<'_, PyAny>, code: CloseCode, reason: &str) -> PyResult<()> {
        self.delivering.set(false);
        *self.fault.lock()? = Some((code.as_u16(), reason.to_owned()));
        if self.sent_close.read()?.is_none() {
            self.initiator.set("local");
            self.queue_close(Some(code), reason)?;
            self.tell_closing(object)?;
        }
        // Half-close only: closing with bytes unread would reset the connection and could destroy the close frame on
        // its way. What still comes is read and dropped until the peer ends or the owner's deadline does.
        self.close_when_written.set(true);
        self.flush(object)
    }

    /// Tells the owner once that the connection is ending: from then on its deadline runs.
    pub(super) fn tell_closing(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        if self.closing_told.replace(true) {
            return Ok(());
        }
        let owner = self.owner.read()?.as_ref().map(|owner| owner.clone_ref(py));
        if let Some(owner) = owner {
            owner.bind(py).call_method1(intern!(py, "connection_closing"), (object,))?;
        }
        Ok(())
    }

    /// `send(2)` failed: nothing can leave. What the peer sent before it went can still be read, its close frame perhaps
    /// among it, and is bounded by the kernel's buffer: reading goes on to the end, however much waits in the inbox.
    #[cold]
    pub(crate) fn handle_broken_socket(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        self.open.set(false);
        self.descriptor.set(-1);
        self.end_sending(object.py())?;
        if !self.broken.replace(true) {
            self.release(object.py(), Hold::Handlers)?;
            self.inbox.get().state()?.resume(object.py())?;
            self.wake_drain_waiters(object.py())?;
            self.tell_closing(object)?;
        }
        Ok(())
    }

    /// The connection is gone, and all that it brought is delivered.
    pub(super) fn tell_loss(&self, object: &Bound<'_, Connection>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let py = object.py();
        self.protocol.lock()?.handle_transport_closed();
        let owner = self.owner.lock()?.take();
        if let Some(owner) = owner {
            owner.bind(py).call_method1(intern!(py, "connection_lost"), (object, error))?;
        }
        Ok(())
    }

    pub(super) fn end_transport(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.read()?.as_ref().map(|transport| transport.clone_ref(py)) else {
            return Ok(());
        };
        let transport = transport.bind(py);
        let failed = self.fault.read()?.is_some() && self.received_close.read()?.is_none();
        // Of a socket that takes nothing any more there is no half to close.
        if failed && !self.broken.get() && transport.call_method0(intern!(py, "can_write_eof"))?.is_truthy()? {
            match transport.call_method0(intern!(py, "write_eof")) {
                // The peer reset the connection since the last write.
                Err(error) if error.is_instance_of::<PyOSError>(py) => {}
                outcome => return outcome.map(drop),
            }
        }
        transport.call_method0(intern!(py, "close"))?;
        Ok(())
    }
}
