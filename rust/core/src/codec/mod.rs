//! Typed message codecs: scanners that hand values to a sink, writers that append values to a buffer.
//!
//! A [`plan::Plan`] says what a message looks like on the wire. [`json::decode`] and [`msgpack::decode`] read one payload
//! by it and give each value to a [`Sink`], which alone knows what a value is (a Python object, a cell of a column). These
//! two are optimistic: they accept a subset of what the format allows and stop with a [`Fault`] at anything else (an
//! integer beyond 64 bits, a wrong type, broken syntax). A fault is no verdict: the caller asks a slower, complete
//! decoder, and that one decides.
//!
//! Input comes from the network: nothing here panics on it, recursion is bounded by [`MAX_DEPTH`], and no size that the
//! input merely declares is allocated for.

mod append;
pub mod columns;
mod expected;
pub mod json;
pub mod msgpack;
pub mod plan;
pub mod protobuf;
pub mod text;

pub use append::Append;
pub use text::Text;

/// Nesting of arrays and objects that is accepted in every format: 128 levels fit on any thread's stack and are
/// far beyond real messages.
pub const MAX_DEPTH: usize = 128;

/// Where an optimistic scanner met something that it leaves to the complete decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset in the payload.
    pub offset: usize,
}

/// A sink cannot make the value (text that is not UTF-8, no memory): the scanner stops with a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a sequence of items becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceKind {
    /// A list.
    List,
    /// A tuple.
    Tuple,
    /// A set.
    Set,
    /// A set that can't change.
    FrozenSet,
}

/// Makes values of its own kind out of scanned ones and puts them where they belong. `'a` is the input's life.
pub trait Sink<'a> {
    /// One value, owned: dropping it gives it back.
    type Value;
    /// A table (text to value) being built.
    type Table;
    /// A record being built.
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
    /// A text. That it is ASCII is proven where it says so; other text is checked to be UTF-8 by the sink.
    ///
    /// # Errors
    /// When the bytes are not UTF-8, or the value can't be made.
    fn text(&mut self, text: Text<'a>) -> Result<Self::Value, Refused>;
    /// A text that does not stand in the input as it is.
    ///
    /// # Errors
    /// As [`Sink::text`].
    fn owned_text(&mut self, text: &str) -> Result<Self::Value, Refused>;
    /// Bytes.
    ///
    /// # Errors
    /// When the value can't be made.
    fn bytes(&mut self, bytes: &[u8]) -> Result<Self::Value, Refused>;
    /// The value of choice `choice` that `text` stands for.
    ///
    /// # Errors
    /// When it stands for none.
    fn chosen_text(&mut self, choice: usize, text: &[u8]) -> Result<Self::Value, Refused>;
    /// The value of choice `choice` that `integer` stands for.
    ///
    /// # Errors
    /// When it stands for none.
    fn chosen_integer(&mut self, choice: usize, integer: i64) -> Result<Self::Value, Refused>;
    /// The value that something else than a plan makes of these bytes, which are one well-formed value of the format.
    ///
    /// # Errors
    /// When it makes none.
    fn foreign(&mut self, foreign: usize, bytes: &'a [u8]) -> Result<Self::Value, Refused>;

    /// Begins a sequence: what [`Sink::push`] adds until its [`Sink::end_sequence`] is in it. Sequences nest.
    fn begin_sequence(&mut self) -> usize;
    /// Adds an item to the innermost sequence.
    fn push(&mut self, item: Self::Value);
    /// The value of the sequence that began with `mark`.
    ///
    /// # Errors
    /// When the value can't be made.
    fn end_sequence(&mut self, mark: usize, kind: SequenceKind) -> Result<Self::Value, Refused>;

    /// An empty table.
    ///
    /// # Errors
    /// When it can't be made.
    fn begin_table(&mut self) -> Result<Self::Table, Refused>;
    /// Puts a value into a table. A second value of one key replaces the first.
    ///
    /// # Errors
    /// When the key is not UTF-8, or the table can't grow.
    fn insert(&mut self, table: &mut Self::Table, key: Text<'a>, value: Self::Value) -> Result<(), Refused>;
    /// The finished table as a value.
    fn end_table(&mut self, table: Self::Table) -> Self::Value;

    /// An empty record: `record` is its index in the plan.
    ///
    /// # Errors
    /// When it can't be made.
    fn begin_record(&mut self, record: usize) -> Result<Self::Record, Refused>;
    /// Puts the value of field `field` (its index in the plan's record) into the record, where none was before.
    fn put(&mut self, record: &mut Self::Record, field: usize, value: Self::Value);
    /// As [`Sink::put`], but a value that was there is replaced.
    fn replace(&mut self, record: &mut Self::Record, field: usize, value: Self::Value);
    /// The finished record as a value: fields that have none get their default.
    ///
    /// # Errors
    /// When a field without default has no value.
    fn end_record(&mut self, record: Self::Record) -> Result<Self::Value, Refused>;
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

/// One step of the way to a value within a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The value of this member of an object, or of this entry of a map.
    Field(&'a str),
    /// The item with this index.
    Item(usize),
}
