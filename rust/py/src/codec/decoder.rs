//! What a caller asked for, compiled, and the decode of one payload into it.

use std::sync::Arc;

use pyo3::prelude::*;

use super::Format;
use super::fallback::Fallback;

/// A compiled target type: one class, a union, `bytes`, `str`, or any type that msgspec knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Decoder {
    inner: Arc<Inner>,
}

struct Inner {
    fallback: Fallback,
}

impl Decoder {
    /// Compiles `type_`, or takes it from the bounded cache.
    ///
    /// # Errors
    /// `TypeError` that says what is wrong with a type that can't be decoded.
    pub(crate) fn compile(type_: &Bound<'_, PyAny>) -> PyResult<Self> {
        let fallback = Fallback::new(type_)?;
        Ok(Self { inner: Arc::new(Inner { fallback }) })
    }

    /// Decodes one message payload. `payload` need not outlive the call.
    ///
    /// # Errors
    /// `DecodeError` for a payload that is no such message.
    #[inline]
    pub(crate) fn decode<'py>(&self, py: Python<'py>, payload: &[u8], is_text: bool) -> PyResult<Bound<'py, PyAny>> {
        self.inner.fallback.decode(py, payload, Format::of_frame(is_text))
    }
}
