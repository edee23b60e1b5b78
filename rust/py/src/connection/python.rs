//! The Python face of a connection: what transports call, and what its owner calls.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::{Connection as Protocol, Role};
use websocket_utils_core::envelope::Head;
use websocket_utils_core::limits::Limits;

use super::compressing::Compression;
use super::liveness::RoundTrips;
use super::{Connection, Hold, State};
use crate::broadcast::{Broadcaster, Standing, Variant};
use crate::codec::WireFormat;
use crate::compression::{self, AgreementTuple};
use crate::fates::Fates;
use crate::inbox::Inbox;
use crate::loop_bound::{Guarded, LoopBound};
use crate::positions::Positions;
use crate::pull::Drain;
use crate::scratch;
use crate::sent::Sent;

#[pymethods]
impl Connection {
    /// Args as the transport seam knows them; `options` are limits in bytes.
    #[new]
    #[pyo3(signature = (
        *, is_client, format, inbox, owner, transport, event_loop, descriptor, watched_descriptor, transport_busy,
        max_message_size, max_send_queue, broadcaster=None, deflate=None, compression_threshold=1024, epoch=0, rtt=None,
        positions=None, sequenced=false, enveloped=false
    ))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "keyword-only in Python; one caller"
    )]
    fn py_new(
        py: Python<'_>,
        is_client: bool,
        format: &str,
        inbox: Py<Inbox>,
        owner: Py<PyAny>,
        transport: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        descriptor: RawFd,
        watched_descriptor: RawFd,
        transport_busy: bool,
        max_message_size: usize,
        max_send_queue: usize,
        broadcaster: Option<Py<Broadcaster>>,
        deflate: Option<AgreementTuple>,
        compression_threshold: usize,
        epoch: u64,
        rtt: Option<Py<PyAny>>,
        positions: Option<Py<Positions>>,
        sequenced: bool,
        enveloped: bool,
    ) -> PyResult<Self> {
        let role = if is_client { Role::Client } else { Role::Server };
        if is_client && sequenced {
            return Err(PyValueError::new_err("only a server's connections tell positions"));
        }
        let format = WireFormat::from_name(format)?;
        let limits = Limits { max_message_size, ..Limits::default() };
        let agreement = deflate.map(compression::agreement).transpose()?;
        let protocol = match agreement {
            Some(agreement) => Protocol::with_deflate(role, limits, agreement),
            None => Protocol::new(role, limits),
        };
        let variant = match &broadcaster {
            Some(broadcaster) => broadcaster.get().variant(format, sequenced, agreement)?,
            None => Variant::new(format, sequenced, false),
        };
        Ok(Self {
            state: LoopBound::new(State {
                role,
                format,
                protocol: Guarded::new(protocol),
                inbox,
                positions,
                owner: Guarded::new(Some(owner)),
                transport: Guarded::new(Some(transport)),
                call_soon: event_loop.getattr(intern!(py, "call_soon"))?.unbind(),
                create_future: event_loop.getattr(intern!(py, "create_future"))?.unbind(),
                end_turn: Guarded::default(),
                drain: Guarded::default(),
                drain_waiters: Guarded::default(),
                fates: Rc::new(Fates::new(epoch)),
                given: Guarded::default(),
                broadcaster,
                variant,
                escapes: variant.is_sequenced() || enveloped,
                compression: agreement.map(|agreed| Guarded::new(Compression::new(agreed, compression_threshold))),
                has_peer_moved_on: Cell::new(false),
                descriptor: Cell::new(descriptor),
                watched_descriptor: Cell::new(watched_descriptor),
                outbox: Guarded::default(),
                max_send_queue,
                busy: Cell::new(transport_busy),
                turn: Cell::new(false),
                reading: Cell::new(false),
                has_written: Cell::new(false),
                reads_big: Cell::new(false),
                holds: Cell::new(0),
                is_stopped: Cell::new(false),
                deferred: Guarded::default(),
                reads_on: Cell::new(false),
                put_off_loss: Guarded::default(),
                handling: Cell::new(0),
                open: Cell::new(true),
                delivering: Cell::new(true),
                muted: Cell::new(false),
                on_stray: Guarded::default(),
                max_message_size,
                follows: Cell::new(false),
                messages_received: Cell::new(0),
                lost: Cell::new(false),
                broken: Cell::new(false),
                closing_told: Cell::new(false),
                close_when_written: Cell::new(false),
                standing: Standing::default(),
                active: Cell::new(true),
                round_trips: RoundTrips::new(rtt),
                latest_pong: Guarded::default(),
                received_close: Guarded::default(),
                sent_close: Guarded::default(),
                initiator: Cell::new("transport"),
                fault: Guarded::default(),
                bytes_sent: Cell::new(0),
                expected_payload: Cell::new(0),
            }),
        })
    }

    // --- what a transport calls (asyncio.BufferedProtocol) ---

    /// True: aiofastnet asks instead of looking at the class.
    #[pyo3(name = "is_buffered_protocol")]
    #[expect(clippy::unused_self, reason = "transports call it on the object")]
    fn py_is_buffered_protocol(&self) -> bool {
        true
    }

    /// The thread's read buffer, lent until `buffer_updated` returns.
    #[pyo3(name = "get_buffer")]
    fn py_get_buffer(&self, py: Python<'_>, sizehint: isize) -> PyResult<Py<PyAny>> {
        // Transports pass -1 or a constant: the hint says nothing.
        let _ = sizehint;
        scratch::lend(py, self.state()?.reads_big.get())
    }

    /// Takes what the transport has just read into the lent buffer.
    #[pyo3(name = "buffer_updated")]
    fn py_buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        // SAFETY: the transport calls this right after reading into the lent view, before any other read of the thread.
        let input = unsafe { scratch::filled(slf.py(), nbytes)? };
        Self::take_bytes(slf, input)
    }

    /// Takes bytes that came behind the opening handshake, in the same read; `data` is copied.
    #[pyo3(name = "feed_bytes", signature = (data, /))]
    fn py_feed_bytes(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        Self::take_bytes(slf, &mut data.to_vec())
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
            state.fates.note_written(state.outbox.read()?.messages());
            state.flush(slf)?;
            state.fates.wake(slf.py())?;
            if state.busy.get() { Ok(()) } else { state.wake_drain_waiters(slf.py()) }
        })
    }

    /// End of file without a close frame, or behind it: the transport closes itself.
    #[pyo3(name = "eof_received")]
    #[expect(clippy::unused_self, reason = "transports call it on the object")]
    fn py_eof_received(&self) -> bool {
        false
    }

    /// A transport hands itself over; it was given to the constructor already.
    #[pyo3(name = "connection_made")]
    #[expect(clippy::unused_self, reason = "transports call it on the object")]
    fn py_connection_made(&self, transport: &Bound<'_, PyAny>) {
        let _ = transport;
    }

    /// The end: nothing is called afterwards, nothing is held.
    #[pyo3(name = "connection_lost", signature = (exc=None))]
    fn py_connection_lost(slf: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state()?;
        if state.lost.replace(true) {
            return Ok(());
        }
        state.open.set(false);
        state.descriptor.set(-1);
        state.watched_descriptor.set(-1);
        state.end_sending(py)?;
        state.drop_compressor()?;
        state.release_log(py)?;
        state.end_turn.lock()?.take();
        state.drain.lock()?.take();
        state.transport.lock()?.take();
        state.wake_drain_waiters(py)?;
        if !state.reads_on.get() {
            return state.tell_loss(slf, exc);
        }
        *state.put_off_loss.lock()? = Some(exc);
        Ok(())
    }

    /// Tells the transport to stop reading, if there is still a reason. The loop calls it at the end of a turn.
    #[pyo3(name = "settle_reading")]
    fn py_settle_reading(&self, py: Python<'_>) -> PyResult<()> {
        self.state()?.settle_reading(py)
    }

    /// Looks at more of what was read. The loop calls it in each turn until nothing waits.
    #[pyo3(name = "read_deferred")]
    fn py_read_deferred(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::read_deferred(slf)
    }

    // --- what the owner calls ---

    /// Sends one message; returns an awaitable that knows how it ends. `compress`: whether it leaves compressed; `None` from
    /// `compression_threshold` on. Without an agreement on compression it never does.
    #[pyo3(name = "send", signature = (message, /, *, compress=None))]
    fn py_send(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<Py<Sent>> {
        Self::send(slf, message, compress)
    }

    /// Sends a request with that number, and the seconds that are left to answer it, to a peer whose inbox takes envelopes.
    #[pyo3(name = "ask", signature = (message, number, within, kind, /))]
    fn py_ask(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, number: u64, within: f64, kind: &str) -> PyResult<()> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts end at the ends of u64")]
        let nanoseconds = (within * 1e9) as u64;
        Self::send_enveloped(slf, message, Head { number, within: Some(nanoseconds.max(1)), kind })
    }

    /// Sends the answer to the peer's request with that number.
    #[pyo3(name = "reply", signature = (message, number, kind, /))]
    fn py_reply(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, number: u64, kind: &str) -> PyResult<()> {
        Self::send_enveloped(slf, message, Head { number, within: None, kind })
    }

    /// Messages that were (accepted, written, dropped, unknown): those of the first that are in none of the others wait.
    #[pyo3(name = "fate_counters")]
    fn py_fate_counters(&self) -> PyResult<(u64, u64, u64, u64)> {
        Ok(self.state()?.fates.counters())
    }

    /// Waits until the transport holds nothing back.
    #[pyo3(name = "drain")]
    fn py_drain(slf: &Bound<'_, Self>) -> PyResult<Py<Drain>> {
        Self::drain(slf, slf.get().state()?)
    }

    /// Sends a ping with this payload (at most 125 bytes).
    #[pyo3(name = "ping", signature = (payload=b"".as_slice()))]
    fn py_ping(slf: &Bound<'_, Self>, payload: &[u8]) -> PyResult<()> {
        slf.get().state()?.ping(slf.as_any(), payload)
    }

    /// Whether the last ping is unanswered.
    #[getter]
    #[pyo3(name = "awaits_pong")]
    fn py_awaits_pong(&self) -> PyResult<bool> {
        Ok(self.state()?.round_trips.is_open())
    }

    /// Nanoseconds from the last ping that was answered to the read that brought its pong; 0 before.
    #[getter]
    #[pyo3(name = "last_rtt_ns")]
    fn py_last_rtt_ns(&self) -> PyResult<u64> {
        Ok(self.state()?.round_trips.last_ns())
    }

    /// Drops the messages that come, but for those that `Inbox.control` has a route for, which go there alone. The inbox
    /// counts none of them, and a full one does not hold their reading. `on_stray` is called with the connection in place
    /// of each that is dropped, and none over `max_message_size` is taken meanwhile. With `follows`, publications that
    /// follow in order what was delivered are delivered all the same, here and from another connection with the same
    /// positions, each once.
    #[pyo3(name = "mute", signature = (on_stray=None, max_message_size=None, *, follows=false))]
    fn py_mute(
        &self,
        py: Python<'_>,
        on_stray: Option<Py<PyAny>>,
        max_message_size: Option<usize>,
        follows: bool,
    ) -> PyResult<()> {
        let state = self.state()?;
        if let Some(size) = max_message_size {
            state.protocol.lock()?.set_max_message_size(size.min(state.max_message_size));
        }
        // Let go of behind the borrow: what it refers to may be freed with it.
        let before = std::mem::replace(&mut *state.on_stray.lock()?, on_stray);
        drop(before);
        state.follows.set(follows);
        state.mute(py)
    }

    /// Delivers the messages that come from now on.
    #[pyo3(name = "unmute")]
    fn py_unmute(&self) -> PyResult<()> {
        let state = self.state()?;
        state.protocol.lock()?.set_max_message_size(state.max_message_size);
        state.muted.set(false);
        let on_stray = state.on_stray.lock()?.take();
        drop(on_stray);
        Ok(())
    }

    /// Whether reading is held, for a reason of this side: silence says nothing then.
    #[getter]
    #[pyo3(name = "is_held")]
    fn py_is_held(&self) -> PyResult<bool> {
        Ok(self.state()?.is_held())
    }

    /// Whether the socket is broken; nothing is read, and the error stays.
    #[pyo3(name = "has_socket_error")]
    fn py_has_socket_error(&self, py: Python<'_>) -> PyResult<bool> {
        self.state()?.has_socket_error(py)
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
        state.end_sending(py)?;
        state.drop_deferred()?;
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
        state.release(py, Hold::Handlers)?;
        state.inbox.get().state()?.resume(py)
    }

    /// An `async def` handler has begun to work on a message of this many bytes: over the inbox's bound reading stops.
    #[pyo3(name = "begin_handling")]
    fn py_begin_handling(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        slf.get().state()?.begin_handling(slf.as_any(), nbytes)
    }

    /// It is done: under half of the bound reading goes on.
    #[pyo3(name = "end_handling")]
    fn py_end_handling(&self, py: Python<'_>, nbytes: usize) -> PyResult<()> {
        self.state()?.end_handling(py, nbytes)
    }

    /// Whether bytes have arrived since the last call. While reading is held we do not look: silence says nothing.
    #[pyo3(name = "take_activity")]
    fn py_take_activity(&self) -> PyResult<bool> {
        let state = self.state()?;
        Ok(state.active.replace(false) || state.is_held())
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

    /// Bytes of memory held for this connection: for messages under way in either direction, whether used or free. What
    /// a compressor or decompressor needs to remember earlier messages is not in it.
    #[getter]
    #[pyo3(name = "held_bytes")]
    fn py_held_bytes(&self) -> PyResult<usize> {
        let state = self.state()?;
        let backlog = state.standing.waiting_bytes()?;
        Ok(state.protocol.read()?.buffered() + state.outbox.read()?.capacity() + backlog)
    }

    /// (messages, bytes) accepted by `send`; bytes of payload, before compression.
    #[pyo3(name = "sent_counters")]
    fn py_sent_counters(&self) -> PyResult<(u64, u64)> {
        let state = self.state()?;
        Ok((state.fates.accepted(), state.bytes_sent.get()))
    }

    /// Messages that came on this connection and were wanted, those that were dropped as muted among them.
    #[getter]
    #[pyo3(name = "messages_received")]
    fn py_messages_received(&self) -> PyResult<u64> {
        Ok(self.state()?.messages_received.get())
    }

    /// The number that its owner gave this connection.
    #[getter]
    #[pyo3(name = "epoch")]
    fn py_epoch(&self) -> PyResult<u64> {
        Ok(self.state()?.fates.epoch)
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

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only Python references are read, each behind a borrow that may fail.
        let state = unsafe { self.state.get_for_gc() };
        state.traverse(&visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector found this object unreachable: nobody else uses it.
        let state = unsafe { self.state.get_for_gc() };
        state.clear();
    }
}
