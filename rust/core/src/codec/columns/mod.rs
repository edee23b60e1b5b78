//! Messages as rows of columns: no value of its own for any of them.
//!
//! [`Rows`] is the [`Sink`](super::Sink) of a class whose fields are all plain values. Each record is a row once
//! [`Rows::commit`] keeps it; of any other nothing stays. [`Rows::finish`] gives the columns away without a copy.

mod bitmap;
mod building;
mod categories;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use bitmap::Bitmap;
pub use building::Cell;
pub use categories::Categories;
pub use rows::{Row, Rows};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 64 bit floats.
    Float64,
    /// 32 bit floats.
    Float32,
    /// Integers from -2**63 on.
    Int64,
    /// Integers from 0 to 2**64 - 1.
    UInt64,
    /// Integers of 32 bits.
    Int32,
    /// Integers from 0 to 2**32 - 1.
    UInt32,
    /// Truth values.
    Bool,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// What a row has where its message doesn't name the field.
#[derive(Clone, Debug, PartialEq)]
pub enum Missing {
    /// No row: the message is at fault, or only the complete decoder knows.
    Refuse,
    /// No value.
    Null,
    /// This truth value.
    Bool(bool),
    /// This integer.
    Signed(i64),
    /// This integer.
    Unsigned(u64),
    /// This float.
    Float(f64),
    /// This text, or these bytes.
    Bytes(Box<[u8]>),
}

/// One column to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What it holds.
    pub dtype: Dtype,
    /// A row may have no value.
    pub nullable: bool,
    /// The only texts or integers that are values, where that is so.
    pub choices: Option<Choices>,
    /// The value of a row whose message has none.
    pub missing: Missing,
}

/// The values of an enum or a `Literal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choices {
    /// Texts: their places are their codes.
    Texts(Box<[Box<str>]>),
    /// Integers.
    Integers(Box<[i64]>),
}

/// The values of a column's rows. Where a row has none, the place holds NaN, 0, false or the code -1.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 64 bit floats.
    Float64(Vec<f64>),
    /// 32 bit floats.
    Float32(Vec<f32>),
    /// Integers.
    Int64(Vec<i64>),
    /// Integers.
    UInt64(Vec<u64>),
    /// Integers.
    Int32(Vec<i32>),
    /// Integers.
    UInt32(Vec<u32>),
    /// Truth values, a byte each: 0 or 1.
    Bool(Vec<u8>),
    /// Codes of text.
    Text(Vec<i32>, Arc<Categories>),
    /// Codes of bytes.
    Bytes(Vec<i32>, Arc<Categories>),
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The values.
    pub values: Values,
    /// Which rows have one, where a row may have none.
    pub validity: Option<Bitmap>,
}

/// A batch of rows as columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// The columns, in the order in which they were specified.
    pub columns: Vec<Column>,
}
