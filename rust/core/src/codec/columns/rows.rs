//! The sink that builds columns.
#![allow(clippy::inline_always, reason = "measured: a value goes from the scanner into its column in registers")]

use std::mem;

use super::super::{Refused, SequenceKind, Sink, Text};
use super::building::{Building, Cell, Kept};
use super::{Batch, Spec};

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
        self.columns.iter().any(Building::is_full)
    }

    /// Makes room for a batch of so many rows.
    pub fn reserve(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.reserve(rows);
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
        self.kept.add(bytes)
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
        self.columns.iter_mut().all(|column| column.len() > rows || column.push_missing())
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
