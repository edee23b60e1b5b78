//! Typed message codecs: scanners that hand values to a sink, writers that append values to a buffer.
//!
//! A [`plan::Plan`] says what a message class looks like on the wire. [`json::decode`] and [`msgpack::decode`]
//! read one payload by it and give each value to a [`Sink`], which alone knows what a value is (a Python object,
//! a cell of a column). The scanners are optimistic: they accept a subset of what the format allows and stop with
//! a [`Fault`] at anything else (an escape in a string, an integer beyond 64 bits, a wrong type, broken syntax).
//! A fault is no verdict: the caller asks a slower, complete decoder, and that one decides.
//!
//! Input comes from the network: nothing here panics on it, recursion is bounded by [`MAX_DEPTH`] and by the
//! depth of the plan, and no size that the input merely declares is allocated for.

mod append;
pub mod json;
pub mod msgpack;
pub mod plan;

pub use append::Append;

/// Nesting of arrays and objects that is accepted in every format: 128 levels fit on any thread's stack and are
/// far beyond real messages.
pub const MAX_DEPTH: usize = 128;

/// Where an optimistic scanner met something that it leaves to the complete decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset in the payload.
    pub offset: usize,
    /// Index in the plan of the field whose value was being read.
    pub field: Option<u32>,
}

/// A sink cannot make the value (text that is not UTF-8, no memory): the scanner stops with a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Makes values of its own kind out of scanned scalars and puts them where they belong.
pub trait Sink {
    /// One value, owned: dropping it gives it back.
    type Value;
    /// A list being built.
    type List;
    /// A message being built.
    type Record;

    /// The null value.
    fn null(&mut self) -> Self::Value;
    /// A truth value.
    fn boolean(&mut self, value: bool) -> Self::Value;
    /// An integer.
    ///
    /// # Errors
    /// When the value can't be made.
    fn signed(&mut self, value: i64) -> Result<Self::Value, Refused>;
    /// An integer that may lie above the range of [`Sink::signed`].
    ///
    /// # Errors
    /// When the value can't be made.
    fn unsigned(&mut self, value: u64) -> Result<Self::Value, Refused>;
    /// A float.
    ///
    /// # Errors
    /// When the value can't be made.
    fn float(&mut self, value: f64) -> Result<Self::Value, Refused>;
    /// A text. `is_ascii` is proven by the scanner; other text is checked to be UTF-8 by the sink.
    ///
    /// # Errors
    /// When the bytes are not UTF-8, or the value can't be made.
    fn text(&mut self, bytes: &[u8], is_ascii: bool) -> Result<Self::Value, Refused>;
    /// An empty list.
    ///
    /// # Errors
    /// When the list can't be made.
    fn list(&mut self) -> Result<Self::List, Refused>;
    /// Appends to a list.
    ///
    /// # Errors
    /// When the list can't grow.
    fn push(&mut self, list: &mut Self::List, item: Self::Value) -> Result<(), Refused>;
    /// The finished list as a value.
    fn seal(&mut self, list: Self::List) -> Self::Value;
    /// Puts the value of field `field` (its index in the plan) into the record. A second value replaces the first.
    fn set(&mut self, record: &mut Self::Record, field: usize, value: Self::Value);
}

/// What a payload says about its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek<'a> {
    /// The tag, as it stands in the payload, and its offset.
    Tag(&'a [u8], usize),
    /// An object without a tag.
    Untagged,
    /// Not an object, not well formed as far as it was read, or a tag that is not plain text.
    Unclear,
}
