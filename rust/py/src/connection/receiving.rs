//! From the bytes of one read to messages, pongs and the close handshake.

use pyo3::intern;
use pyo3::prelude::*;
use websocket_utils_core::close::CloseCode;
use websocket_utils_core::connection::{Event, MessageKind, Role};
use websocket_utils_core::encoder::append_frame;
use websocket_utils_core::error::ProtocolError;
use websocket_utils_core::header::header_len;
use websocket_utils_core::opcode::Opcode;

use super::{Connection, Hold, State};
use crate::codec::WireFormat;
use crate::errors::CloseInfo;
use crate::inbox::Taken;
use crate::{scratch, socket};

/// Payload bytes of a frame from which on more than usual is read at once.
const BIG_FRAME: u64 = 32 * 1024;

/// What a running handler takes besides its message: a coroutine, its frame and a task.
const HANDLER_BYTES: usize = 2 * 1024;

/// What one event asks for, without its borrow of the read buffer.
enum Next {
    Nothing,
    Deliver(Taken),
    /// A message on a muted connection that the library does not ask for.
    Stray,
    Ping(Vec<u8>),
    /// The pong that was awaited, and the nanoseconds it took.
    Pong(u64),
    Close(Option<CloseInfo>),
    Fail(ProtocolError),
}

impl State {
    /// All that one read brought, or as much of it as is for one turn.
    pub(super) fn read(&self, object: &Bound<'_, PyAny>, mut input: &mut [u8]) -> PyResult<()> {
        let py = object.py();
        let inbox = self.inbox.get().state()?;
        let positions = self.positions()?;
        let mut protocol = self.protocol.lock()?;
        let mut budget = self.work_budget();
        loop {
            if budget == 0 && !input.is_empty() {
                drop(protocol);
                return self.defer(object, input);
            }
            let next = match protocol.next_event(&mut input) {
                // The hot path: message after message into the queue, with nothing let go and taken again.
                Ok(Some(Event::Message { kind, payload })) if self.delivers() => {
                    self.count_received();
                    budget = budget.saturating_sub(payload.len());
                    let taken = match positions {
                        None => inbox.take(py, payload, self.format_of(kind))?,
                        Some(positions) => Self::take_placed(py, positions, inbox, payload, self.format_of(kind))?,
                    };
                    match taken {
                        Taken::Queued | Taken::Dropped => continue,
                        taken => Next::Deliver(taken),
                    }
                }
                outcome => {
                    if let Ok(Some(Event::Message { payload, .. })) = &outcome {
                        budget = budget.saturating_sub(payload.len());
                    }
                    self.sort(py, &outcome)?
                }
            };
            // Python is called with the protocol free: it may send, close, or feed back.
            drop(protocol);
            match next {
                Next::Nothing => return Ok(()),
                next => self.act(object, next)?,
            }
            protocol = self.protocol.lock()?;
        }
    }

    /// The format of a received message: text is JSON, and what binary is was agreed with the subprotocol.
    #[inline]
    const fn format_of(&self, kind: MessageKind) -> WireFormat {
        match kind {
            MessageKind::Text => WireFormat::JSON,
            MessageKind::Binary => self.format.binary(),
        }
    }

    /// Takes out of an event what is needed of the read buffer, so that the protocol is free when Python is called.
    #[inline]
    fn sort(&self, py: Python<'_>, outcome: &Result<Option<Event<'_>>, ProtocolError>) -> PyResult<Next> {
        Ok(match outcome {
            Ok(Some(Event::Message { kind, payload })) => {
                // It came after we closed, or nobody listens to this connection now but for the library itself.
                self.count_received();
                if !self.delivering.get() {
                    return Ok(Next::Deliver(Taken::Dropped));
                }
                match self.take_muted(py, payload, self.format_of(*kind))? {
                    Taken::Dropped => Next::Stray,
                    taken => Next::Deliver(taken),
                }
            }
            Ok(None) => Next::Nothing,
            Ok(Some(Event::Ping(payload))) => Next::Ping(payload.to_vec()),
            // One that is not awaited is a sign of life, which every read is.
            Ok(Some(Event::Pong(payload))) => {
                self.round_trips.end(payload)?.map_or(Next::Deliver(Taken::Dropped), Next::Pong)
            }
            Ok(Some(Event::Close(frame))) => {
                Next::Close(frame.as_ref().map(|frame| (frame.code.as_u16(), frame.reason.to_owned())))
            }
            Err(error) => Next::Fail(*error),
        })
    }

    #[inline]
    fn act(&self, object: &Bound<'_, PyAny>, next: Next) -> PyResult<()> {
        match next {
            Next::Nothing => Ok(()),
            Next::Deliver(taken) => self.deliver(object, taken),
            Next::Stray => self.tell_stray(object),
            Next::Ping(payload) => self.answer_ping(payload),
            Next::Pong(elapsed) => self.record_round_trip(object.py(), elapsed),
            Next::Close(info) => self.handle_close(object, info),
            Next::Fail(error) => self.fail(object, error.close_code(), &error.to_string()),
        }
    }

    #[inline]
    pub(super) fn deliver(&self, object: &Bound<'_, PyAny>, taken: Taken) -> PyResult<()> {
        let py = object.py();
        match taken {
            Taken::Queued | Taken::Dropped => Ok(()),
            Taken::Call(callbacks, message, size) => {
                self.inbox.get().state()?.call(py, object, callbacks.bind(py), message.bind(py), size)
            }
            Taken::Looked(looked) => {
                let inbox = self.inbox.get().state()?;
                // Who was asked may have ended the connection.
                if inbox.ask(py, object, &looked)? && self.delivering.get() {
                    inbox.go_on(py, object, &looked)?;
                }
                Ok(())
            }
            Taken::Fault(error) => self.inbox.get().state()?.report(py, error),
            Taken::Broken(broken) => self.deliver_broken(object, &broken),
            Taken::Malformed => self.fail_malformed(object),
        }
    }

    /// A message came on a muted connection, and is none that the library asks for.
    #[cold]
    fn tell_stray(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        let Some(on_stray) = self.on_stray.read()?.as_ref().map(|one| one.clone_ref(py)) else { return Ok(()) };
        match on_stray.call1(py, (object,)) {
            Ok(_) => Ok(()),
            Err(error) => self.inbox.get().state()?.report(py, error),
        }
    }

    /// An error that came together with data is told of once, and the transport reads on: it is looked for here. The
    /// transport ends at the end of the turn, when it has read what came before the error.
    fn look_for_error(&self, py: Python<'_>, was_broken: bool) -> PyResult<()> {
        let descriptor = self.watched_descriptor.get();
        // An error that came with this read's data would have failed a write behind it.
        if descriptor < 0 || (self.has_written.get() && !self.broken.get()) {
            return Ok(());
        }
        if self.broken.get() != was_broken {
            return self.watch_anew(py);
        }
        if socket::take_error(descriptor)
            && let Some(transport) = &*self.transport.read()?
        {
            self.watched_descriptor.set(-1);
            self.call_soon.call1(py, (transport.getattr(py, intern!(py, "abort"))?,))?;
        }
        Ok(())
    }

    /// An answer that failed inside a read has taken the error from the socket. A watch that ended with the error begins
    /// anew, and finds what is left to read and then the end.
    #[cold]
    fn watch_anew(&self, py: Python<'_>) -> PyResult<()> {
        let Some(transport) = self.transport.read()?.as_ref().map(|one| one.clone_ref(py)) else { return Ok(()) };
        let transport = transport.bind(py);
        // One that is held watches anew when it is let go.
        if !self.is_stopped.get() && !transport.call_method0(intern!(py, "is_closing"))?.is_truthy()? {
            transport.call_method0(intern!(py, "pause_reading"))?;
            transport.call_method0(intern!(py, "resume_reading"))?;
        }
        Ok(())
    }

    /// Answers a ping (RFC 6455 section 5.5.2); over the queue's bound only the latest is kept (section 5.5.3).
    pub(super) fn answer_ping(&self, payload: Vec<u8>) -> PyResult<()> {
        if !self.open.get() && !self.waits_for_close()? {
            return Ok(());
        }
        let mut outbox = self.outbox.lock()?;
        let size = header_len(self.role == Role::Client, payload.len()) + payload.len();
        let queued = outbox.queued();
        // One frame always fits an empty queue, as with messages.
        if queued > 0 && queued + size > self.max_send_queue {
            *self.latest_pong.lock()? = Some(payload);
        } else {
            // One that still waits for room answers an older ping: it would come behind this one.
            *self.latest_pong.lock()? = None;
            append_frame(&mut outbox.own, Opcode::Pong, true, &payload, self.key()?);
            outbox.commit_own();
        }
        Ok(())
    }

    /// Our close frame has left and the peer's is awaited: pings are still answered, a close frame forbids only data
    /// (RFC 6455 sections 5.5.1 and 5.5.2).
    #[cold]
    fn waits_for_close(&self) -> PyResult<bool> {
        Ok(!self.broken.get()
            && self.sent_close.read()?.is_some()
            && self.received_close.read()?.is_none()
            && self.fault.read()?.is_none())
    }

    /// Whether messages are wanted and more of them may come: else nothing that a slow reader does holds reading.
    fn may_hold(&self) -> PyResult<bool> {
        Ok((self.delivers() || self.is_following())
            && !self.broken.get()
            && !self.lost.get()
            && self.received_close.read()?.is_none())
    }

    /// An `async def` handler has begun to work on a message.
    pub(super) fn begin_handling(&self, object: &Bound<'_, PyAny>, nbytes: usize) -> PyResult<()> {
        self.handling.set(self.handling.get() + nbytes + HANDLER_BYTES);
        if self.handling.get() > self.inbox.get().state()?.limit() && self.may_hold()? {
            self.hold(object, Hold::Handlers)?;
        }
        Ok(())
    }

    /// It is done.
    pub(super) fn end_handling(&self, py: Python<'_>, nbytes: usize) -> PyResult<()> {
        self.handling.set(self.handling.get().saturating_sub(nbytes + HANDLER_BYTES));
        if self.handling.get() <= self.inbox.get().state()?.limit() / 2 {
            self.release(py, Hold::Handlers)?;
        }
        Ok(())
    }

    /// Queues the pong that had to wait for room.
    pub(crate) fn queue_latest_pong(&self) -> PyResult<()> {
        let payload = self.latest_pong.lock()?.take();
        match payload {
            Some(payload) => self.answer_ping(payload),
            None => Ok(()),
        }
    }

    /// Runs one step and keeps what goes wrong away from the event loop.
    pub(crate) fn contain(
        &self,
        object: &Bound<'_, PyAny>,
        step: impl FnOnce(&Self, &Bound<'_, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let Err(error) = step(self, object) else { return Ok(()) };
        // Report first: failing the connection may raise for the same reason.
        self.inbox.get().state()?.report(object.py(), error)?;
        if let Err(error) = self.fail(object, CloseCode::INTERNAL_ERROR, "internal error") {
            self.inbox.get().state()?.report(object.py(), error)?;
        }
        Ok(())
    }
}

impl Connection {
    /// All that one read brought.
    pub(super) fn take_bytes(object: &Bound<'_, Self>, input: &mut [u8]) -> PyResult<()> {
        let state = object.get().state()?;
        if state.is_put_behind(input)? {
            return Ok(());
        }
        let filled_usual = input.len() >= scratch::USUAL_BYTES;
        Self::take_in(object, state, |state, object| state.read(object, input))?;
        // Ends with the first read that is small again, wherever that ended.
        let reads_big = state.protocol.read()?.frame_size() >= BIG_FRAME || state.reads_big.get() && filled_usual;
        state.reads_big.set(reads_big);
        Ok(())
    }

    /// One read: a turn of its own, at whose end all answers leave together.
    pub(super) fn take_in(
        object: &Bound<'_, Self>,
        state: &State,
        step: impl FnOnce(&State, &Bound<'_, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = object.py();
        state.inbox.get().state()?.begin_read()?;
        state.active.set(true);
        state.reading.set(true);
        state.turn.set(false);
        state.has_written.set(false);
        state.round_trips.begin_read();
        let was_broken = state.broken.get();
        let outer = state.begin_placing()?;
        let outcome = state.contain(object.as_any(), step);
        state.end_placing(outer)?;
        state.reading.set(false);
        state.turn.set(false);
        outcome?;
        let connection = object;
        state.contain(object.as_any(), |state, object| {
            // What a big message took goes back at once: an idle connection has no later moment to do it.
            state.protocol.lock()?.release_memory();
            // A full inbox pauses reading while messages are wanted. At the end of a connection what is read is the
            // peer's close frame or its end of file, which must not wait for a slow reader.
            let may_pause = state.may_hold()?;
            state.inbox.get().state()?.end_read(py, may_pause.then_some(connection))?;
            if state.outbox.read()?.queued() > 0 {
                state.flush(object)?;
            }
            state.look_for_error(py, was_broken)
        })
    }
}
