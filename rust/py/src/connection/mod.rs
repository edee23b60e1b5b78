//! One WebSocket connection: the protocol object of an asyncio transport.
//!
//! # Theory of operation
//!
//! The transport reads into the thread's scratch buffer and calls `buffer_updated`; the core turns the bytes into events;
//! messages go to the inbox, pings are answered, a close frame is echoed, all before it returns. What is sent is encoded
//! behind its own frame header at the end of the outbox and leaves in one of three ways:
//!
//! - the first message of a turn at once, by `send(2)` on the descriptor (TLS: `transport.write`);
//! - all others of the turn together at its end, or as soon as [`outgoing::FLUSH_BYTES`] wait;
//! - while the transport holds bytes that the kernel did not take (`pause_writing`), when it says `resume_writing`.
//!
//! # Rules
//!
//! - `send(2)` is used only while the transport's own buffer is empty: otherwise bytes would overtake each other.
//! - The descriptor is forgotten in `connection_lost`, which every transport calls before it closes the socket.
//! - Python is never called while the outbox or the protocol is borrowed, except by the codec's fallback.
//! - Nothing is raised into the event loop but what ends the program (`KeyboardInterrupt`, `SystemExit`).

mod closing;
mod collecting;
mod compressing;
mod deferring;
mod gate;
mod liveness;
mod python;
mod receiving;
mod sequencing;

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::rc::Rc;

pub(crate) use self::compressing::Compression;
use self::deferring::PutOffLoss;
pub(crate) use self::gate::Hold;
use self::liveness::RoundTrips;
pub(crate) use self::sequencing::Broken;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use websocket_utils_core::connection::{Connection as Protocol, Role};
use websocket_utils_core::envelope::{Head, is_kind};
use websocket_utils_core::log::LogRange;

use crate::broadcast::{Broadcaster, Standing, Variant};
use crate::codec::WireFormat;
use crate::errors::{self, CloseInfo};
use crate::fates::Fates;
use crate::inbox::Inbox;
use crate::loop_bound::{Guarded, LoopBound};
use crate::outbox::Outbox;
use crate::positions::Positions;
use crate::pull::{Drain, retain_waiting};
use crate::sent::{Given, Sent};
use crate::{masking, outgoing};

/// What a connection is made of. Fields are cells: handlers may call back in at any point between two events.
pub(crate) struct State {
    pub(crate) role: Role,
    pub(crate) format: WireFormat,
    protocol: Guarded<Protocol>,
    inbox: Py<Inbox>,
    /// Where the channels stand; `None` where the peer's publications don't say it.
    positions: Option<Py<Positions>>,
    /// Told of the closing handshake and of the end; gone after the end.
    owner: Guarded<Option<Py<PyAny>>>,
    pub(crate) transport: Guarded<Option<Py<PyAny>>>,
    call_soon: Py<PyAny>,
    create_future: Py<PyAny>,
    end_turn: Guarded<Option<Py<PyAny>>>,
    drain: Guarded<Option<Py<Drain>>>,
    drain_waiters: Guarded<Vec<Py<PyAny>>>,
    /// What becomes of the messages sent.
    pub(crate) fates: Rc<Fates>,
    given: Guarded<Given>,
    pub(crate) broadcaster: Option<Py<Broadcaster>>,
    /// Which log of the broadcaster this connection reads from.
    pub(crate) variant: Variant,
    /// The peer reads what payloads begin with: one that only looks like that is escaped.
    pub(crate) escapes: bool,
    /// `None` without an agreement: nothing is compressed.
    pub(crate) compression: Option<Guarded<Compression>>,
    /// A compressed broadcast was queued: the peer's window is not what our compressor remembers.
    pub(crate) has_peer_moved_on: Cell<bool>,
    /// Descriptor for `send(2)`; negative where the transport has to write (TLS, or gone).
    pub(crate) descriptor: Cell<RawFd>,
    /// Descriptor whose errors are looked for after each read; negative where the transport tells of all of them.
    watched_descriptor: Cell<RawFd>,
    pub(crate) outbox: Guarded<Outbox>,
    pub(crate) max_send_queue: usize,
    /// The transport holds bytes: nothing may be written past it.
    pub(crate) busy: Cell<bool>,
    /// Something was sent in this turn already.
    pub(crate) turn: Cell<bool>,
    /// Inside `buffer_updated`, whose end is the end of a turn.
    reading: Cell<bool>,
    /// The socket has taken bytes since the read began: it had no error then.
    pub(crate) has_written: Cell<bool>,
    /// Big frames are coming: more is read at once.
    reads_big: Cell<bool>,
    /// Reasons why the transport is not to read: bits of [`Hold`].
    holds: Cell<u8>,
    /// The transport was told so.
    is_stopped: Cell<bool>,
    /// Bytes that were read and not looked at yet.
    deferred: Guarded<VecDeque<Vec<u8>>>,
    /// They are about to be looked at: what is read meanwhile goes behind them.
    reads_on: Cell<bool>,
    put_off_loss: Guarded<PutOffLoss>,
    /// What `async def` handlers work on at the moment, in bytes.
    handling: Cell<usize>,
    /// Data may be sent: no close frame has left or come.
    pub(crate) open: Cell<bool>,
    /// Received messages are still wanted.
    delivering: Cell<bool>,
    /// They are counted and dropped until they are wanted again.
    muted: Cell<bool>,
    /// But for publications that follow in order what was delivered.
    follows: Cell<bool>,
    /// Called with the connection for each of those that the library does not ask for itself.
    on_stray: Guarded<Option<Py<PyAny>>>,
    /// Biggest message of a connection that is not muted.
    max_message_size: usize,
    messages_received: Cell<u64>,
    pub(crate) lost: Cell<bool>,
    /// The socket takes nothing any more; the transport is about to find out.
    pub(crate) broken: Cell<bool>,
    /// The owner knows that the connection is ending.
    closing_told: Cell<bool>,
    /// Close the transport once all is written.
    close_when_written: Cell<bool>,
    /// What the broadcaster knows of it.
    pub(crate) standing: Standing,
    /// Bytes have arrived since the heartbeat last asked.
    active: Cell<bool>,
    round_trips: RoundTrips,
    latest_pong: Guarded<Option<Vec<u8>>>,
    received_close: Guarded<Option<CloseInfo>>,
    sent_close: Guarded<Option<CloseInfo>>,
    initiator: Cell<&'static str>,
    fault: Guarded<Option<(u16, String)>>,
    pub(crate) bytes_sent: Cell<u64>,
    pub(crate) expected_payload: Cell<usize>,
}

/// A connection after its opening handshake.
#[pyclass(frozen, subclass, module = "websocket_utils._core")]
pub(crate) struct Connection {
    state: LoopBound<State>,
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
        let waiter = self.create_future(py)?;
        state.drain_waiters.lock()?.push(waiter.clone().unbind());
        Ok(Some(waiter))
    }

    /// The awaitable of this connection, made once.
    fn drain(object: &Bound<'_, Self>, state: &State) -> PyResult<Py<Drain>> {
        let py = object.py();
        let mut drain = state.drain.lock()?;
        if let Some(drain) = &*drain {
            return Ok(drain.clone_ref(py));
        }
        let made = Py::new(py, Drain::new(object.clone().unbind()))?;
        if !state.lost.get() {
            *drain = Some(made.clone_ref(py));
        }
        Ok(made)
    }

    /// Sends one message; returns what knows how it ends.
    #[inline]
    fn send(object: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<Py<Sent>> {
        let state = object.get().state()?;
        let number = outgoing::send(state, object.as_any(), message, compress, None)?;
        state.given.lock()?.give(object, &state.fates, number)
    }

    /// Sends a request, or an answer.
    fn send_enveloped(object: &Bound<'_, Self>, message: &Bound<'_, PyAny>, head: Head<'_>) -> PyResult<()> {
        if !is_kind(head.kind) {
            return Err(PyValueError::new_err("a kind is 1 to 256 bytes without a line feed"));
        }
        outgoing::send(object.get().state()?, object.as_any(), message, None, Some(head)).map(drop)
    }

    /// Writes what waits for the end of the turn.
    pub(crate) fn write_now(object: &Bound<'_, Self>) -> PyResult<()> {
        let state = object.get().state()?;
        if state.busy.get() {
            return Ok(());
        }
        state.contain(object.as_any(), State::flush)
    }

    pub(crate) fn create_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.state()?.create_future.bind(py).call0()
    }

    /// Forgets futures of those that were cancelled while they waited.
    #[cold]
    pub(crate) fn forget_done_waiters(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state()?;
        let waiters = std::mem::take(&mut *state.drain_waiters.lock()?);
        let waiting = retain_waiting(py, waiters)?;
        state.drain_waiters.lock()?.extend(waiting);
        Ok(())
    }
}

impl State {
    /// Whether what is published now could not leave at once.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.standing.lagging.get() || self.busy.get()
    }

    /// Queues a range of the broadcast log: one frame, which is compressed or is not. Returns whether it is the first since
    /// the last flush: the broadcaster has to list the connection.
    #[inline]
    pub(crate) fn queue_log(&self, range: LogRange, is_compressed: bool) -> PyResult<bool> {
        self.outbox.lock()?.push_log(range);
        if is_compressed {
            self.has_peer_moved_on.set(true);
        }
        Ok(!self.standing.listed.replace(true))
    }

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
    pub(crate) fn begin_turn(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        // The end of a read is the end of its turn; a connection that is gone has nothing to flush.
        if self.turn.replace(true) || self.reading.get() || self.lost.get() {
            return Ok(());
        }
        let py = object.py();
        let mut end_turn = self.end_turn.lock()?;
        if end_turn.is_none() {
            *end_turn = Some(object.getattr(intern!(py, "end_turn"))?.unbind());
        }
        self.call_soon.call1(py, (&*end_turn,))?;
        Ok(())
    }

    /// Writes all that the socket takes, and ends the transport when that was asked for.
    pub(crate) fn flush(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        outgoing::write(self, object)?;
        if !self.busy.get() && self.latest_pong.read()?.is_some() {
            self.queue_latest_pong()?;
            outgoing::write(self, object)?;
        }
        self.release_log(object.py())?;
        if self.close_when_written.get() && !self.lost.get() && self.outbox.read()?.queued() == 0 {
            self.close_when_written.set(false);
            self.end_transport(object.py())?;
        }
        Ok(())
    }

    /// Has the broadcaster go on when this connection was behind and wants nothing of the log any more: nobody may publish
    /// for long.
    fn release_log(&self, py: Python<'_>) -> PyResult<()> {
        if self.standing.lagging.get()
            && (!self.busy.get() || self.lost.get())
            && self.outbox.read()?.oldest_log_position().is_none()
            && let Some(broadcaster) = &self.broadcaster
        {
            Broadcaster::schedule_flush(broadcaster.bind(py))?;
        }
        Ok(())
    }

    /// Nothing leaves any more: what is queued is lost, and the fate of every message is decided.
    fn end_sending(&self, py: Python<'_>) -> PyResult<()> {
        {
            let mut outbox = self.outbox.lock()?;
            self.fates.end(outbox.messages(), outbox.has_begun_message());
            outbox.clear();
        }
        self.standing.clear()?;
        self.fates.connection.lock()?.take();
        self.fates.wake(py)
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
}
