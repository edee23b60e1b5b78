//! Publications that say where they stand in their channel: checked before they are delivered.
//!
//! A payload that is a publication loses its header here. It is never one of the library's own messages: those stand in no
//! channel, so nobody looks for them in it.

use pyo3::prelude::*;
use websocket_utils_core::close::CloseCode;
use websocket_utils_core::positions::{Current, Outcome};

use super::State;
use crate::codec::WireFormat;
use crate::inbox::{self, Taken};
use crate::positions;

/// A publication that does not follow the last one here: that has to be told first.
pub(crate) struct Broken {
    payload: Vec<u8>,
    format: WireFormat,
}

impl State {
    /// The positions of the link; `None` on a connection whose peer sends none.
    #[inline]
    pub(super) fn positions(&self) -> PyResult<Option<&positions::State>> {
        self.positions.as_ref().map(|positions| positions.get().state()).transpose()
    }

    /// Takes one message off a connection whose publications have positions.
    #[inline(never)]
    pub(super) fn take_placed(
        py: Python<'_>,
        positions: &positions::State,
        inbox: &inbox::State,
        payload: &[u8],
        format: WireFormat,
    ) -> PyResult<Taken> {
        match positions.read(payload)? {
            Outcome::InOrder(payload) => inbox.take_publication(py, payload, format),
            Outcome::Bare(payload) => inbox.take(py, payload, format),
            Outcome::Broken(payload) => Ok(Taken::Broken(Box::new(Broken { payload: payload.to_vec(), format }))),
            Outcome::Dropped => Ok(Taken::Dropped),
            Outcome::Malformed => Ok(Taken::Malformed),
        }
    }

    /// Takes one message off a muted connection: the library's own go where they always go, and publications that follow
    /// in order are delivered where that was asked for.
    #[inline(never)]
    pub(super) fn take_muted(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        let inbox = self.inbox.get().state()?;
        let Some(positions) = self.positions()? else { return inbox.take_muted(py, payload, format) };
        match positions.follow(payload, self.follows.get())? {
            Outcome::InOrder(payload) | Outcome::Broken(payload) => inbox.take_publication(py, payload, format),
            Outcome::Bare(payload) => inbox.take_muted(py, payload, format),
            Outcome::Dropped => Ok(Taken::Dropped),
            Outcome::Malformed => Ok(Taken::Malformed),
        }
    }

    /// Tells what is missing, then delivers the publication behind it. Nothing may be borrowed.
    #[cold]
    pub(super) fn deliver_broken(&self, object: &Bound<'_, PyAny>, broken: &Broken) -> PyResult<()> {
        let py = object.py();
        let inbox = self.inbox.get().state()?;
        if let Some(positions) = self.positions()?
            && let Err(error) = positions.tell_gaps(py)
        {
            inbox.report(py, error)?;
        }
        // Who was told may have ended the connection.
        if !self.delivers() {
            return Ok(());
        }
        let taken = inbox.take_publication(py, &broken.payload, broken.format)?;
        self.deliver(object, taken)
    }

    /// Fails the connection: what comes behind such a payload can be placed nowhere.
    #[cold]
    pub(super) fn fail_malformed(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        self.fail(object, CloseCode::PROTOCOL_ERROR, "malformed position of a publication")
    }

    /// Begins a read, perhaps inside a handler that another one called: returns the publication which that has at hand.
    #[inline]
    pub(super) fn begin_placing(&self) -> PyResult<Option<Current>> {
        match self.positions()? {
            Some(positions) => positions.take_current(),
            None => Ok(None),
        }
    }

    /// Ends it: that publication is at hand again.
    #[inline]
    pub(super) fn end_placing(&self, outer: Option<Current>) -> PyResult<()> {
        match self.positions()? {
            Some(positions) => positions.restore(outer),
            None => Ok(()),
        }
    }
}
