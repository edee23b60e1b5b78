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
pub(crate) mod own;
mod protobuf;
mod router;

use pyo3::prelude::*;

pub(crate) use decoder::Decoder;
pub(crate) use encode::encode;
pub(crate) use fallback::malformed;
pub(crate) use router::Router;

/// A wire format that msgspec has decoders and encoders of.
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
}

/// A wire format: which frames carry it follows from it, and with what was agreed it follows from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireFormat {
    /// One that msgspec stands behind.
    Common(Format),
    /// Protocol Buffers, in binary frames.
    Protobuf,
}

impl WireFormat {
    pub(crate) const JSON: Self = Self::Common(Format::Json);
    pub(crate) const MESSAGE_PACK: Self = Self::Common(Format::MessagePack);

    /// The format that Python names `name`.
    pub(crate) fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "json" => Ok(Self::JSON),
            "msgpack" => Ok(Self::MESSAGE_PACK),
            "protobuf" => Ok(Self::Protobuf),
            _ => Err(pyo3::exceptions::PyValueError::new_err(format!(
                "unknown format {name:?}: expected \"json\", \"msgpack\" or \"protobuf\""
            ))),
        }
    }

    /// The name that Python knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Common(format) => format.name(),
            Self::Protobuf => "protobuf",
        }
    }

    /// True if text frames carry it.
    #[inline]
    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::JSON)
    }

    /// What binary frames carry on a connection whose own messages have this format.
    #[inline]
    pub(crate) const fn binary(self) -> Self {
        match self {
            Self::Common(_) => Self::MESSAGE_PACK,
            Self::Protobuf => Self::Protobuf,
        }
    }
}

/// Adds the codec's Python names to `module`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<decoding::PyDecoder>()?;
    decoding::install(module)?;
    encoder::register(module)
}
