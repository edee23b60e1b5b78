//! Broadcast: a message is encoded once for each wire format in use, compressed once for all who take it so, and appended
//! to the log of each; connections hold ranges of one log; one flush a turn writes each connection's range with one call.
//!
//! # Rules
//!
//! - Publishing never waits for a client and never writes by itself unless [`FLUSH_BYTES`] are unflushed.
//! - A connection that can't take more keeps its ranges; the others are not touched by it.
//! - A connection more than `max_lag` behind is reported to its owner, which ends it.
//! - A connection that waits for little of what was published holds the log no longer than that either: it gets a copy.
//! - A compressed frame refers to nothing before it: it means the same to every peer, whatever it has inflated until then.
//! - The log is borrowed for the length of a flush, also while the GIL is released: calls from other threads are refused
//!   by [`LoopBound`], so nothing changes under the kernel's eyes.

mod audience;
mod python;

use std::cell::Cell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::RawFd;

use pyo3::intern;
use pyo3::prelude::*;
use websocket_utils_core::deflate::Agreement;
use websocket_utils_core::encoder::append_compressed_frame;
use websocket_utils_core::log::Log;

pub(crate) use self::audience::Variant;
use self::audience::{Audience, FORMATS, VARIANTS};
use crate::codec::WireFormat;
use crate::compression::{self, with_compressed_buffer};
use crate::connection::{Connection, LogQueued, State as ConnectionState};
use crate::loop_bound::{Guarded, LoopBound};
use crate::outgoing::{PlainFrame, append_message, payload_len};
use crate::socket::{self, Written};

pyo3::import_exception!(websocket_utils.exceptions, EncodeError);

/// Unflushed bytes of one log at which publishing flushes by itself: a loop that never ends its turn still sends,
/// and what is written is still in the cache it was encoded in.
const FLUSH_BYTES: usize = 128 * 1024;

/// Connections from which on a flush releases the GIL: some 60 us of system calls, above which another thread's wish to
/// run outweighs the risk that it keeps the GIL for a whole switch interval (5 ms).
const RELEASE_GIL_FROM: usize = 64;

/// Memory for one encoded message that is kept for the next; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

struct State {
    call_soon: Py<PyAny>,
    /// Called with (connection, bytes) for each connection over `max_lag`.
    on_lag: Py<PyAny>,
    /// Called with the error of a message that one codec in use has no form for, while another has.
    on_fault: Py<PyAny>,
    max_lag: usize,
    /// Window of the compressor: who agreed to less is sent plain frames.
    window_bits: u8,
    /// Bytes of payload from which on a message is compressed unless its sender says otherwise.
    compression_threshold: usize,
    logs: [Guarded<Log>; VARIANTS],
    everyone: Guarded<Audience>,
    channels: Guarded<HashMap<String, Audience>>,
    /// Connections with something queued since the last flush.
    listed: Guarded<Vec<Py<Connection>>>,
    /// Connections that kept ranges of a log after a flush.
    lagging: Guarded<Vec<Py<Connection>>>,
    /// The frame of the message under way for each log; the last one's size is the guess for the next.
    frames: Guarded<[Vec<u8>; VARIANTS]>,
    /// The largest frame of each log that was appended since nobody was behind, if it is over `max_lag`.
    oversized: [Cell<usize>; VARIANTS],
    flush_method: Guarded<Option<Py<PyAny>>>,
    flushing: Cell<bool>,
    scheduled: Cell<bool>,
    unflushed: Cell<usize>,
    published: Cell<u64>,
    deliveries: Cell<u64>,
    bytes: Cell<u64>,
}

impl State {
    /// Makes the compressed frame of a format out of its plain one, if that is wanted and makes it smaller.
    fn compress(&self, frames: &mut [Vec<u8>; VARIANTS], format: WireFormat, compress: Option<bool>) -> bool {
        let compressed = Variant::compressed(format).place();
        let (before, behind) = frames.split_at_mut(compressed);
        let plain = PlainFrame::new(&before[Variant::plain(format).place()]);
        let frame = &mut behind[0];
        frame.clear();
        compression::is_wanted(compress, plain.payload.len(), self.compression_threshold)
            && with_compressed_buffer(|buffer| {
                let pays = compression::compress_alone(self.window_bits, plain.payload, buffer);
                if pays {
                    append_compressed_frame(frame, plain.opcode, buffer, None);
                }
                pays
            })
    }

    /// Appends `frame` to the log at `place` and queues it for those of `audience` who read from it; returns how many.
    fn queue(
        &self,
        py: Python<'_>,
        audience: &Audience,
        place: usize,
        frame: &[u8],
        payload: usize,
        is_compressed: bool,
    ) -> PyResult<usize> {
        let members = &audience.members[place];
        if members.is_empty() {
            return Ok(0);
        }
        let range = self.logs[place].lock()?.append(frame);
        let mut listed = self.listed.lock()?;
        let mut reached = 0;
        for member in members {
            match member.get().queue_log(range, is_compressed)? {
                LogQueued::No => continue,
                LogQueued::First => listed.push(member.clone_ref(py)),
                LogQueued::Again => {}
            }
            reached += 1;
        }
        self.unflushed.set(self.unflushed.get() + frame.len());
        self.bytes.set(self.bytes.get() + (payload * reached) as u64);
        if frame.len() > self.max_lag {
            self.oversized[place].set(self.oversized[place].get().max(frame.len()));
        }
        Ok(reached)
    }
}

/// The logs of a server, its connections and who is subscribed to what.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Broadcaster {
    state: LoopBound<State>,
}

impl Broadcaster {
    pub(crate) fn log(&self, variant: Variant) -> PyResult<&Guarded<Log>> {
        Ok(&self.state.get()?.logs[variant.place()])
    }

    /// The log for a connection: a compressed one if its peer's window reaches as far back as ours.
    pub(crate) fn variant(&self, format: WireFormat, agreement: Option<Agreement>) -> PyResult<Variant> {
        let window_bits = self.state.get()?.window_bits;
        Ok(match agreement {
            Some(agreement) if agreement.send_window_bits >= window_bits => Variant::compressed(format),
            _ => Variant::plain(format),
        })
    }

    fn leave(&self, connection: &Py<Connection>, channel: &str) -> PyResult<bool> {
        let variant = connection.get().state()?.variant;
        let mut channels = self.state.get()?.channels.lock()?;
        let Some(audience) = channels.get_mut(channel) else { return Ok(false) };
        let removed = audience.remove(connection, variant);
        if audience.is_empty() {
            channels.remove(channel);
        }
        Ok(removed)
    }

    /// Appends `message` to each log in use and queues it for `audience`.
    fn publish_to(
        slf: &Bound<'_, Self>,
        state: &State,
        audience: &Audience,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<usize> {
        let py = slf.py();
        let mut frames = state.frames.lock()?;
        let mut reached = 0;
        let mut is_compressed = [false; FORMATS.len()];
        let mut is_encoded = [false; FORMATS.len()];
        let mut refusal = None;
        // All are encoded before any is queued. A message that one codec can't hold reaches those who speak another: which
        // one a client chose must not keep it from the others.
        for (index, (format, is_compressed)) in FORMATS.into_iter().zip(&mut is_compressed).enumerate() {
            let (plain, compressed) = (Variant::plain(format).place(), Variant::compressed(format).place());
            let has_compressed = !audience.members[compressed].is_empty();
            if audience.members[plain].is_empty() && !has_compressed {
                continue;
            }
            let frame = &mut frames[plain];
            let expected_payload = if frame.is_empty() { 0 } else { payload_len(frame.len(), false) };
            frame.clear();
            match append_message(py, message, format, None, expected_payload, frame) {
                Ok(()) => is_encoded[index] = true,
                Err(error) if error.is_instance_of::<EncodeError>(py) => {
                    frame.clear();
                    refusal = refusal.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if has_compressed {
                *is_compressed = state.compress(&mut frames, format, compress);
            }
        }
        if let (Some(error), false) = (&refusal, is_encoded.contains(&true)) {
            return Err(error.clone_ref(py));
        }
        for (index, (format, is_compressed)) in FORMATS.into_iter().zip(is_compressed).enumerate() {
            let plain = Variant::plain(format).place();
            let compressed = Variant::compressed(format).place();
            if !is_encoded[index] {
                continue;
            }
            let payload = payload_len(frames[plain].len(), false);
            reached += state.queue(py, audience, plain, &frames[plain], payload, false)?;
            let frame = &frames[if is_compressed { compressed } else { plain }];
            reached += state.queue(py, audience, compressed, frame, payload, is_compressed)?;
            for place in [plain, compressed] {
                if frames[place].capacity() > KEPT_CAPACITY {
                    // One huge message must not pin its size for ever.
                    frames[place] = Vec::new();
                }
            }
        }
        drop(frames);
        if let Some(error) = refusal {
            state.on_fault.call1(py, (error,))?;
        }
        state.published.set(state.published.get() + 1);
        state.deliveries.set(state.deliveries.get() + reached as u64);
        Ok(reached)
    }

    fn after_publish(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        if state.unflushed.get() >= FLUSH_BYTES {
            return Self::flush(slf, state);
        }
        if state.unflushed.get() > 0 { Self::schedule_flush(slf) } else { Ok(()) }
    }

    /// Has the loop flush at the end of this turn.
    pub(crate) fn schedule_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state.get()?;
        if state.scheduled.replace(true) {
            return Ok(());
        }
        let py = slf.py();
        let mut method = state.flush_method.lock()?;
        if method.is_none() {
            *method = Some(slf.getattr(intern!(py, "flush"))?.unbind());
        }
        state.call_soon.call1(py, (&*method,))?;
        Ok(())
    }

    /// Writes every listed connection's bytes, then frees what nobody wants any more.
    fn flush(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        // Whoever a transport calls may publish, a handler of its log for one: what that queues is for the next flush.
        if state.flushing.replace(true) {
            return Self::schedule_flush(slf);
        }
        let outcome = Self::write_listed(slf, state).and_then(|()| Self::settle_lagging(slf.py(), state));
        state.flushing.set(false);
        for (connection, queued) in outcome? {
            state.on_lag.call1(slf.py(), (connection, queued))?;
        }
        Ok(())
    }

    fn write_listed(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let py = slf.py();
        state.unflushed.set(0);
        let listed = std::mem::take(&mut *state.listed.lock()?);
        let written = match Self::write_directly(py, state, &listed) {
            Ok(written) => written,
            Err(error) => {
                // An encode hook has published so much that it is to be written, inside a send of one of these.
                state.listed.lock()?.extend(listed);
                Self::schedule_flush(slf)?;
                return Err(error);
            }
        };
        // What has left is taken note of before anybody is called: it must not leave twice.
        for (connection, written) in listed.iter().zip(written) {
            let target = connection.get().state()?;
            target.listed.set(false);
            // Blocked, failed, or not written directly: the connection's own way out deals with each.
            if let Some(Written::Bytes(count)) = written {
                let mut outbox = target.outbox.lock()?;
                outbox.advance(count);
                target.fates.note_written(outbox.messages());
            }
        }
        let mut outcome = Ok(());
        for connection in &listed {
            let target = connection.get().state()?;
            if target.outbox.read()?.queued() > 0 && !target.busy.get() {
                // What goes wrong with one is no concern of the others, nor of who publishes.
                outcome = outcome.and(target.contain(connection.bind(py).as_any(), ConnectionState::flush));
            }
            if target.outbox.read()?.queued() > 0 && !target.lagging.replace(true) {
                state.lagging.lock()?.push(connection.clone_ref(py));
            }
        }
        outcome
    }

    /// One `send(2)` for each connection that may be written directly; `None` for the others.
    fn write_directly(py: Python<'_>, state: &State, listed: &[Py<Connection>]) -> PyResult<Vec<Option<Written>>> {
        let [json, json_deflated, msgpack, msgpack_deflated, protobuf, protobuf_deflated] = &state.logs;
        let logs = [
            json.read()?,
            json_deflated.read()?,
            msgpack.read()?,
            msgpack_deflated.read()?,
            protobuf.read()?,
            protobuf_deflated.read()?,
        ];
        let mut outboxes = Vec::with_capacity(listed.len());
        for connection in listed {
            let target = connection.get().state()?;
            let direct = !target.busy.get() && !target.lost.get() && target.descriptor.get() >= 0;
            outboxes.push(if direct {
                Some((target.descriptor.get(), target.variant.place(), target.outbox.read()?))
            } else {
                None
            });
        }
        let mut slices = Vec::with_capacity(listed.len());
        let mut jobs: Vec<Option<(RawFd, usize, usize)>> = Vec::with_capacity(listed.len());
        for outbox in &outboxes {
            jobs.push(outbox.as_ref().map(|(descriptor, log, outbox)| {
                let mut part = Vec::with_capacity(1);
                outbox.front(Some(&logs[*log]), &mut part);
                let start = slices.len();
                slices.append(&mut part);
                (*descriptor, start, slices.len())
            }));
        }
        let write_all = |slices: &[IoSlice<'_>]| -> Vec<Option<Written>> {
            jobs.iter()
                .map(|job| {
                    let (descriptor, start, end) = (*job)?;
                    (start < end).then(|| socket::send(descriptor, &slices[start..end]))
                })
                .collect()
        };
        let slices = slices.as_slice();
        Ok(if listed.len() >= RELEASE_GIL_FROM { py.detach(|| write_all(slices)) } else { write_all(slices) })
    }

    /// Trims the logs to the oldest position still wanted; returns who is too far behind, and how far.
    fn settle_lagging(py: Python<'_>, state: &State) -> PyResult<Vec<(Py<Connection>, usize)>> {
        let lagging = std::mem::take(&mut *state.lagging.lock()?);
        let mut oldest = [0; VARIANTS];
        for (oldest, log) in oldest.iter_mut().zip(&state.logs) {
            *oldest = log.read()?.head();
        }
        let mut kept: Vec<Py<Connection>> = Vec::new();
        let mut too_far = Vec::new();
        for connection in lagging {
            let target = connection.get().state()?;
            let (position, queued) = {
                let outbox = target.outbox.read()?;
                (outbox.oldest_log_position(), outbox.queued())
            };
            let Some(position) = position else {
                target.lagging.set(false);
                continue;
            };
            let place = target.variant.place();
            let log = state.logs[place].read()?;
            // One message always fits, whatever its size: while it is on its way it is no lag.
            let most = state.max_lag + state.oversized[place].get();
            let behind = (log.head() - position) as usize;
            // Who takes some channels only has less queued than lies behind it in the log, and must not hold all of that.
            if queued <= most && behind > most && queued <= target.max_send_queue {
                target.outbox.lock()?.copy_log(&log);
                target.lagging.set(false);
                continue;
            }
            if behind.max(queued) > most {
                too_far.push((connection.clone_ref(py), behind.max(queued)));
            }
            oldest[place] = oldest[place].min(position);
            kept.push(connection);
        }
        // Queued since this flush began.
        for connection in &*state.listed.read()? {
            let target = connection.get().state()?;
            if let Some(position) = target.outbox.read()?.oldest_log_position() {
                let oldest = &mut oldest[target.variant.place()];
                *oldest = position.min(*oldest);
            }
        }
        for ((log, position), oversized) in state.logs.iter().zip(oldest).zip(&state.oversized) {
            let mut log = log.lock()?;
            log.trim(position);
            if position == log.head() {
                oversized.set(0);
            }
        }
        *state.lagging.lock()? = kept;
        Ok(too_far)
    }
}
