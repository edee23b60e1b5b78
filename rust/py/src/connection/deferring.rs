//! Compressed input that is looked at in parts: few bytes can inflate to many, and the other connections of the loop must not
//! wait for all of them.
//!
//! What one turn inflates is bounded; the rest of the read waits, the transport is held, and each turn of the loop takes a part
//! until nothing waits. The end of the connection waits for that too: what came before it is delivered before it is told.

use pyo3::intern;
use pyo3::prelude::*;

use super::gate::Hold;
use super::{Connection, State};
use crate::scratch;

/// Inflated bytes after which a turn ends, at the next message: some 5 ms of zeros, and far more than one read of a feed.
const MOST_INFLATED: usize = 1024 * 1024;

/// The end of a connection, put off until its input is looked at: what `connection_lost` was given.
pub(super) type PutOffLoss = Option<Option<Py<PyAny>>>;

impl State {
    /// Payload bytes that one turn takes in: without compression they cost what they have cost their sender.
    #[inline]
    pub(super) fn work_budget(&self) -> usize {
        if self.compression.is_some() { MOST_INFLATED } else { usize::MAX }
    }

    /// The rest of a read is for the next turn.
    #[cold]
    pub(super) fn defer(&self, object: &Bound<'_, PyAny>, rest: &[u8]) -> PyResult<()> {
        self.deferred.lock()?.push_front(rest.to_vec());
        self.hold(object, Hold::Deferred)?;
        self.read_on_soon(object)
    }

    fn read_on_soon(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        if !self.reads_on.replace(true) {
            let read_on = object.getattr(intern!(object.py(), "read_deferred"))?;
            self.call_soon.call1(object.py(), (read_on,))?;
        }
        Ok(())
    }

    /// Bytes of a read that came while others wait go behind them; returns whether it was so.
    #[inline]
    pub(super) fn is_put_behind(&self, input: &[u8]) -> PyResult<bool> {
        if !self.reads_on.get() {
            return Ok(false);
        }
        let mut deferred = self.deferred.lock()?;
        match deferred.back_mut() {
            Some(last) if last.len() + input.len() <= scratch::USUAL_BYTES => last.extend_from_slice(input),
            _ => deferred.push_back(input.to_vec()),
        }
        Ok(true)
    }

    /// Nobody wants what waits.
    pub(super) fn drop_deferred(&self) -> PyResult<()> {
        self.deferred.lock()?.clear();
        Ok(())
    }
}

impl Connection {
    /// Looks at what waits, or at a part of it.
    pub(super) fn read_deferred(object: &Bound<'_, Self>) -> PyResult<()> {
        let state = object.get().state()?;
        state.reads_on.set(false);
        let part = state.deferred.lock()?.pop_front();
        if let Some(mut part) = part {
            Self::take_in(object, state, |state, object| state.read(object, &mut part))?;
        }
        if !state.deferred.read()?.is_empty() {
            return state.read_on_soon(object.as_any());
        }
        state.release(object.py(), Hold::Deferred)?;
        let loss = state.put_off_loss.lock()?.take();
        match loss {
            Some(error) => state.tell_loss(object, error),
            None => Ok(()),
        }
    }
}
