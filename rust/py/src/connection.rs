//! One WebSocket connection: the protocol object of an asyncio transport.
//!
//! # Theory of operation
//!
//! The transport reads into the thread's scratch buffer and calls `buffer_updated`; the core turns the bytes into events;
//! messages go to the inbox, pings are answered, a close frame is echoed, all before it returns. What is sent is encoded
//! behind its own frame header at the end of the outbox and leaves in one of three ways:
//!
//! - the first message of a turn at once, by `send(2)` on the descriptor (TLS: `transport.write`);
//! - all others of the turn together at its end, or as soon as [`FLUSH_BYTES`] wait;
//! - while the transport holds bytes that the kernel did not take (`pause_writing`), when it says `resume_writing`.
//!
//! # Rules
//!
//! - `send(2)` is used only while the transport's own buffer is empty: otherwise bytes would overtake each other.
//! - The descriptor is forgotten in `connection_lost`, which every transport calls before it closes the socket.
//! - Python is never called while the outbox or the protocol is borrowed, except by the codec's fallback.
//! - Nothing is raised into the event loop but what ends the program (`KeyboardInterrupt`, `SystemExit`).

use std::cell::Cell;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::{Connection as Protocol, Event, Role};
use websocket_utils_core::encoder::append_frame;
use websocket_utils_core::header::FrameHeader;
use websocket_utils_core::limits::Limits;
use websocket_utils_core::log::LogRange;
use websocket_utils_core::opcode::Opcode;

use crate::broadcast::Broadcaster;
use crate::codec::Format;
use crate::errors::{self, CloseInfo};
use crate::inbox::{Inbox, Taken};
use crate::loop_bound::{Guarded, LoopBound};
use crate::outbox::Outbox;
use crate::pull::{Drain, retain_waiting};
use crate::{masking, outgoing, scratch};

/// What a connection is made of. Fields are cells: handlers may call back in at any point between two events.
pub(crate) struct State {
    pub(crate) role: Role,
    pub(crate) format: Format,
    protocol: Guarded<Protocol>,
    inbox: Py<Inbox>,
    /// Told of the closing handshake and of the end; gone after the end.
    owner: Guarded<Option<Py<PyAny>>>,
    pub(crate) transport: Guarded<Option<Py<PyAny>>>,
    call_soon: Py<PyAny>,
    create_future: Py<PyAny>,
    end_turn: Guarded<Option<Py<PyAny>>>,
    drain: Guarded<Option<Py<Drain>>>,
    drain_waiters: Guarded<Vec<Py<PyAny>>>,
    pub(crate) broadcaster: Option<Py<Broadcaster>>,
    /// Descriptor for `send(2)`; negative where the transport has to write (TLS, or gone).
    pub(crate) descriptor: Cell<RawFd>,
    pub(crate) outbox: Guarded<Outbox>,
    pub(crate) max_send_queue: usize,
    /// The transport holds bytes: nothing may be written past it.
    pub(crate) busy: Cell<bool>,
    /// Something was sent in this turn already.
    pub(crate) turn: Cell<bool>,
    /// Inside `buffer_updated`, whose end is the end of a turn.
    reading: Cell<bool>,
    /// Data may be sent: no close frame has left or come.
    pub(crate) open: Cell<bool>,
    /// Received messages are still wanted.
    delivering: Cell<bool>,
    pub(crate) lost: Cell<bool>,
    /// The socket takes nothing any more; the transport is about to find out.
    pub(crate) broken: Cell<bool>,
    /// The owner knows that the connection is ending.
    closing_told: Cell<bool>,
    /// Close the transport once all is written.
    close_when_written: Cell<bool>,
    /// Listed by the broadcaster for its next flush.
    pub(crate) listed: Cell<bool>,
    /// Listed by the broadcaster as holding ranges of the log after a flush.
    pub(crate) lagging: Cell<bool>,
    /// Bytes have arrived since the heartbeat last asked.
    active: Cell<bool>,
    latest_pong: Guarded<Option<Vec<u8>>>,
    received_close: Guarded<Option<CloseInfo>>,
    sent_close: Guarded<Option<CloseInfo>>,
    initiator: Cell<&'static str>,
    fault: Guarded<Option<(u16, String)>>,
    pub(crate) messages_sent: Cell<u64>,
    pub(crate) bytes_sent: Cell<u64>,
    pub(crate) expected_payload: Cell<usize>,
}

/// A connection after its opening handshake.
#[pyclass(frozen, subclass, module = "websocket_utils._core")]
pub(crate) struct Connection {
    state: LoopBound<State>,
}

/// What became of a range of the broadcast log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogQueued {
    /// The connection is closing.
    No,
    /// The first since the last flush: the broadcaster has to list the connection.
    First,
    Again,
}

impl Connection {
    #[inline]
    pub(crate) fn state(&self) -> PyResult<&State> {
        self.state.get()
    }

    /// One step of waiting for the queue to empty: a future to wait on, or `None` when there is nothing to wait for.
    pub(crate) fn drain_step<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let state = self.state()?;
        if state.lost.get() || state.broken.get() {
            return Err(state.closed_error(py)?);
        }
        if !state.busy.get() {
            return Ok(None);
        }
        let waiter = state.create_future.bind(py).call0()?;
        state.drain_waiters.lock()?.push(waiter.clone().unbind());
        Ok(Some(waiter))
    }

    /// Forgets futures of senders that were cancelled while they waited.
    #[cold]
    pub(crate) fn forget_done_waiters(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state()?;
        let waiters = std::mem::take(&mut *state.drain_waiters.lock()?);
        let waiting = retain_waiting(py, waiters)?;
        state.drain_waiters.lock()?.extend(waiting);
        Ok(())
    }

    /// Queues a range of the broadcast log.
    #[inline]
    pub(crate) fn queue_log(&self, range: LogRange) -> PyResult<LogQueued> {
        let state = self.state()?;
        if !state.open.get() {
            return Ok(LogQueued::No);
        }
        state.outbox.lock()?.push_log(range);
        Ok(if state.listed.replace(true) { LogQueued::Again } else { LogQueued::First })
    }
}

impl State {
    pub(crate) fn key(&self) -> PyResult<Option<[u8; 4]>> {
        match self.role {
            Role::Client => masking::next_key().map(Some),
            Role::Server => Ok(None),
        }
    }

    #[cold]
    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyResult<PyErr> {
        let received = self.received_close.read()?;
        let sent = self.sent_close.read()?;
        Ok(errors::closed(py, received.as_ref(), sent.as_ref(), self.initiator.get()))
    }

    /// Sees to it that the turn ends: what was queued after the first message leaves then.
    pub(crate) fn begin_turn(&self, slf: &Bound<'_, PyAny>) -> PyResult<()> {
        // The end of a read is the end of its turn; a connection that is gone has nothing to flush.
        if self.turn.replace(true) || self.reading.get() || self.lost.get() {
            return Ok(());
        }
        let py = slf.py();
        let mut end_turn = self.end_turn.lock()?;
        if end_turn.is_none() {
            *end_turn = Some(slf.getattr(intern!(py, "end_turn"))?.unbind());
        }
        self.call_soon.call1(py, (&*end_turn,))?;
        Ok(())
    }

    /// All that one read brought.
    fn read(&self, slf: &Bound<'_, PyAny>, mut input: &mut [u8]) -> PyResult<()> {
        let py = slf.py();
        let inbox = self.inbox.get().state()?;
        loop {
            let taken = {
                let mut protocol = self.protocol.lock()?;
                match protocol.next_event(&mut input) {
                    Ok(None) => return Ok(()),
                    Ok(Some(Event::Message { kind, payload })) if self.delivering.get() => {
                        inbox.take(py, payload, kind)?
                    }
                    Ok(Some(event)) => {
                        let control = Control::from(event);
                        drop(protocol);
                        self.handle_control(slf, control)?;
                        continue;
                    }
                    Err(error) => {
                        drop(protocol);
                        return self.fail(slf, error.close_code(), &error.to_string());
                    }
                }
            };
            self.deliver(slf, taken)?;
        }
    }

    #[inline]
    fn deliver(&self, slf: &Bound<'_, PyAny>, taken: Taken) -> PyResult<()> {
        let py = slf.py();
        match taken {
            Taken::Queued | Taken::Dropped => Ok(()),
            Taken::Call(callbacks, message) => {
                self.inbox.get().state()?.call(py, slf, callbacks.bind(py), message.bind(py))
            }
            Taken::Fault(error) => self.inbox.get().state()?.report(py, error),
        }
    }

    fn handle_control(&self, slf: &Bound<'_, PyAny>, control: Control) -> PyResult<()> {
        match control {
            Control::Nothing => Ok(()),
            Control::Ping(payload) => self.answer_ping(payload),
            Control::Close(info) => self.handle_close(slf, info),
        }
    }

    /// Answers a ping (RFC 6455 section 5.5.2); over the queue's bound only the latest is kept (section 5.5.3).
    fn answer_ping(&self, payload: Vec<u8>) -> PyResult<()> {
        if !self.open.get() {
            return Ok(());
        }
        let mut outbox = self.outbox.lock()?;
        if outbox.queued() > self.max_send_queue {
            *self.latest_pong.lock()? = Some(payload);
        } else {
            append_frame(&mut outbox.own, Opcode::Pong, true, &payload, self.key()?);
            outbox.commit_own();
        }
        Ok(())
    }

    /// Queues the pong that had to wait for room.
    fn queue_latest_pong(&self) -> PyResult<()> {
        match self.latest_pong.lock()?.take() {
            Some(payload) => self.answer_ping(payload),
            None => Ok(()),
        }
    }

    /// The peer's close frame: echo its code once, then the transport ends (RFC 6455 section 5.5.1 and 7.1.1).
    fn handle_close(&self, slf: &Bound<'_, PyAny>, info: Option<CloseInfo>) -> PyResult<()> {
        let echo = info.as_ref().map(|(code, _)| CloseCode::from_u16(*code));
        // 1005: "no status received", the name of an empty close frame (RFC 6455 section 7.1.5).
        *self.received_close.lock()? = Some(info.unwrap_or((CloseCode::NO_STATUS_RCVD.as_u16(), String::new())));
        let we_began = self.sent_close.read()?.is_some();
        if !we_began {
            self.initiator.set("peer");
            self.queue_close(echo, "")?;
            self.tell_closing(slf)?;
        }
        // The server closes first, so that the client's port is not left in TIME_WAIT (RFC 6455 section 7.1.1).
        if self.role == Role::Server {
            self.close_when_written.set(true);
        }
        self.flush(slf)
    }

    /// Puts a close frame behind all that is queued; no data follows it.
    fn queue_close(&self, code: Option<CloseCode>, reason: &str) -> PyResult<()> {
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
    fn fail(&self, slf: &Bound<'_, PyAny>, code: CloseCode, reason: &str) -> PyResult<()> {
        self.delivering.set(false);
        *self.fault.lock()? = Some((code.as_u16(), reason.to_owned()));
        if self.sent_close.read()?.is_none() {
            self.initiator.set("local");
            self.queue_close(Some(code), reason)?;
            self.tell_closing(slf)?;
        }
        // Half-close only: closing with bytes unread would reset the connection and could destroy the close frame on
        // its way. What still comes is read and dropped until the peer ends or the owner's deadline does.
        self.close_when_written.set(true);
        self.flush(slf)
    }

    /// Tells the owner once that the connection is ending: from then on its deadline runs.
    fn tell_closing(&self, slf: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if self.closing_told.replace(true) {
            return Ok(());
        }
        let owner = self.owner.read()?.as_ref().map(|owner| owner.clone_ref(py));
        if let Some(owner) = owner {
            owner.bind(py).call_method1(intern!(py, "connection_closing"), (slf,))?;
        }
        Ok(())
    }

    /// `send(2)` failed: nothing can leave. What the peer sent before it went can still be read, its close frame perhaps
    /// among it, and is bounded by the kernel's buffer: reading goes on to the end, however much waits in the inbox.
    #[cold]
    pub(crate) fn handle_broken_socket(&self, slf: &Bound<'_, PyAny>) -> PyResult<()> {
        self.open.set(false);
        self.descriptor.set(-1);
        self.outbox.lock()?.clear();
        if !self.broken.replace(true) {
            self.inbox.get().state()?.resume(slf.py())?;
            self.wake_drain_waiters(slf.py())?;
            self.tell_closing(slf)?;
        }
        Ok(())
    }

    /// Writes all that the socket takes, and ends the transport when that was asked for.
    pub(crate) fn flush(&self, slf: &Bound<'_, PyAny>) -> PyResult<()> {
        outgoing::write(self, slf)?;
        if !self.busy.get() && self.latest_pong.read()?.is_some() {
            self.queue_latest_pong()?;
            outgoing::write(self, slf)?;
        }
        self.release_log(slf.py())?;
        if self.close_when_written.get() && !self.lost.get() && self.outbox.read()?.queued() == 0 {
            self.close_when_written.set(false);
            self.end_transport(slf.py())?;
        }
        Ok(())
    }

    /// Has the log trimmed when this connection was behind and wants nothing of it any more: nobody may publish for long.
    fn release_log(&self, py: Python<'_>) -> PyResult<()> {
        if self.lagging.get()
            && self.outbox.read()?.oldest_log_position().is_none()
            && let Some(broadcaster) = &self.broadcaster
        {
            Broadcaster::schedule_flush(broadcaster.bind(py))?;
        }
        Ok(())
    }

    fn end_transport(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.read()?.as_ref().map(|transport| transport.clone_ref(py)) else {
            return Ok(());
        };
        let transport = transport.bind(py);
        let failed = self.fault.read()?.is_some() && self.received_close.read()?.is_none();
        if failed && transport.call_method0(intern!(py, "can_write_eof"))?.is_truthy()? {
            transport.call_method0(intern!(py, "write_eof"))?;
        } else {
            transport.call_method0(intern!(py, "close"))?;
        }
        Ok(())
    }

    pub(crate) fn wake_drain_waiters(&self, py: Python<'_>) -> PyResult<()> {
        let waiters = std::mem::take(&mut *self.drain_waiters.lock()?);
        for waiter in waiters {
            let waiter = waiter.bind(py);
            if !waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
                waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }

    /// Runs one step of receiving and keeps what goes wrong away from the event loop.
    fn contain(
        &self,
        slf: &Bound<'_, PyAny>,
        step: impl FnOnce(&Self, &Bound<'_, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let Err(error) = step(self, slf) else { return Ok(()) };
        // Report first: failing the connection may raise for the same reason.
        self.inbox.get().state()?.report(slf.py(), error)?;
        if let Err(error) = self.fail(slf, CloseCode::INTERNAL_ERROR, "internal error") {
            self.inbox.get().state()?.report(slf.py(), error)?;
        }
        Ok(())
    }
}

/// A control event without its borrow of the read buffer.
enum Control {
    Nothing,
    Ping(Vec<u8>),
    Close(Option<CloseInfo>),
}

impl From<Event<'_>> for Control {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Close(frame) => Self::Close(frame.map(|frame| (frame.code.as_u16(), frame.reason.to_owned()))),
            // A pong is a sign of life, which every read is; a message here came after we closed.
            Event::Pong(_) | Event::Message { .. } => Self::Nothing,
        }
    }
}

#[pymethods]
impl Connection {
    /// Args as the transport seam knows them; `options` are limits in bytes.
    #[new]
    #[pyo3(signature = (
        *, is_client, format, inbox, owner, transport, event_loop, descriptor, transport_busy,
        max_message_size, max_send_queue, broadcaster=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python; one caller")]
    fn py_new(
        py: Python<'_>,
        is_client: bool,
        format: &str,
        inbox: Py<Inbox>,
        owner: Py<PyAny>,
        transport: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        descriptor: RawFd,
        transport_busy: bool,
        max_message_size: usize,
        max_send_queue: usize,
        broadcaster: Option<Py<Broadcaster>>,
    ) -> PyResult<Self> {
        let role = if is_client { Role::Client } else { Role::Server };
        let limits = Limits { max_message_size, ..Limits::default() };
        Ok(Self {
            state: LoopBound::new(State {
                role,
                format: Format::from_name(format)?,
                protocol: Guarded::new(Protocol::new(role, limits)),
                inbox,
                owner: Guarded::new(Some(owner)),
                transport: Guarded::new(Some(transport)),
                call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
                create_future: event_loop.getattr(intern!(py, "create_future"))?.unbind(),
                end_turn: Guarded::default(),
                drain: Guarded::default(),
                drain_waiters: Guarded::default(),
                broadcaster,
                descriptor: Cell::new(descriptor),
                outbox: Guarded::default(),
                max_send_queue,
                busy: Cell::new(transport_busy),
                turn: Cell::new(false),
                reading: Cell::new(false),
                open: Cell::new(true),
                delivering: Cell::new(true),
                lost: Cell::new(false),
                broken: Cell::new(false),
                closing_told: Cell::new(false),
                close_when_written: Cell::new(false),
                listed: Cell::new(false),
                lagging: Cell::new(false),
                active: Cell::new(true),
                latest_pong: Guarded::default(),
                received_close: Guarded::default(),
                sent_close: Guarded::default(),
                initiator: Cell::new("transport"),
                fault: Guarded::default(),
                messages_sent: Cell::new(0),
                bytes_sent: Cell::new(0),
                expected_payload: Cell::new(0),
            }),
        })
    }

    // --- what a transport calls (asyncio.BufferedProtocol) ---

    /// True: aiofastnet asks instead of looking at the class.
    #[pyo3(name = "is_buffered_protocol")]
    fn py_is_buffered_protocol(&self) -> bool {
        true
    }

    /// The thread's read buffer, lent until `buffer_updated` returns.
    #[pyo3(name = "get_buffer")]
    fn py_get_buffer(&self, py: Python<'_>, size_hint: isize) -> PyResult<Py<pyo3::types::PyMemoryView>> {
        // Transports pass -1 or a constant: the hint says nothing.
        let _ = size_hint;
        scratch::lend(py)
    }

    /// Takes what the transport has just read into the lent buffer.
    #[pyo3(name = "buffer_updated")]
    fn py_buffer_updated(slf: &Bound<'_, Self>, length: usize) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state()?;
        // SAFETY: the transport calls this right after reading into the lent view, before any other read of the thread.
        let input = unsafe { scratch::filled(py, length)? };
        Self::take_in(slf, state, |state, slf| state.read(slf, input))
    }

    /// Takes a frame that was parsed and unmasked before the handover; `payload` is copied.
    #[pyo3(name = "feed_frame")]
    fn py_feed_frame(slf: &Bound<'_, Self>, fin: bool, reserved_bits: u8, opcode: u8, payload: &[u8]) -> PyResult<()> {
        let state = slf.get().state()?;
        let mut payload = payload.to_vec();
        Self::take_in(slf, state, |state, slf| {
            let py = slf.py();
            let header = FrameHeader::from_parts(fin, reserved_bits, opcode);
            let taken = {
                let mut protocol = state.protocol.lock()?;
                match protocol.handle_frame(header, &mut payload) {
                    Ok(None) => return Ok(()),
                    Ok(Some(Event::Message { kind, payload })) if state.delivering.get() => {
                        state.inbox.get().state()?.take(py, payload, kind)?
                    }
                    Ok(Some(event)) => {
                        let control = Control::from(event);
                        drop(protocol);
                        return state.handle_control(slf, control);
                    }
                    Err(error) => {
                        drop(protocol);
                        return state.fail(slf, error.close_code(), &error.to_string());
                    }
                }
            };
            state.deliver(slf, taken)
        })
    }

    /// The transport holds bytes that the kernel did not take.
    #[pyo3(name = "pause_writing")]
    fn py_pause_writing(&self) -> PyResult<()> {
        self.state()?.busy.set(true);
        Ok(())
    }

    /// The transport holds nothing any more.
    #[pyo3(name = "resume_writing")]
    fn py_resume_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state()?;
        state.busy.set(false);
        state.contain(slf.as_any(), |state, slf| {
            state.flush(slf)?;
            if state.busy.get() { Ok(()) } else { state.wake_drain_waiters(slf.py()) }
        })
    }

    /// End of file without a close frame, or behind it: the transport closes itself.
    #[pyo3(name = "eof_received")]
    fn py_eof_received(&self) -> bool {
        false
    }

    /// A transport hands itself over; it was given to the constructor already.
    #[pyo3(name = "connection_made")]
    fn py_connection_made(&self, transport: &Bound<'_, PyAny>) {
        let _ = transport;
    }

    /// The end: nothing is called afterwards, nothing is held.
    #[pyo3(name = "connection_lost", signature = (error=None))]
    fn py_connection_lost(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state()?;
        if state.lost.replace(true) {
            return Ok(());
        }
        state.open.set(false);
        state.descriptor.set(-1);
        state.protocol.lock()?.handle_transport_closed();
        state.outbox.lock()?.clear();
        state.release_log(py)?;
        state.end_turn.lock()?.take();
        state.drain.lock()?.take();
        state.transport.lock()?.take();
        state.wake_drain_waiters(py)?;
        if let Some(owner) = state.owner.lock()?.take() {
            owner.bind(py).call_method1(intern!(py, "connection_lost"), (slf, error))?;
        }
        Ok(())
    }

    // --- what the owner calls ---

    /// Sends one message; returns an awaitable that is done when the transport holds nothing back.
    #[pyo3(name = "send")]
    fn py_send(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<Py<Drain>> {
        let state = slf.get().state()?;
        outgoing::send(state, slf.as_any(), message)?;
        Self::drain(slf, state)
    }

    /// Waits until the transport holds nothing back.
    #[pyo3(name = "drain")]
    fn py_drain(slf: &Bound<'_, Self>) -> PyResult<Py<Drain>> {
        Self::drain(slf, slf.get().state()?)
    }

    /// Sends a ping with this payload (at most 125 bytes).
    #[pyo3(name = "ping", signature = (payload=b"".as_slice()))]
    fn py_ping(slf: &Bound<'_, Self>, payload: &[u8]) -> PyResult<()> {
        let state = slf.get().state()?;
        if !state.open.get() {
            return Err(state.closed_error(slf.py())?);
        }
        {
            let mut outbox = state.outbox.lock()?;
            let key = state.key()?;
            state.protocol.lock()?.send_ping(payload, key, &mut outbox.own).map_err(errors::local)?;
            outbox.commit_own();
        }
        state.flush(slf.as_any())
    }

    /// Begins the closing handshake; what is queued leaves first. Does nothing when it has begun.
    #[pyo3(name = "close", signature = (code=1000, reason=""))]
    fn py_close(slf: &Bound<'_, Self>, code: u16, reason: &str) -> PyResult<()> {
        let state = slf.get().state()?;
        if !state.open.get() {
            return Ok(());
        }
        state.queue_close(Some(CloseCode::from_u16(code)), reason)?;
        state.initiator.set("local");
        state.tell_closing(slf.as_any())?;
        state.flush(slf.as_any())
    }

    /// Ends the transport now; what is queued is lost.
    #[pyo3(name = "abort")]
    fn py_abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state()?;
        state.open.set(false);
        state.delivering.set(false);
        state.outbox.lock()?.clear();
        let transport = state.transport.read()?.as_ref().map(|transport| transport.clone_ref(py));
        if let Some(transport) = transport {
            transport.bind(py).call_method0(intern!(py, "abort"))?;
        }
        Ok(())
    }

    /// Stops delivering messages; the closing handshake goes on.
    #[pyo3(name = "stop_delivering")]
    fn py_stop_delivering(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state()?;
        state.delivering.set(false);
        state.inbox.get().state()?.resume(py)
    }

    /// Whether bytes have arrived since the last call. While the inbox is full we do not look: silence says nothing.
    #[pyo3(name = "take_activity")]
    fn py_take_activity(&self) -> PyResult<bool> {
        let state = self.state()?;
        Ok(state.active.replace(false) || state.inbox.get().state()?.is_paused()?)
    }

    /// Writes what was sent after the first message of a turn. The loop calls it at the turn's end.
    #[pyo3(name = "end_turn")]
    fn py_end_turn(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state()?;
        state.turn.set(false);
        state.contain(slf.as_any(), State::flush)
    }

    /// Whether data can be sent: the closing handshake has not begun.
    #[getter]
    #[pyo3(name = "is_open")]
    fn py_is_open(&self) -> PyResult<bool> {
        Ok(self.state()?.open.get())
    }

    /// Bytes queued and not yet taken by the operating system or the transport.
    #[getter]
    #[pyo3(name = "send_queue_bytes")]
    fn py_send_queue_bytes(&self) -> PyResult<usize> {
        Ok(self.state()?.outbox.read()?.queued())
    }

    /// (messages, bytes) accepted by `send`.
    #[pyo3(name = "sent_counters")]
    fn py_sent_counters(&self) -> PyResult<(u64, u64)> {
        let state = self.state()?;
        Ok((state.messages_sent.get(), state.bytes_sent.get()))
    }

    /// The exception that says how this connection ended.
    #[pyo3(name = "closed_error")]
    fn py_closed_error(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.state()?.closed_error(py)?.into_value(py).into_any())
    }

    /// (close code, text) of the peer's violation of the protocol; `None` when there was none.
    #[getter]
    #[pyo3(name = "fault")]
    fn py_fault(&self) -> PyResult<Option<(u16, String)>> {
        Ok(self.state()?.fault.read()?.clone())
    }

    /// Bytes of memory held for this connection beyond the object itself.
    #[getter]
    #[pyo3(name = "held_bytes")]
    fn py_held_bytes(&self) -> PyResult<usize> {
        let state = self.state()?;
        Ok(state.protocol.read()?.buffered() + state.outbox.read()?.own.capacity())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        visit.call(&state.inbox)?;
        visit.call(&state.call_soon)?;
        visit.call(&state.create_future)?;
        visit.call(&state.broadcaster)?;
        for cell in [&state.owner, &state.transport, &state.end_turn] {
            if let Ok(value) = cell.read() {
                visit.call(&*value)?;
            }
        }
        if let Ok(drain) = state.drain.read() {
            visit.call(&*drain)?;
        }
        if let Ok(waiters) = state.drain_waiters.read() {
            for waiter in waiters.iter() {
                visit.call(waiter)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        for cell in [&state.owner, &state.transport, &state.end_turn] {
            if let Ok(mut value) = cell.lock() {
                value.take();
            }
        }
        if let Ok(mut drain) = state.drain.lock() {
            drain.take();
        }
        if let Ok(mut waiters) = state.drain_waiters.lock() {
            waiters.clear();
        }
    }
}

impl Connection {
    /// One read: a turn of its own, at whose end all answers leave together.
    fn take_in(
        slf: &Bound<'_, Self>,
        state: &State,
        step: impl FnOnce(&State, &Bound<'_, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = slf.py();
        state.active.set(true);
        state.reading.set(true);
        state.turn.set(false);
        let outcome = state.contain(slf.as_any(), step);
        state.reading.set(false);
        state.turn.set(false);
        outcome?;
        state.contain(slf.as_any(), |state, slf| {
            // A full inbox pauses reading while messages are wanted. At the end of a connection what is read is the
            // peer's close frame or its end of file, which must not wait for a slow reader.
            let may_pause = state.delivering.get() && !state.broken.get() && state.received_close.read()?.is_none();
            let transport = state.transport.read()?.as_ref().filter(|_| may_pause).map(|one| one.clone_ref(py));
            state.inbox.get().state()?.end_read(py, transport.as_ref().map(|transport| transport.bind(py)))?;
            if state.outbox.read()?.queued() > 0 { state.flush(slf) } else { Ok(()) }
        })
    }

    /// The awaitable of this connection, made once.
    fn drain(slf: &Bound<'_, Self>, state: &State) -> PyResult<Py<Drain>> {
        let py = slf.py();
        let mut drain = state.drain.lock()?;
        if let Some(drain) = &*drain {
            return Ok(drain.clone_ref(py));
        }
        let made = Py::new(py, Drain::new(slf.clone().unbind()))?;
        if !state.lost.get() {
            *drain = Some(made.clone_ref(py));
        }
        Ok(made)
    }
}
