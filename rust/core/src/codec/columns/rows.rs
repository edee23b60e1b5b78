//! The sink that builds columns.
#![allow(clippy::inline_always, reason = "measured: a value goes from the scanner into its column in registers")]

use std::mem;
use std::sync::Arc;

use super::super::text::{Text, hash};
use super::super::{Refused, SequenceKind, Sink};
use super::categories::{Categories, Table};
use super::{Batch, Bitmap, Choices, Column, Dtype, Missing, Spec, Values};

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

/// A row being built.
#[derive(Debug)]
pub struct Row {
    /// Columns that have a value for it.
    filled: usize,
    /// A value does not fit its column.
    is_misfit: bool,
}

/// Builds columns, a row for each record. Their categories are those of the batches before, up to a bound.
#[derive(Debug)]
pub struct Rows {
    /// Rows that were ended since the last batch.
    ended: usize,
    columns: Box<[Building]>,
    kept: Kept,
    open: Open,
}

/// Text and bytes that don't stand in the input as they are, of the row being built: one behind the other.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.ends.len() as u64 - 1
    }

    fn text(&self, index: u64) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(index).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }

    #[inline]
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The row being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// There is none.
    Nothing,
    /// It lacks values, or one of its values does not fit.
    Begun,
    /// It is whole. What follows its record in the message may still be at fault.
    Whole,
}

#[derive(Debug)]
struct Building {
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

impl Rows {
    /// No rows yet. One column for each field of the record, in the same order.
    #[must_use]
    pub fn new(specs: Vec<Spec>) -> Self {
        let columns = specs.into_iter().map(Building::new).collect();
        Self { ended: 0, columns, kept: Kept::default(), open: Open::Nothing }
    }

    /// Rows since the last batch.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ended
    }

    /// True if there is no row since the last batch.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ended == 0
    }

    /// The categories of a column have reached the bound of a stream: the batch should end.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.columns.iter().any(|column| matches!(&column.cells, Cells::Coded { table, .. } if table.is_full()))
    }

    /// Makes room for a batch of so many rows.
    pub fn reserve(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.cells.reserve(rows);
        }
    }

    /// Keeps the row of the last record, and says whether there is one. It must be called for each message that was read
    /// to its end: the row of any other is taken back.
    #[inline]
    pub fn commit(&mut self) -> bool {
        let is_whole = self.open == Open::Whole;
        if is_whole {
            self.ended += 1;
            self.open = Open::Nothing;
        }
        is_whole
    }

    /// Takes back what a row that was not kept has left.
    #[cold]
    fn roll_back(&mut self) {
        for column in &mut self.columns {
            column.cut(self.ended);
        }
        self.open = Open::Nothing;
    }

    /// The rows since the last batch, given away.
    pub fn finish(&mut self) -> Batch {
        if self.open != Open::Nothing {
            self.roll_back();
        }
        let rows = mem::take(&mut self.ended);
        Batch { rows, columns: self.columns.iter_mut().map(|column| column.finish(rows)).collect() }
    }

    /// Keeps text that is UTF-8, or bytes, until the row ends.
    pub fn keep(&mut self, bytes: &[u8]) -> Cell<'static> {
        Cell::word(Kind::Kept, self.kept.add(bytes))
    }

    /// As [`Sink::put`], and says whether the value fits its column.
    pub fn try_put(&mut self, row: &mut Row, field: usize, cell: Cell<'_>) -> bool {
        row.filled += 1;
        let fits = self.fill(field, cell);
        row.is_misfit |= !fits;
        fits
    }

    /// Puts a value into column `field`, and says whether it fits.
    #[inline(always)]
    fn fill(&mut self, field: usize, cell: Cell<'_>) -> bool {
        self.columns.get_mut(field).is_some_and(|column| column.push(cell, &self.kept))
    }

    /// Fills what a row has no value for, and says whether all of it could be.
    #[cold]
    fn complete(&mut self) -> bool {
        let rows = self.ended;
        self.columns.iter_mut().all(|column| column.cells.len() > rows || column.push_missing())
    }
}

impl Building {
    fn new(spec: Spec) -> Self {
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
    fn push(&mut self, cell: Cell<'_>, kept: &Kept) -> bool {
        match &mut self.validity {
            None => self.cells.push(cell, kept),
            Some(validity) => push_nullable(&mut self.cells, validity, cell, kept),
        }
    }

    fn push_missing(&mut self) -> bool {
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
    fn cut(&mut self, rows: usize) -> bool {
        let has_value = self.cells.len() > rows;
        if has_value {
            self.cells.pop();
            if let Some(validity) = &mut self.validity {
                validity.pop();
            }
        }
        has_value
    }

    fn finish(&mut self, rows: usize) -> Column {
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

impl<'a> Sink<'a> for Rows {
    type Value = Cell<'a>;
    type Table = ();
    type Record = Row;

    #[inline]
    fn null(&mut self) -> Cell<'a> {
        Cell::NULL
    }

    #[inline]
    fn boolean(&mut self, value: bool) -> Cell<'a> {
        Cell::boolean(value)
    }

    #[inline]
    fn signed(&mut self, value: i64) -> Result<Cell<'a>, Refused> {
        Ok(Cell::signed(value))
    }

    #[inline]
    fn unsigned(&mut self, value: u64) -> Result<Cell<'a>, Refused> {
        Ok(Cell::unsigned(value))
    }

    #[inline]
    fn float(&mut self, value: f64) -> Result<Cell<'a>, Refused> {
        Ok(Cell::float(value))
    }

    #[inline(always)]
    fn text(&mut self, text: Text<'a>) -> Result<Cell<'a>, Refused> {
        if text.is_ascii || str::from_utf8(text.bytes).is_ok() { Ok(Cell::text(text)) } else { Err(Refused) }
    }

    fn owned_text(&mut self, text: &str) -> Result<Cell<'a>, Refused> {
        Ok(self.keep(text.as_bytes()))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Cell<'a>, Refused> {
        Ok(self.keep(bytes))
    }

    // The column knows its choices, whichever number they have in the plan.
    fn chosen_text(&mut self, _choice: usize, text: &[u8]) -> Result<Cell<'a>, Refused> {
        Ok(self.keep(text))
    }

    #[inline]
    fn chosen_integer(&mut self, _choice: usize, integer: i64) -> Result<Cell<'a>, Refused> {
        Ok(Cell::signed(integer))
    }

    fn foreign(&mut self, _foreign: usize, _bytes: &'a [u8]) -> Result<Cell<'a>, Refused> {
        Err(Refused)
    }

    // No column holds sequences or tables: a plan that has any is read by the complete decoder.
    fn begin_sequence(&mut self) -> usize {
        0
    }

    fn push(&mut self, _item: Cell<'a>) {}

    fn end_sequence(&mut self, _mark: usize, _kind: SequenceKind) -> Result<Cell<'a>, Refused> {
        Err(Refused)
    }

    fn begin_table(&mut self) -> Result<(), Refused> {
        Err(Refused)
    }

    fn insert(&mut self, _table: &mut (), _key: Text<'a>, _value: Cell<'a>) -> Result<(), Refused> {
        Err(Refused)
    }

    fn end_table(&mut self, _table: ()) -> Cell<'a> {
        Cell::NULL
    }

    #[inline(always)]
    fn begin_record(&mut self, _record: usize) -> Result<Row, Refused> {
        if self.open != Open::Nothing {
            self.roll_back();
        }
        self.open = Open::Begun;
        self.kept.clear();
        Ok(Row { filled: 0, is_misfit: false })
    }

    #[inline(always)]
    fn put(&mut self, row: &mut Row, field: usize, cell: Cell<'a>) {
        row.filled += 1;
        if !self.fill(field, cell) {
            row.is_misfit = true;
        }
    }

    #[inline]
    fn replace(&mut self, row: &mut Row, field: usize, cell: Cell<'a>) {
        let had_value = self.columns.get_mut(field).is_some_and(|column| column.cut(self.ended));
        row.filled += usize::from(!had_value);
        if !self.fill(field, cell) {
            row.is_misfit = true;
        }
    }

    #[inline(always)]
    fn end_record(&mut self, row: Row) -> Result<Cell<'a>, Refused> {
        let is_complete = row.filled == self.columns.len() || self.complete();
        if row.is_misfit || !is_complete {
            return Err(Refused);
        }
        self.open = Open::Whole;
        Ok(Cell::NULL)
    }
}
