//! Protocol Buffers (proto3).
//!
//! Nothing stands behind this decoder, so it is complete: what it says of a payload counts. It has two readers. The quick
//! one takes payloads as senders write them (each field once, no groups) and gives up at anything else; the full one then
//! reads the payload from its beginning, finds what is wrong or puts together what is scattered. What counts as malformed
//! and which of several occurrences of a field count are as in Google's `upb`.

mod fault;
mod full;
mod peek;
mod plan;
mod quick;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use fault::{Malformed, Problem};
pub use peek::peek_tag;
pub use plan::{Absent, Field, Form, Invalid, Item, Label, Message, Number, Plan, Root, TAG_NUMBER, Tag};
pub use write::{
    Key, Mark, begin_nested, end_nested, key, short, write_bytes, write_double, write_float, write_signed,
    write_unsigned,
};

use super::{Refused, Sink};

/// A sink for values that are not what the wire has: dates, numbers with bounds, classes with code of their own.
pub trait Convert<'a>: Sink<'a> {
    /// What `value` becomes by conversion `conversion`, a number that the sink knows.
    ///
    /// # Errors
    /// When it can't be converted.
    fn convert(&mut self, conversion: usize, value: Self::Value) -> Result<Self::Value, Refused>;
}

/// Decodes one payload.
///
/// # Errors
/// [`Malformed`] says what is wrong where.
#[inline]
pub fn decode<'a, S: Convert<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Result<S::Value, Malformed> {
    match quick::decode(plan, input, sink) {
        Some(value) => Ok(value),
        None => full::decode(plan, input, sink),
    }
}

/// Decodes one payload that [`decode_quickly`] left.
///
/// # Errors
/// As [`decode`].
#[cold]
pub fn decode_fully<'a, S: Convert<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Result<S::Value, Malformed> {
    full::decode(plan, input, sink)
}

/// Decodes one payload as senders write it. None for any other, which is one for [`decode_fully`].
#[inline]
pub fn decode_quickly<'a, S: Convert<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Option<S::Value> {
    quick::decode(plan, input, sink)
}
