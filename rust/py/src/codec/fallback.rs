//! msgspec's own decoders, for what no plan holds, and its complaints as our errors.

use std::borrow::Cow;
use std::ops::Range;

use pyo3::exceptions::{PyRecursionError, PyUnicodeDecodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use websocket_utils_core::codec::plan::TagField;
use websocket_utils_core::codec::{MAX_DEPTH, Step, json, msgpack};

use super::{Format, WireFormat};

pub(super) mod errors {
    pyo3::import_exception!(websocket_utils.exceptions, DecodeError);
    pyo3::import_exception!(msgspec, MsgspecError);
}

/// msgspec's decoders of one type.
pub(super) struct Fallback {
    json: Py<PyAny>,
    msgpack: Py<PyAny>,
    tags: Option<Tags>,
}

/// msgspec's `dec_hook`, which decides about types that it does not know.
#[derive(Default)]
pub(super) struct Hook(Option<Py<PyAny>>);

impl Hook {
    pub(super) const fn new(hook: Option<Py<PyAny>>) -> Self {
        Self(hook)
    }

    /// The `decode` of msgspec's decoders of a type, for JSON and for MessagePack.
    ///
    /// # Errors
    /// msgspec's `TypeError` for what is no type, or none that it can decode.
    pub(super) fn decoders(&self, type_: &Bound<'_, PyAny>, strict: bool) -> PyResult<[Py<PyAny>; 2]> {
        let py = type_.py();
        let options = PyDict::new(py);
        options.set_item("strict", strict)?;
        if let Some(hook) = &self.0 {
            options.set_item("dec_hook", hook)?;
        }
        let decode = |module| {
            py.import(module)?.getattr("Decoder")?.call((type_,), Some(&options))?.getattr("decode").map(Bound::unbind)
        };
        Ok([decode("msgspec.json")?, decode("msgspec.msgpack")?])
    }
}

/// Tags of the classes that are asked for, with their other spelling.
struct Tags {
    field: TagField,
    spellings: Vec<(String, Option<String>)>,
}

/// A payload with the tags that msgspec knows, and where it is longer or shorter than the original.
struct Respelled<'a> {
    payload: Cow<'a, [u8]>,
    /// Ends of the replaced tags in the new payload, and what is to be added to offsets behind them.
    shifts: Vec<(usize, isize)>,
}

impl Fallback {
    /// # Errors
    /// msgspec's `TypeError` for what is no type, or none that it can decode.
    pub(super) fn new(type_: &Bound<'_, PyAny>, strict: bool, hook: &Hook) -> PyResult<Self> {
        let [json, msgpack] = hook.decoders(type_, strict)?;
        Ok(Self { json, msgpack, tags: None })
    }

    /// Makes the decoder read tags in both spellings, and name them in errors.
    pub(super) fn know_tags(&mut self, field: &str, spellings: Vec<(String, Option<String>)>) {
        self.tags = Some(Tags { field: TagField::new(field), spellings });
    }

    /// Decodes a payload that no plan holds; `stop` is the offset at which a plan gave up.
    ///
    /// # Errors
    /// `DecodeError`, or what a hook or a default factory of the class raised.
    #[cold]
    pub(super) fn decode<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: Format,
        stop: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let too_deep = match format {
            Format::Json => json::too_deep(payload),
            Format::MessagePack => msgpack::too_deep(payload),
        };
        if too_deep.is_some() {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Malformed::new(message, too_deep).into_error(py, format.name(), payload));
        }
        let respelled = match &self.tags {
            Some(tags) => tags.respell(payload, format),
            None => Respelled { payload: Cow::Borrowed(payload), shifts: Vec::new() },
        };
        let decode = match format {
            Format::Json => &self.json,
            Format::MessagePack => &self.msgpack,
        };
        decode.bind(py).call1((PyBytes::new(py, &respelled.payload),)).map_err(|error| {
            let is_ours = error.is_instance_of::<errors::MsgspecError>(py)
                || error.is_instance_of::<PyUnicodeDecodeError>(py)
                || error.is_instance_of::<PyRecursionError>(py);
            if !is_ours {
                return error;
            }
            let mut malformed = Malformed::of_python(py, &error, &respelled.payload);
            malformed.offset = malformed.offset.map(|offset| respelled.original(offset));
            if malformed.offset.is_none() {
                malformed.offset = Some(malformed.locate(payload, format, stop));
            }
            if let Some(tags) = &self.tags {
                tags.explain(&mut malformed, payload, format);
            }
            malformed.into_error(py, format.name(), payload)
        })
    }
}

impl Tags {
    fn spans(&self, payload: &[u8], format: Format) -> Vec<Range<usize>> {
        match format {
            Format::Json => json::tag_spans(payload, &self.field),
            Format::MessagePack => msgpack::tag_spans(payload, &self.field),
        }
    }

    fn respell<'a>(&self, payload: &'a [u8], format: Format) -> Respelled<'a> {
        let mut new: Vec<u8> = Vec::new();
        let mut copied = 0;
        let mut shifts = Vec::new();
        for span in self.spans(payload, format) {
            let written = &payload[span.clone()];
            let spelling = |text: &str| match format {
                Format::Json => text.as_bytes().to_vec(),
                Format::MessagePack => msgpack::key(text),
            };
            let is_written = |text: &str| spelling(text) == written;
            if self.spellings.iter().any(|(tag, _)| is_written(tag)) {
                continue;
            }
            let known = self.spellings.iter().find(|(_, alias)| alias.as_deref().is_some_and(is_written));
            if let Some((tag, _)) = known {
                new.extend_from_slice(&payload[copied..span.start]);
                new.extend_from_slice(&spelling(tag));
                copied = span.end;
                shifts.push((new.len(), span.end.cast_signed() - new.len().cast_signed()));
            }
        }
        if shifts.is_empty() {
            return Respelled { payload: Cow::Borrowed(payload), shifts };
        }
        new.extend_from_slice(&payload[copied..]);
        Respelled { payload: Cow::Owned(new), shifts }
    }

    /// Says which tags would have been accepted, where the tag is at fault.
    fn explain(&self, malformed: &mut Malformed, payload: &[u8], format: Format) {
        let name = &self.field.name;
        let accepted = || self.spellings.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>().join(", ");
        if malformed.path == format!("$.{name}") {
            let what = malformed.message.strip_prefix("Invalid value ").map(|tag| format!("unknown tag {tag}"));
            let what = what.unwrap_or_else(|| malformed.message.clone());
            malformed.message = format!("{what}, accepted here: {}", accepted());
            malformed.offset = self.spans(payload, format).first().map(|span| span.start);
        } else if malformed.path == "$" && malformed.message == format!("Object missing required field `{name}`") {
            malformed.message = format!("no tag in field `{name}`, accepted here: {}", accepted());
        }
    }
}

impl Respelled<'_> {
    /// The offset in the original payload of one in the new payload.
    fn original(&self, offset: usize) -> usize {
        let shift = self.shifts.iter().rev().find(|(end, _)| *end <= offset).map_or(0, |(_, shift)| *shift);
        offset.saturating_add_signed(shift)
    }
}

/// What is wrong with a payload.
#[derive(Default)]
pub(super) struct Malformed {
    pub(super) message: String,
    pub(super) offset: Option<usize>,
    pub(super) path: String,
    /// What should stand there, and what does.
    pub(super) expected: Option<String>,
    pub(super) got: Option<String>,
}

impl Malformed {
    /// A complaint about the message as a whole.
    pub(super) fn new(message: impl Into<String>, offset: Option<usize>) -> Self {
        Self { message: message.into(), offset, path: "$".into(), ..Self::default() }
    }

    /// Takes a complaint of msgspec or CPython apart: text, "(byte 12)", " - at `$.price`".
    pub(super) fn of_python(py: Python<'_>, error: &PyErr, payload: &[u8]) -> Self {
        let text = error.value(py).to_string();
        let (text, path) = match text.rsplit_once(" - at ") {
            Some((text, path)) => (text.to_owned(), path.trim_start_matches("`key` in ").trim_matches('`').to_owned()),
            None => (text, "$".to_owned()),
        };
        let (message, offset) = match text.strip_suffix(')').and_then(|text| text.rsplit_once(" (byte ")) {
            Some((message, offset)) => (message.to_owned(), offset.parse().ok()),
            None if text == "Input data was truncated" => (text, Some(payload.len())),
            None => (text, None),
        };
        let (expected, got) = match message.strip_prefix("Expected ") {
            Some(rest) => match rest.split_once(", got ") {
                Some((expected, got)) => (Some(unquoted(expected)), Some(unquoted(got))),
                None => (Some(unquoted(rest)), None),
            },
            None => match message.strip_prefix("Object missing required field ") {
                Some(field) => (Some(format!("field {}", unquoted(field))), Some("no such field".to_owned())),
                None => (None, None),
            },
        };
        Self { message, offset, path, expected, got }
    }

    /// The offset of what the path names. Where the path does not say which member it is, it lies at or behind where a plan
    /// gave up.
    fn locate(&self, payload: &[u8], format: Format, stop: Option<usize>) -> usize {
        let (steps, is_exact) = steps(&self.path);
        let found = match format {
            Format::Json => json::locate(payload, &steps),
            Format::MessagePack => msgpack::locate(payload, &steps),
        };
        if is_exact { found } else { stop.map_or(found, |stop| stop.max(found)) }
    }

    /// The `DecodeError` with all of it, and the payload.
    pub(super) fn into_error(self, py: Python<'_>, format: &str, payload: &[u8]) -> PyErr {
        let make = || {
            let details = PyDict::new(py);
            details.set_item("format", format)?;
            details.set_item("offset", self.offset)?;
            details.set_item("path", &self.path)?;
            details.set_item("expected", &self.expected)?;
            details.set_item("got", &self.got)?;
            details.set_item("raw", PyBytes::new(py, payload))?;
            py.get_type::<errors::DecodeError>().call((&self.message,), Some(&details))
        };
        make().map_or_else(|error| error, PyErr::from_value)
    }
}

/// The `DecodeError` of a payload that is not even a message.
#[cold]
pub(crate) fn malformed(py: Python<'_>, message: &str, format: WireFormat, payload: &[u8]) -> PyErr {
    Malformed::new(message, Some(0)).into_error(py, format.name(), payload)
}

/// A name in backticks without them; other text as it is.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    inner.filter(|inner| !inner.contains('`')).unwrap_or(text).to_owned()
}

/// The steps of a path such as `$.orders[2].price`, and whether they lead all the way: `[...]` is any member.
fn steps(path: &str) -> (Vec<Step<'_>>, bool) {
    let mut steps = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or_default();
    while !rest.is_empty() {
        if let Some(field) = rest.strip_prefix('.') {
            let end = field.find(['.', '[']).unwrap_or(field.len());
            steps.push(Step::Field(&field[..end]));
            rest = &field[end..];
        } else if let Some((index, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Ok(index) = index.parse() else { return (steps, false) };
            steps.push(Step::Item(index));
            rest = behind;
        } else {
            return (steps, false);
        }
    }
    (steps, true)
}
