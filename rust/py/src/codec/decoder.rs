//! What a caller asked for, compiled, and the decode of one payload into it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use websocket_utils_core::codec::plan::snake_case;
use websocket_utils_core::codec::{Fault, Sink};

use super::class::{self, ClassTag};
use super::decoding::PyDecoder;
use super::fallback::{Fallback, Hook, Malformed};
use super::model::{Model, Stop};
use super::{Format, WireFormat, protobuf};
use crate::queue::Front;

/// Compiled types that are remembered. A program asks for a few dozen at most; one that makes up types without end
/// compiles them again.
const CACHE_ENTRIES: usize = 256;

/// A compiled target type: one class, a union, `bytes`, `str`, or any type that msgspec knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decoder {
    asked: Arc<Asked>,
}

struct Asked {
    type_: Py<PyAny>,
    target: Target,
    /// Made when the first message in this format comes, or earlier where it is the only one.
    protobuf: PyOnceLock<protobuf::Model>,
}

enum Target {
    /// A plan, and msgspec for what it leaves over.
    Model(Box<Model>, Fallback),
    /// The payload as it is, of text and binary messages.
    Bytes,
    /// The text of text messages.
    Str,
    /// `str` for a text message, `bytes` for a binary one.
    Either,
    /// Whatever msgspec makes of it.
    Other(Fallback),
}

/// Decoders by type object (a dict, so that types compare as Python compares them).
static CACHE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// A decoder as a Python object can hold it.
#[pyclass(frozen)]
struct Cached(Decoder);

impl Decoder {
    /// Compiles `type_`, or takes it from the bounded cache. A `Decoder` of Python's is what it decodes.
    ///
    /// # Errors
    /// `TypeError` that says what is wrong with a type that can't be decoded.
    pub(crate) fn compile(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = type_.py();
        if let Ok(decoder) = type_.cast_exact::<PyDecoder>() {
            return Ok(decoder.get().decoder().clone());
        }
        let cache = CACHE.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
        // A type that can't be hashed (an unusual annotation) is compiled each time.
        if let Ok(Some(known)) = cache.get_item(type_) {
            return Ok(known.cast::<Cached>()?.get().0.clone());
        }
        let decoder = Self::new(type_, true, &Hook::default())?;
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        let _ = cache.set_item(type_, Bound::new(py, Cached(decoder.clone()))?);
        Ok(decoder)
    }

    /// As [`Decoder::compile`], for values that may stand in quotes if not `strict`.
    pub(crate) fn compile_for(type_: &Bound<'_, PyAny>, strict: bool) -> PyResult<Self> {
        if strict { Self::compile(type_) } else { Self::new(type_, false, &Hook::default()) }
    }

    /// The type that is asked for by `type_`: that of a `Decoder` of Python's, else `type_` itself.
    pub(crate) fn target_type<'py>(type_: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        match type_.cast_exact::<PyDecoder>() {
            Ok(decoder) => decoder.get().type_(type_.py()),
            Err(_) => type_.clone(),
        }
    }

    /// Reads one payload by the plan alone, into any sink.
    ///
    /// # Errors
    /// Where the plan stopped, if there is one: the payload is one for [`Decoder::decode_completely`].
    #[inline]
    pub(crate) fn scan<'a, S: Sink<'a>>(
        &self,
        payload: &'a [u8],
        format: WireFormat,
        sink: &mut S,
    ) -> Result<S::Value, Option<usize>> {
        let (Target::Model(model, _), WireFormat::Common(format)) = (&self.asked.target, format) else {
            return Err(None);
        };
        model.scan(payload, format, sink).map_err(|Fault { offset }| Some(offset))
    }

    /// Decodes one payload that [`Decoder::scan`] left, with where that stopped.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    #[cold]
    pub(crate) fn decode_completely<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: WireFormat,
        stop: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let WireFormat::Common(format) = format else { return self.decode_protobuf(py, payload) };
        match &self.asked.target {
            Target::Model(_, fallback) | Target::Other(fallback) => fallback.decode(py, payload, format, stop),
            raw => raw.decode_raw(py, payload, format == Format::Json),
        }
    }

    /// Compiles `type_`. Not `strict`: values may stand in quotes, as msgspec has it. `hook` is msgspec's `dec_hook`.
    ///
    /// # Errors
    /// As [`Decoder::compile`].
    pub(super) fn new(type_: &Bound<'_, PyAny>, strict: bool, hook: &Hook) -> PyResult<Self> {
        let target = Target::compile(type_, strict, hook)?;
        Ok(Self { asked: Arc::new(Asked { type_: type_.clone().unbind(), target, protobuf: PyOnceLock::new() }) })
    }

    /// The same type in Protocol Buffers.
    ///
    /// # Errors
    /// `TypeError` that names what has no form in it.
    #[inline]
    pub(super) fn protobuf(&self, py: Python<'_>) -> PyResult<&protobuf::Model> {
        self.asked.protobuf.get_or_try_init(py, || protobuf::Model::compile(self.asked.type_.bind(py)))
    }

    /// Decodes one message payload. `payload` need not outlive the call.
    ///
    /// # Errors
    /// `DecodeError` for a payload that is no such message.
    #[inline]
    pub(crate) fn decode<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: WireFormat,
    ) -> PyResult<Bound<'py, PyAny>> {
        let WireFormat::Common(format) = format else { return self.decode_protobuf(py, payload) };
        match &self.asked.target {
            Target::Model(model, fallback) => match model.decode(py, payload, format) {
                Ok(message) => Ok(message),
                Err(Stop::At(offset)) => fallback.decode(py, payload, format, Some(offset)),
                Err(Stop::Interrupt(error)) => Err(error),
            },
            Target::Other(fallback) => fallback.decode(py, payload, format, None),
            raw => raw.decode_raw(py, payload, format == Format::Json),
        }
    }

    #[inline]
    fn decode_protobuf<'py>(&self, py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match &self.asked.target {
            Target::Model(..) | Target::Other(_) => self.protobuf(py)?.decode(py, payload),
            raw => raw.decode_raw(py, payload, false),
        }
    }

    /// True if it hands out payloads as they are.
    pub(super) fn is_raw(&self) -> bool {
        !matches!(&self.asked.target, Target::Model(..) | Target::Other(_))
    }

    /// Decodes a payload that a plan holds as a whole. What it leaves is an `Err` within, with where a plan stopped and nothing
    /// raised: a payload for [`Decoder::decode_rest`].
    ///
    /// # Errors
    /// What must not be swallowed, out of Python code that ran on the way.
    #[inline]
    pub(super) fn decode_plain<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: WireFormat,
    ) -> PyResult<Result<Bound<'py, PyAny>, Option<usize>>> {
        let WireFormat::Common(format) = format else {
            return if self.is_raw() {
                Ok(Err(None))
            } else {
                Ok(self.protobuf(py)?.decode_plain(py, payload)?.ok_or(None))
            };
        };
        let Target::Model(model, _) = &self.asked.target else { return Ok(Err(None)) };
        match model.decode(py, payload, format) {
            Ok(message) => Ok(Ok(message)),
            Err(Stop::At(offset)) => Ok(Err(Some(offset))),
            Err(Stop::Interrupt(error)) => Err(error),
        }
    }

    /// Decodes a payload that [`Decoder::decode_plain`] left: no plan looks at it again, so that hooks and factories are not
    /// asked once more than they have to be.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    #[cold]
    pub(super) fn decode_rest<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: WireFormat,
        stop: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if format == WireFormat::Protobuf && !self.is_raw() {
            return self.protobuf(py)?.decode_fully(py, payload);
        }
        self.decode_completely(py, payload, format, stop)
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
        format: WireFormat,
    ) -> PyResult<Bound<'py, PyAny>> {
        match (payload, &self.asked.target) {
            (Front::Small(payload), _) => self.decode(py, payload, format),
            (Front::Big(bytes), Target::Bytes) => Ok(bytes.bind(py).clone().into_any()),
            (Front::Big(bytes), Target::Either) if !format.is_text() => Ok(bytes.bind(py).clone().into_any()),
            (Front::Big(bytes), _) => self.decode(py, bytes.as_bytes(py), format),
        }
    }

    /// How payloads are decoded: "compiled" (by a plan, msgspec only for what it leaves over), "msgspec", or "raw".
    pub(crate) fn plan(&self) -> &'static str {
        match &self.asked.target {
            Target::Model(..) => "compiled",
            Target::Other(_) => "msgspec",
            Target::Bytes | Target::Str | Target::Either => "raw",
        }
    }
}

impl Target {
    fn compile(type_: &Bound<'_, PyAny>, strict: bool, hook: &Hook) -> PyResult<Self> {
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
        let mut fallback = Fallback::new(type_, strict, hook)?;
        let classes = if members.is_empty() { vec![type_.clone()] } else { members };
        let mut spellings = Vec::new();
        let mut tag_field = None;
        for class in &classes {
            if !class::is_message_class(class)? {
                continue;
            }
            if let ClassTag::Text(field, tag) = class::tag_of(class)? {
                let alias = snake_case(&tag);
                spellings.push((tag, alias));
                tag_field = Some(field);
            }
        }
        if let Some(field) = tag_field {
            fallback.know_tags(&field, spellings);
        }
        Ok(match Model::compile(type_, strict, hook)? {
            Some(model) => Self::Model(Box::new(model), fallback),
            None => Self::Other(fallback),
        })
    }

    #[cold]
    fn decode_raw<'py>(&self, py: Python<'py>, payload: &[u8], is_text: bool) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Str if !is_text => {
                let what = "expected a text message, got a binary one: ask for `bytes` or `bytes | str`";
                Err(Malformed::new(what, None).into_error(py, "raw", payload))
            }
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
