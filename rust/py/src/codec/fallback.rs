//! msgspec's own decoders, for what no plan holds, and its complaints as our errors.

use std::borrow::Cow;
use std::ops::Range;

use pyo3::exceptions::{PyRecursionError, PyUnicodeDecodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use websocket_utils_core::codec::plan::TagField;
use websocket_utils_core::codec::{MAX_DEPTH, json, msgpack};

use super::Format;
use super::class::Stop;

mod errors {
    pyo3::import_exception!(websocket_utils.exceptions, DecodeError);
    pyo3::import_exception!(msgspec, MsgspecError);
}

/// msgspec's decoders of one type.
pub(super) struct Fallback {
    json: Py<PyAny>,
    msgpack: Py<PyAny>,
    tags: Option<Tags>,
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
    pub(super) fn new(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = type_.py();
        let decode = |module| py.import(module)?.getattr("Decoder")?.call1((type_,))?.getattr("decode");
        Ok(Self { json: decode("msgspec.json")?.unbind(), msgpack: decode("msgspec.msgpack")?.unbind(), tags: None })
    }

    /// Makes the decoder read tags in both spellings, and name them in errors.
    pub(super) fn know_tags(&mut self, field: &str, spellings: Vec<(String, Option<String>)>) {
        self.tags = Some(Tags { field: TagField::new(field), spellings });
    }

    /// Decodes a payload that no plan holds; `stop` is where a plan gave up.
    ///
    /// # Errors
    /// `DecodeError`, or what a hook or a default factory of the class raised.
    #[cold]
    pub(super) fn decode<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        format: Format,
        stop: Option<Stop<'_>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let too_deep = match format {
            Format::Json => json::too_deep(payload),
            Format::MessagePack => msgpack::too_deep(payload),
        };
        if too_deep.is_some() {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Malformed { message, offset: too_deep, path: "$".into() }.into_error(
                py,
                format.name(),
                payload,
            ));
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
            if let (None, Some(Stop { offset, field: Some(name) })) = (malformed.offset, stop) {
                // The plan stopped at the same place, and it knows the offset.
                let field = format!("$.{name}");
                let rest = malformed.path.strip_prefix(&field);
                if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('[')) {
                    malformed.offset = Some(offset);
                }
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
pub(super) struct Malformed {
    pub(super) message: String,
    pub(super) offset: Option<usize>,
    pub(super) path: String,
}

impl Malformed {
    /// Takes a complaint of msgspec or CPython apart: text, "(byte 12)", " - at `$.price`".
    pub(super) fn of_python(py: Python<'_>, error: &PyErr, payload: &[u8]) -> Self {
        let text = error.value(py).to_string();
        let (text, path) = match text.rsplit_once(" - at `") {
            Some((text, path)) => (text.to_owned(), path.trim_end_matches('`').to_owned()),
            None => (text, "$".to_owned()),
        };
        let (message, offset) = match text.strip_suffix(')').and_then(|text| text.rsplit_once(" (byte ")) {
            Some((message, offset)) => (message.to_owned(), offset.parse().ok()),
            None if text == "Input data was truncated" => (text, Some(payload.len())),
            None => (text, None),
        };
        Self { message, offset, path }
    }

    /// The `DecodeError` with all of it, and the payload.
    pub(super) fn into_error(self, py: Python<'_>, format: &str, payload: &[u8]) -> PyErr {
        let make = || {
            let details = PyDict::new(py);
            details.set_item("format", format)?;
            details.set_item("offset", self.offset)?;
            details.set_item("path", &self.path)?;
            details.set_item("raw", PyBytes::new(py, payload))?;
            py.get_type::<errors::DecodeError>().call((&self.message,), Some(&details))
        };
        make().map_or_else(|error| error, PyErr::from_value)
    }
}
