//! Typed decode into message objects and encode out of them.
//!
//! msgspec owns the type model, Rust the hot path: a message class is compiled once to a plan, and a payload that
//! the plan understands is written straight into the slots of a new instance. The plan is optimistic: it accepts
//! only what msgspec accepts, with the same value. On anything else the whole payload goes to msgspec (behind a
//! depth check of our own), whose value is returned or whose complaint becomes a `DecodeError`.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "CPython's sizes are signed and never negative")]

mod class;
mod decoder;
mod decoding;
mod encode;
mod encoder;
mod fallback;
mod intern;
mod model;
mod object;
mod router;

use pyo3::prelude::*;

pub(crate) use decoder::Decoder;
pub(crate) use encode::encode;
pub(crate) use router::Router;

/// A wire format: which frames carry it follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON, in text frames.
    Json,
    /// MessagePack, in binary frames.
    MessagePack,
}

impl Format {
    /// The name that Python knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
        }
    }

    /// The format that Python names `name`.
    pub(crate) fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::MessagePack),
            _ => Err(pyo3::exceptions::PyValueError::new_err(format!(
                "unknown format {name:?}: expected \"json\" or \"msgpack\""
            ))),
        }
    }

    /// The format of a data frame.
    pub(crate) const fn of_frame(is_text: bool) -> Self {
        if is_text { Self::Json } else { Self::MessagePack }
    }
}

/// Adds the codec's Python names to `module`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<decoding::PyDecoder>()?;
    decoding::install(module)?;
    encoder::register(module)
}
