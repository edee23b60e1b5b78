//! Messages that are the library's own business: answered inside the read that brings them, before anybody else is asked.

use std::cell::Cell;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::selecting::union_members;
use super::{State, Taken, count};
use crate::codec::{Decoder, Router, WireFormat};
use crate::loop_bound::Guarded;

struct Route {
    callback: Py<PyAny>,
    /// Whether nobody else gets the message.
    consumes: bool,
    /// Payload bytes that are looked at.
    longest: usize,
}

/// The classes that are looked for, and what is done then.
pub(super) struct Control {
    routes: Guarded<Router<Route>>,
    /// Payloads shorter than this are looked at; 0 if none is.
    bound: Cell<usize>,
}

/// A message that somebody has to be asked about before it goes on.
pub(crate) struct Looked {
    payload: Vec<u8>,
    format: WireFormat,
    call: Option<Call>,
    is_consumed: bool,
    is_watched: bool,
    /// It came on a muted connection, whose messages are not counted here.
    is_muted: bool,
}

impl Looked {
    /// One that only watches have to be shown.
    pub(super) fn watched(payload: &[u8], format: WireFormat) -> Taken {
        let payload = payload.to_vec();
        let looked = Self { payload, format, call: None, is_consumed: false, is_watched: true, is_muted: false };
        Taken::Looked(Box::new(looked))
    }
}

impl Control {
    pub(super) fn new() -> Self {
        Self { routes: Guarded::new(Router::new()), bound: Cell::new(0) }
    }

    /// Whether a payload of that length may be one of ours.
    #[inline]
    pub(super) fn looks_at(&self, length: usize) -> bool {
        length < self.bound.get()
    }

    pub(super) fn add(
        &self,
        type_: &Bound<'_, PyAny>,
        callback: &Py<PyAny>,
        consumes: bool,
        longest: Option<usize>,
    ) -> PyResult<()> {
        let py = type_.py();
        if let Some(members) = union_members(type_)? {
            return members.iter().try_for_each(|member| self.add(&member, callback, consumes, longest));
        }
        let longest = longest.unwrap_or(usize::MAX);
        let mut routes = self.routes.lock()?;
        routes.remove(&Decoder::target_type(type_));
        routes.add(type_, Route { callback: callback.clone_ref(py), consumes, longest })?;
        self.bound.set(routes.values().map(|route| route.longest.saturating_add(1)).max().unwrap_or(0));
        Ok(())
    }

    pub(super) fn remove(&self, type_: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(members) = union_members(type_)? {
            return members.iter().try_for_each(|member| self.remove(&member));
        }
        let mut routes = self.routes.lock()?;
        routes.remove(&Decoder::target_type(type_));
        self.bound.set(routes.values().map(|route| route.longest.saturating_add(1)).max().unwrap_or(0));
        Ok(())
    }

    pub(super) fn clear(&self) -> PyResult<()> {
        *self.routes.lock()? = Router::new();
        self.bound.set(0);
        Ok(())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(routes) = self.routes.read() else { return Ok(()) };
        routes.values().try_for_each(|route| visit.call(&route.callback))
    }
}

/// A callback of the library, and the message that is for it.
type Call = (Py<PyAny>, Py<PyAny>);

impl State {
    /// Looks whether a message is one of the library's own, or watched; `None` if it is neither.
    #[inline(never)]
    pub(super) fn look(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Option<Taken>> {
        let (call, is_consumed) = self.own(py, payload, format)?;
        // What is consumed says nothing about the data.
        let is_watched = !is_consumed && self.unseen.get() > 0 && self.show(payload, format)?;
        if call.is_none() && !is_watched {
            return Ok(None);
        }
        let payload = if is_consumed { Vec::new() } else { payload.to_vec() };
        let looked = Looked { payload, format, call, is_consumed, is_watched, is_muted: false };
        Ok(Some(Taken::Looked(Box::new(looked))))
    }

    /// Whom of the library a message is for, with the message, and whether nobody else gets it.
    fn own(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<(Option<Call>, bool)> {
        if !self.control.looks_at(payload.len()) {
            return Ok((None, false));
        }
        let routes = self.control.routes.read()?;
        let Some((decoder, route)) = routes.route_by_tag(payload, format) else { return Ok((None, false)) };
        if payload.len() > route.longest {
            return Ok((None, false));
        }
        match decoder.decode(py, payload, format) {
            Ok(message) => Ok((Some((route.callback.clone_ref(py), message.unbind())), route.consumes)),
            // No such message: it goes on as any other, and whoever takes it is told.
            Err(error) if error.is_instance_of::<PyException>(py) => Ok((None, false)),
            Err(error) => Err(error),
        }
    }

    /// Takes a message off a muted connection: it goes to the library itself, or nowhere.
    #[inline(never)]
    pub(crate) fn take_muted(&self, py: Python<'_>, payload: &[u8], format: WireFormat) -> PyResult<Taken> {
        let (call, _) = self.own(py, payload, format)?;
        if call.is_none() {
            return Ok(Taken::Dropped);
        }
        let looked = Looked { payload: Vec::new(), format, call, is_consumed: true, is_watched: false, is_muted: true };
        Ok(Taken::Looked(Box::new(looked)))
    }

    /// Asks who has to be asked about a message; returns whether it goes on. Nothing may be borrowed.
    #[inline(never)]
    pub(crate) fn ask(&self, py: Python<'_>, connection: &Bound<'_, PyAny>, looked: &Looked) -> PyResult<bool> {
        if looked.is_consumed && !looked.is_muted {
            count(&self.consumed);
        }
        if let Some((callback, message)) = &looked.call
            && let Err(error) = callback.call1(py, (connection, message))
        {
            count(&self.handler_errors);
            self.report(py, error)?;
        }
        if looked.is_watched {
            self.show_contents(py, &looked.payload, looked.format)?;
        }
        Ok(!looked.is_consumed)
    }

    /// Delivers a message that goes on behind [`State::ask`]. Nothing may be borrowed.
    #[inline(never)]
    pub(crate) fn go_on(&self, py: Python<'_>, connection: &Bound<'_, PyAny>, looked: &Looked) -> PyResult<()> {
        match self.hand_on(py, &looked.payload, looked.format)? {
            Taken::Queued | Taken::Dropped | Taken::Looked(_) | Taken::Broken(_) | Taken::Malformed => Ok(()),
            Taken::Call(callbacks, message, size) => {
                self.call(py, connection, callbacks.bind(py), message.bind(py), size)
            }
            Taken::Fault(error) => self.report(py, error),
        }
    }
}
