//! One flush a turn: each connection's bytes leave with one call, and the logs are cut to what is still wanted.

use pyo3::intern;
use pyo3::prelude::*;
use websocket_utils_core::log::Log;

use super::fan_out::Job;
use super::variant::VARIANTS;
use super::{Broadcaster, Logs, State};
use crate::connection::{Connection, State as ConnectionState};
use crate::socket::Written;

/// Unflushed bytes of one log at which publishing flushes by itself: a loop that never ends its turn still sends,
/// and what is written is still in the cache it was encoded in.
const FLUSH_BYTES: usize = 128 * 1024;

/// The same for each connection that something waits for: with many of them that each get a part, as with thousands of
/// channels, a write is to carry enough to be worth its system call.
const FLUSH_BYTES_OF_EACH: usize = 1024;

/// The most of it: the loop's turn is some milliseconds long by then.
const MOST_FLUSH_BYTES: usize = 1024 * 1024;

/// Connections from which on a flush releases the GIL: some 60 us of system calls, above which another thread's wish to
/// run outweighs the risk that it keeps the GIL for a whole switch interval (5 ms).
const RELEASE_GIL_FROM: usize = 64;

impl Broadcaster {
    pub(super) fn after_publish(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        if state.unflushed.get() >= FLUSH_BYTES {
            let each = state.listed.read()?.len() * FLUSH_BYTES_OF_EACH;
            if state.unflushed.get() >= each.clamp(FLUSH_BYTES, MOST_FLUSH_BYTES) {
                return Self::flush(slf, state);
            }
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
    pub(super) fn flush(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        // Whoever a transport calls may publish, a handler of its log for one: what that queues is for the next flush.
        if state.flushing.replace(true) {
            return Self::schedule_flush(slf);
        }
        let py = slf.py();
        let outcome = Self::write_listed(slf, state)
            .and_then(|()| Self::drain_backlogs(py, state))
            .and_then(|()| Self::settle_lagging(py, state));
        state.flushing.set(false);
        for (connection, queued) in outcome?.into_iter().chain(Self::take_too_far(state)?) {
            state.on_lag.call1(slf.py(), (connection, queued, "size"))?;
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
            target.standing.listed.set(false);
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
            if target.outbox.read()?.queued() == 0 && !target.busy.get() {
                if !target.standing.lagging.get() {
                    target.standing.reset();
                }
            } else if !target.standing.lagging.replace(true) {
                target.standing.begin();
                state.lagging.lock()?.push(connection.clone_ref(py));
            }
        }
        outcome
    }

    /// One `send(2)` for each connection that may be written directly; `None` for the others.
    fn write_directly(py: Python<'_>, state: &State, listed: &[Py<Connection>]) -> PyResult<Vec<Option<Written>>> {
        let logs = state.logs.read()?;
        let logs: &[Log; VARIANTS] = &logs.logs;
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
        let mut jobs = Vec::with_capacity(listed.len());
        for outbox in &outboxes {
            let start = slices.len();
            let mut descriptor = -1;
            if let Some((open, log, outbox)) = outbox {
                outbox.front(Some(&logs[*log]), &mut slices);
                descriptor = *open;
            }
            jobs.push(Job { descriptor, slices: start..slices.len() });
        }
        let fan_out = &state.fan_out;
        let (jobs, slices) = (jobs.as_slice(), slices.as_slice());
        Ok(if jobs.len() >= RELEASE_GIL_FROM {
            py.detach(|| fan_out.run(jobs, slices))
        } else {
            fan_out.run(jobs, slices)
        })
    }

    /// Trims the logs to the oldest position still wanted, and forgets who is blocked no more; returns who is too far behind
    /// in the log, and how far.
    fn settle_lagging(py: Python<'_>, state: &State) -> PyResult<Vec<(Py<Connection>, usize)>> {
        let lagging = std::mem::take(&mut *state.lagging.lock()?);
        let mut logs = state.logs.lock()?;
        let mut oldest = logs.logs.each_ref().map(Log::head);
        let mut kept: Vec<Py<Connection>> = Vec::new();
        let mut too_far = Vec::new();
        for connection in lagging {
            let target = connection.get().state()?;
            let (position, queued, published) = {
                let outbox = target.outbox.read()?;
                (outbox.oldest_log_position(), outbox.queued(), outbox.published())
            };
            let is_waiting = target.standing.waiting.read()?.is_some();
            if queued == 0 && !is_waiting && !(target.busy.get() && target.open.get()) {
                target.standing.lagging.set(false);
                target.standing.reset();
                continue;
            }
            let place = target.variant.place();
            let log = &logs.logs[place];
            // One message always fits, whatever its size: while it is on its way it is no lag.
            let most = target.standing.most(state.max_lag) + logs.oversized[place];
            let behind = position.map_or(0, |position| (log.head() - position) as usize);
            // Who takes some channels only has less queued than lies behind it in the log, and must not hold all of that.
            if queued <= most && behind > most && queued <= target.max_send_queue {
                target.outbox.lock()?.copy_log(log);
            } else {
                if behind.max(published) > most {
                    too_far.push((connection.clone_ref(py), behind.max(published)));
                }
                oldest[place] = oldest[place].min(position.unwrap_or(u64::MAX));
            }
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
        let Logs { logs, oversized } = &mut *logs;
        for ((log, position), oversized) in logs.iter_mut().zip(oldest).zip(oversized) {
            log.trim(position);
            if position == log.head() {
                *oversized = 0;
            }
        }
        // Some may have become blocked while transports were called.
        state.lagging.lock()?.extend(kept);
        Ok(too_far)
    }
}
