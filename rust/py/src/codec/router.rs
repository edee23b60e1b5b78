//! Dispatch by class: which handler a payload belongs to, found without decoding it.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use websocket_utils_core::codec::plan::{Tag, TagField, snake_case};
use websocket_utils_core::codec::{Peek, json, msgpack, protobuf};

use super::class::{self, ClassTag};
use super::{Decoder, WireFormat};

/// Registered message classes with a value each.
pub(crate) struct Router<H> {
    routes: Vec<Route<H>>,
    /// The distinct tag fields of the routes: one, mostly.
    tag_fields: Vec<TagField>,
}

struct Route<H> {
    type_: Py<PyAny>,
    tag: Option<Tag>,
    decoder: Decoder,
    handler: H,
}

impl<H> Router<H> {
    /// No class yet.
    pub(crate) const fn new() -> Self {
        Self { routes: Vec::new(), tag_fields: Vec::new() }
    }

    /// Reads messages of a class that is registered with another decoder.
    pub(crate) fn read_by(&mut self, class: &Bound<'_, PyAny>, decoder: Decoder) {
        if let Some(route) = self.routes.iter_mut().find(|route| route.type_.is(class)) {
            route.decoder = decoder;
        }
    }

    /// Registers a message class that is not registered yet: itself, or a `Decoder` of it.
    ///
    /// # Errors
    /// `TypeError` when `type_` is no class that messages can be routed to.
    pub(crate) fn add(&mut self, type_: &Bound<'_, PyAny>, handler: H) -> PyResult<()> {
        let class = Decoder::target_type(type_);
        let refuse = |why: &str| Err(PyTypeError::new_err(format!("no messages can be routed to {class}: {why}")));
        let tag = if class::is_message_class(&class)? {
            match class::tag_of(&class)? {
                ClassTag::Untagged => None,
                ClassTag::Text(field, value) => Some(Tag::new(&field, &value, snake_case(&value).as_deref())),
                ClassTag::Other => return refuse("its tag is no text"),
            }
        } else if class::is_untagged_class(&class)? {
            None
        } else {
            return refuse("expected one message class (a subclass of websocket_utils.Message or msgspec.Struct)");
        };
        if let Some(tag) = &tag
            && !self.tag_fields.iter().any(|field| field.name == tag.field)
        {
            self.tag_fields.push(TagField::new(&tag.field));
        }
        let decoder = Decoder::compile(type_)?;
        self.routes.push(Route { type_: class.unbind(), tag, decoder, handler });
        Ok(())
    }

    /// Forgets a class.
    pub(crate) fn remove(&mut self, class: &Bound<'_, PyAny>) {
        self.routes.retain(|route| !route.type_.is(class));
        let tags = || self.routes.iter().filter_map(|route| route.tag.as_ref());
        self.tag_fields.retain(|field| tags().any(|tag| tag.field == field.name));
    }

    /// What is registered with the classes.
    pub(crate) fn values(&self) -> impl Iterator<Item = &H> {
        self.routes.iter().map(|route| &route.handler)
    }

    /// As [`Router::route`], but a payload without tag never belongs to a class that has one.
    #[inline(never)]
    pub(crate) fn route_by_tag(&self, payload: &[u8], format: WireFormat) -> Option<(&Decoder, &H)> {
        self.find_route(payload, format)
            .filter(|(route, is_tagged)| *is_tagged || route.tag.is_none())
            .map(|(route, _)| (&route.decoder, &route.handler))
    }

    /// The class a payload belongs to: by its tag in either spelling; a payload without tag belongs to the only
    /// registered class, or to the only one that has no tag. None for what belongs to none, well formed or not.
    #[inline]
    pub(crate) fn route(&self, payload: &[u8], format: WireFormat) -> Option<(&Decoder, &H)> {
        self.find_route(payload, format).map(|(route, _)| (&route.decoder, &route.handler))
    }

    /// The route of a payload, and whether its tag says so.
    #[expect(
        clippy::inline_always,
        reason = "part of the loop over a read's messages, 40 instructions each when it is not"
    )]
    #[inline(always)]
    fn find_route(&self, payload: &[u8], format: WireFormat) -> Option<(&Route<H>, bool)> {
        let mut is_untagged = true;
        for field in &self.tag_fields {
            let peek = match format {
                WireFormat::JSON => json::peek_tag(payload, field),
                WireFormat::MESSAGE_PACK => msgpack::peek_tag(payload, field),
                WireFormat::Protobuf => protobuf::peek_tag(payload),
            };
            match peek {
                Peek::Tag(written, _) => {
                    is_untagged = false;
                    if let Some(route) = self.find(field, written) {
                        return Some((route, true));
                    }
                }
                Peek::Untagged => {}
                Peek::Unclear => return None,
            }
        }
        if is_untagged { self.only().map(|route| (route, false)) } else { None }
    }

    /// The route of messages without tag: the only one, or the only one whose class has no tag.
    fn only(&self) -> Option<&Route<H>> {
        if let [only] = &*self.routes {
            return Some(only);
        }
        let mut untagged = self.routes.iter().filter(|route| route.tag.is_none());
        untagged.next().filter(|_| untagged.next().is_none())
    }

    #[inline]
    fn find(&self, field: &TagField, written: &[u8]) -> Option<&Route<H>> {
        let tagged = || self.routes.iter().filter_map(|route| route.tag.as_ref().map(|tag| (route, tag)));
        let here = || tagged().filter(|(_, tag)| tag.field == field.name);
        // What one class calls itself goes before another's second spelling.
        let exact = here().find(|(_, tag)| tag.value.as_bytes() == written);
        exact.or_else(|| here().find(|(_, tag)| tag.is(written))).map(|(route, _)| route)
    }
}
