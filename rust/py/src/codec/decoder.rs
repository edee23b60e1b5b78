//! What a caller asked for, compiled, and the decode of one payload into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};
use websocket_utils_core::codec::plan::{TagField, snake_case};
use websocket_utils_core::codec::{Peek, json, msgpack};

use super::Format;
use super::class::{self, Class, ClassTag, Stop};
use super::fallback::{Fallback, Malformed};
use crate::queue::Front;

/// Compiled types that are remembered. A program asks for a few dozen at most; one that makes up types without end
/// compiles them again.
const CACHE_ENTRIES: usize = 256;

/// A compiled target type: one class, a union, `bytes`, `str`, or any type that msgspec knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decoder {
    target: Arc<Target>,
}

enum Target {
    /// One class with a plan. Its tag may be missing from a payload.
    Class(Class, Fallback),
    /// Classes that are told apart by their tags.
    Union(Union, Fallback),
    /// The payload as it is, of text and binary messages.
    Bytes,
    /// The text of text messages.
    Str,
    /// `str` for a text message, `bytes` for a binary one.
    Either,
    /// Whatever msgspec makes of it.
    Other(Fallback),
}

struct Union {
    tag_field: TagField,
    members: Vec<Member>,
    /// Index of the member that was found last: a feed sends one class mostly, so it is tried first.
    last: AtomicUsize,
}

struct Member {
    tag: Box<str>,
    alias: Option<Box<str>>,
    class: Option<Class>,
}

impl Union {
    /// The index of the member that a tag names. What one class calls itself goes before another's second spelling.
    fn find(&self, tag: &[u8]) -> Option<usize> {
        let by_tag = self.members.iter().position(|member| member.tag.as_bytes() == tag);
        let is_alias = |member: &Member| member.alias.as_deref().map(str::as_bytes) == Some(tag);
        by_tag.or_else(|| self.members.iter().position(is_alias))
    }

    /// The class of a payload that begins like the one before.
    #[inline]
    fn same_again(&self, payload: &[u8], format: Format) -> Option<&Class> {
        let class = self.members.get(self.last.load(Ordering::Relaxed))?.class.as_ref()?;
        let tag = class.plan.tag.as_ref()?;
        let leads = match format {
            Format::Json => tag.leads_json(payload),
            Format::MessagePack => tag.leads_msgpack(payload),
        };
        leads.then_some(class)
    }

    #[inline]
    fn decode<'py>(&self, py: Python<'py>, payload: &[u8], format: Format) -> Result<Bound<'py, PyAny>, Stop<'_>> {
        if let Some(class) = self.same_again(payload, format) {
            return class.decode(py, payload, format);
        }
        let peek = match format {
            Format::Json => json::peek_tag(payload, &self.tag_field),
            Format::MessagePack => msgpack::peek_tag(payload, &self.tag_field),
        };
        let (found, offset) = match peek {
            Peek::Tag(tag, offset) => (self.find(tag), offset),
            Peek::Untagged => (None, payload.len()),
            Peek::Unclear => (None, 0),
        };
        let stop = Stop { offset, field: None };
        let found = found.ok_or(stop)?;
        self.last.store(found, Ordering::Relaxed);
        self.members[found].class.as_ref().ok_or(stop)?.decode(py, payload, format)
    }
}

/// Decoders by type object (a dict, so that types compare as Python compares them).
static CACHE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// A decoder as a Python object can hold it.
#[pyclass(frozen)]
struct Cached(Decoder);

impl Decoder {
    /// Compiles `type_`, or takes it from the bounded cache.
    ///
    /// # Errors
    /// `TypeError` that says what is wrong with a type that can't be decoded.
    pub(crate) fn compile(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = type_.py();
        let cache = CACHE.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
        // A type that can't be hashed (an unusual annotation) is compiled each time.
        if let Ok(Some(known)) = cache.get_item(type_) {
            return Ok(known.cast::<Cached>()?.get().0.clone());
        }
        let decoder = Self { target: Arc::new(Target::compile(type_)?) };
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        let _ = cache.set_item(type_, Bound::new(py, Cached(decoder.clone()))?);
        Ok(decoder)
    }

    /// Decodes one message payload. `payload` need not outlive the call.
    ///
    /// # Errors
    /// `DecodeError` for a payload that is no such message.
    #[inline]
    pub(crate) fn decode<'py>(&self, py: Python<'py>, payload: &[u8], is_text: bool) -> PyResult<Bound<'py, PyAny>> {
        let format = Format::of_frame(is_text);
        let (decoded, fallback) = match &*self.target {
            Target::Class(class, fallback) => (class.decode(py, payload, format), fallback),
            Target::Union(union, fallback) => (union.decode(py, payload, format), fallback),
            Target::Other(fallback) => return fallback.decode(py, payload, format, None),
            raw => return raw.decode_raw(py, payload, is_text),
        };
        decoded.or_else(|stop| fallback.decode(py, payload, format, Some(stop)))
    }

    /// Decodes one message that was queued. A big one is `bytes` already, and handed out as it is where that is asked for.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    #[inline]
    pub(crate) fn decode_queued<'py>(
        &self,
        py: Python<'py>,
        payload: &Front<'_>,
        is_text: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        match (payload, &*self.target) {
            (Front::Small(payload), _) => self.decode(py, payload, is_text),
            (Front::Big(bytes), Target::Bytes) => Ok(bytes.bind(py).clone().into_any()),
            (Front::Big(bytes), Target::Either) if !is_text => Ok(bytes.bind(py).clone().into_any()),
            (Front::Big(bytes), _) => self.decode(py, bytes.as_bytes(py), is_text),
        }
    }

    /// How payloads are decoded: "compiled" (by a plan, msgspec only for what it leaves over), "msgspec", or "raw".
    pub(crate) fn plan(&self) -> &'static str {
        match &*self.target {
            Target::Class(..) => "compiled",
            Target::Union(union, _) if union.members.iter().all(|member| member.class.is_some()) => "compiled",
            Target::Union(..) | Target::Other(_) => "msgspec",
            Target::Bytes | Target::Str | Target::Either => "raw",
        }
    }
}

impl Target {
    fn compile(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = type_.py();
        let (bytes, text) = (py.get_type::<PyBytes>(), py.get_type::<PyString>());
        if type_.is(&bytes) {
            return Ok(Self::Bytes);
        }
        if type_.is(&text) {
            return Ok(Self::Str);
        }
        let members = union_members(type_)?;
        if members.len() == 2 && [&bytes, &text].iter().all(|raw| members.iter().any(|member| member.is(*raw))) {
            return Ok(Self::Either);
        }
        // First of all: it refuses what is no type, and says why.
        let mut fallback = Fallback::new(type_)?;
        if class::is_message_class(type_)? {
            let class = type_.cast::<PyType>()?;
            if let ClassTag::Text(field, tag) = class::tag_of(class)? {
                let alias = snake_case(&tag);
                fallback.know_tags(&field, vec![(tag, alias)]);
            }
            return Ok(match Class::compile(class)? {
                Some(class) => Self::Class(class, fallback),
                None => Self::Other(fallback),
            });
        }
        let mut union = None;
        for member in &members {
            if !class::is_message_class(member)? {
                return Ok(Self::Other(fallback));
            }
            let ClassTag::Text(field, tag) = class::tag_of(member)? else { return Ok(Self::Other(fallback)) };
            let union = union.get_or_insert_with(|| Union {
                tag_field: TagField::new(&field),
                members: Vec::new(),
                last: AtomicUsize::new(0),
            });
            let alias = snake_case(&tag).map(Into::into);
            union.members.push(Member { tag: tag.into(), alias, class: Class::compile(member.cast::<PyType>()?)? });
        }
        let Some(union) = union else { return Ok(Self::Other(fallback)) };
        let spellings = |member: &Member| (member.tag.to_string(), member.alias.as_deref().map(str::to_owned));
        fallback.know_tags(&union.tag_field.name, union.members.iter().map(spellings).collect());
        Ok(Self::Union(union, fallback))
    }

    #[cold]
    fn decode_raw<'py>(&self, py: Python<'py>, payload: &[u8], is_text: bool) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Str if !is_text => Err(Malformed {
                message: "expected a text message, got a binary one: ask for `bytes` or `bytes | str`".into(),
                offset: None,
                path: "$".into(),
            }
            .into_error(py, "raw", payload)),
            Self::Str | Self::Either if is_text => PyString::from_bytes(py, payload)
                .map(Bound::into_any)
                .map_err(|error| Malformed::of_python(py, &error, payload).into_error(py, "raw", payload)),
            _ => Ok(PyBytes::new(py, payload).into_any()),
        }
    }
}

/// The members of a union type, empty for anything else.
fn union_members<'py>(type_: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = type_.py();
    let typing = py.import("typing")?;
    let origin = typing.call_method1("get_origin", (type_,))?;
    if origin.is(&typing.getattr("Union")?) || origin.is(&py.import("types")?.getattr("UnionType")?) {
        let members = typing.call_method1("get_args", (type_,))?.cast_into::<PyTuple>()?;
        return Ok(members.iter().collect());
    }
    Ok(Vec::new())
}
