//! Columns while rows are appended to them.
#![allow(clippy::inline_always, reason = "measured: a value goes from the scanner into its column in registers")]

use std::mem;
use std::sync::Arc;

use super::super::text::{Text, hash};
use super::categories::{Categories, Table};
use super::{Bitmap, Choices, Column, Dtype, Missing, Spec, Values};

/// A value on its way into a column. All its parts are whole words, each for itself: what is written in parts and read
/// again in larger ones waits for the store in between, which took half of a decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    kind: Kind,
    /// The number's bits, the text's hash, or which of those that the sink keeps it is.
    word: u64,
    text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Kind {
    Null,
    Bool,
    Signed,
    Unsigned,
    Float,
    Text,
    /// Text that is UTF-8, or bytes, that the sink keeps until the row ends.
    Kept,
}

impl<'a> Cell<'a> {
    /// No value.
    pub const NULL: Self = Self::word(Kind::Null, 0);

    #[inline]
    const fn word(kind: Kind, word: u64) -> Self {
        Self { kind, word, text: &[] }
    }

    /// A truth value.
    #[inline]
    #[must_use]
    pub const fn boolean(value: bool) -> Self {
        Self::word(Kind::Bool, value as u64)
    }

    /// An integer.
    #[inline]
    #[must_use]
    pub const fn signed(value: i64) -> Self {
        Self::word(Kind::Signed, value.cast_unsigned())
    }

    /// An integer.
    #[inline]
    #[must_use]
    pub const fn unsigned(value: u64) -> Self {
        Self::word(Kind::Unsigned, value)
    }

    /// A float.
    #[inline]
    #[must_use]
    pub const fn float(value: f64) -> Self {
        Self::word(Kind::Float, value.to_bits())
    }

    /// Text that is UTF-8, or bytes.
    #[inline]
    #[must_use]
    pub fn text(text: Text<'a>) -> Self {
        Self { kind: Kind::Text, word: text.hash, text: text.bytes }
    }
}

/// Text and bytes that don't stand in the input as they are, of the row being built: one behind the other.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Kept {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Cell<'static> {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        Cell::word(Kind::Kept, self.ends.len() as u64 - 1)
    }

    fn text(&self, index: u64) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(index).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// One column.
#[derive(Debug)]
pub(super) struct Building {
    cells: Cells,
    validity: Option<Bitmap>,
    missing: Missing,
}

#[derive(Debug)]
enum Cells {
    Float64(Vec<f64>),
    Float32(Vec<f32>),
    Int64(Vec<i64>),
    UInt64(Vec<u64>),
    Int32(Vec<i32>),
    UInt32(Vec<u32>),
    Bool(Vec<u8>),
    /// Integers of which only these are values, in order.
    Chosen(Vec<i64>, Box<[i64]>),
    Coded {
        codes: Vec<i32>,
        table: Table,
        is_text: bool,
        is_fixed: bool,
    },
}

impl Building {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.cells.reserve(rows);
    }

    /// Its categories have reached the bound of a stream.
    pub(super) const fn is_full(&self) -> bool {
        matches!(&self.cells, Cells::Coded { table, is_fixed: false, .. } if table.is_full())
    }

    pub(super) fn new(spec: Spec) -> Self {
        let coded = |is_text| Cells::Coded { codes: Vec::new(), table: Table::default(), is_text, is_fixed: false };
        let cells = match (spec.dtype, spec.choices) {
            (_, Some(Choices::Integers(mut integers))) => {
                integers.sort_unstable();
                Cells::Chosen(Vec::new(), integers)
            }
            (_, Some(Choices::Texts(texts))) => {
                let mut table = Table::default();
                for text in &texts {
                    table.code(text.as_bytes(), hash(text.as_bytes()));
                }
                Cells::Coded { codes: Vec::new(), table, is_text: true, is_fixed: true }
            }
            (Dtype::Float64, None) => Cells::Float64(Vec::new()),
            (Dtype::Float32, None) => Cells::Float32(Vec::new()),
            (Dtype::Int64, None) => Cells::Int64(Vec::new()),
            (Dtype::UInt64, None) => Cells::UInt64(Vec::new()),
            (Dtype::Int32, None) => Cells::Int32(Vec::new()),
            (Dtype::UInt32, None) => Cells::UInt32(Vec::new()),
            (Dtype::Bool, None) => Cells::Bool(Vec::new()),
            (Dtype::Text, None) => coded(true),
            (Dtype::Bytes, None) => coded(false),
        };
        Self { cells, validity: spec.nullable.then(Bitmap::default), missing: spec.missing }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, cell: Cell<'_>, kept: &Kept) -> bool {
        match &mut self.validity {
            None => self.cells.push(cell, kept),
            Some(validity) => push_nullable(&mut self.cells, validity, cell, kept),
        }
    }

    pub(super) fn push_missing(&mut self) -> bool {
        let cell = match &self.missing {
            Missing::Refuse => return false,
            Missing::Null => Cell::NULL,
            Missing::Bool(value) => Cell::boolean(*value),
            Missing::Signed(value) => Cell::signed(*value),
            Missing::Unsigned(value) => Cell::unsigned(*value),
            Missing::Float(value) => Cell::float(*value),
            Missing::Bytes(bytes) => Cell::text(Text::new(bytes)),
        };
        match &mut self.validity {
            None => self.cells.push(cell, &Kept::default()),
            Some(validity) => push_nullable(&mut self.cells, validity, cell, &Kept::default()),
        }
    }

    /// Takes back the value of row `rows`, and says whether there was one.
    pub(super) fn cut(&mut self, rows: usize) -> bool {
        let has_value = self.cells.len() > rows;
        if has_value {
            self.cells.pop();
            if let Some(validity) = &mut self.validity {
                validity.pop();
            }
        }
        has_value
    }

    pub(super) fn finish(&mut self, rows: usize) -> Column {
        let values = self.cells.finish(rows);
        // The next batch is mostly as long.
        let next = || Bitmap::with_capacity(rows);
        Column { values, validity: self.validity.as_mut().map(|validity| mem::replace(validity, next())) }
    }
}

fn push_nullable(cells: &mut Cells, validity: &mut Bitmap, cell: Cell<'_>, kept: &Kept) -> bool {
    let has_value = cell.kind != Kind::Null;
    let fits = if has_value { cells.push(cell, kept) } else { cells.push_null() };
    if fits {
        validity.push(has_value);
    }
    fits
}

/// Pushes an integer if it is in the range of the items, and says whether it is.
#[inline(always)]
fn push_integer<T: TryFrom<i64> + TryFrom<u64>>(items: &mut Vec<T>, cell: Cell<'_>) -> bool {
    let item = match cell.kind {
        Kind::Unsigned => T::try_from(cell.word).ok(),
        Kind::Signed => T::try_from(cell.word.cast_signed()).ok(),
        _ => None,
    };
    let Some(item) = item else { return false };
    items.push(item);
    true
}

impl Cells {
    #[inline(always)]
    fn push(&mut self, cell: Cell<'_>, kept: &Kept) -> bool {
        match self {
            Self::Float64(items) => {
                let is_float = cell.kind == Kind::Float;
                if is_float {
                    items.push(f64::from_bits(cell.word));
                }
                is_float
            }
            Self::Coded { codes, table, is_fixed, .. } => {
                let (text, hash) = match cell.kind {
                    Kind::Text => (cell.text, cell.word),
                    Kind::Kept => (kept.text(cell.word), hash(kept.text(cell.word))),
                    _ => return false,
                };
                let code = if *is_fixed { table.find(text, hash) } else { table.code(text, hash) };
                let Some(code) = code else { return false };
                codes.push(code.cast_signed());
                true
            }
            Self::Int64(items) => push_integer(items, cell),
            Self::UInt64(items) => push_integer(items, cell),
            Self::Int32(items) => push_integer(items, cell),
            Self::UInt32(items) => push_integer(items, cell),
            Self::Float32(items) => {
                let is_float = cell.kind == Kind::Float;
                if is_float {
                    items.push(f64::from_bits(cell.word) as f32);
                }
                is_float
            }
            Self::Bool(items) => {
                let is_bool = cell.kind == Kind::Bool;
                if is_bool {
                    items.push(cell.word as u8);
                }
                is_bool
            }
            Self::Chosen(items, chosen) => {
                if !push_integer(items, cell) {
                    return false;
                }
                let is_chosen = items.last().is_some_and(|item| chosen.binary_search(item).is_ok());
                if !is_chosen {
                    items.pop();
                }
                is_chosen
            }
        }
    }

    fn push_null(&mut self) -> bool {
        match self {
            Self::Float64(items) => items.push(f64::NAN),
            Self::Float32(items) => items.push(f32::NAN),
            Self::Int64(items) | Self::Chosen(items, _) => items.push(0),
            Self::UInt64(items) => items.push(0),
            Self::Int32(items) => items.push(0),
            Self::UInt32(items) => items.push(0),
            Self::Bool(items) => items.push(0),
            Self::Coded { codes, .. } => codes.push(-1),
        }
        true
    }

    fn len(&self) -> usize {
        match self {
            Self::Float64(items) => items.len(),
            Self::Float32(items) => items.len(),
            Self::Int64(items) | Self::Chosen(items, _) => items.len(),
            Self::UInt64(items) => items.len(),
            Self::Int32(items) | Self::Coded { codes: items, .. } => items.len(),
            Self::UInt32(items) => items.len(),
            Self::Bool(items) => items.len(),
        }
    }

    fn pop(&mut self) {
        match self {
            Self::Float64(items) => drop(items.pop()),
            Self::Float32(items) => drop(items.pop()),
            Self::Int64(items) | Self::Chosen(items, _) => drop(items.pop()),
            Self::UInt64(items) => drop(items.pop()),
            Self::Int32(items) | Self::Coded { codes: items, .. } => drop(items.pop()),
            Self::UInt32(items) => drop(items.pop()),
            Self::Bool(items) => drop(items.pop()),
        }
    }

    fn reserve(&mut self, rows: usize) {
        match self {
            Self::Float64(items) => items.reserve_exact(rows),
            Self::Float32(items) => items.reserve_exact(rows),
            Self::Int64(items) | Self::Chosen(items, _) => items.reserve_exact(rows),
            Self::UInt64(items) => items.reserve_exact(rows),
            Self::Int32(items) | Self::Coded { codes: items, .. } => items.reserve_exact(rows),
            Self::UInt32(items) => items.reserve_exact(rows),
            Self::Bool(items) => items.reserve_exact(rows),
        }
    }

    fn finish(&mut self, rows: usize) -> Values {
        match self {
            Self::Float64(items) => Values::Float64(mem::take(items)),
            Self::Float32(items) => Values::Float32(mem::take(items)),
            Self::Int64(items) | Self::Chosen(items, _) => Values::Int64(mem::take(items)),
            Self::UInt64(items) => Values::UInt64(mem::take(items)),
            Self::Int32(items) => Values::Int32(mem::take(items)),
            Self::UInt32(items) => Values::UInt32(mem::take(items)),
            Self::Bool(items) => Values::Bool(mem::take(items)),
            Self::Coded { codes, table, is_text, is_fixed } => {
                let categories: Arc<Categories> = table.shared();
                if !*is_fixed {
                    table.end_batch(rows);
                }
                let codes = mem::take(codes);
                if *is_text { Values::Text(codes, categories) } else { Values::Bytes(codes, categories) }
            }
        }
    }
}
