//! The reader's way through arrays and tables.
#![allow(clippy::inline_always, reason = "measured: once an item, see `scan`")]

use super::super::plan::{Classes, Kind, Record, Shape};
use super::super::{Refused, SequenceKind, Sink};
use super::number;
use super::scan::Scanner;

impl<'p, 'a> Scanner<'p, 'a> {
    pub(super) fn sequence<S: Sink<'a>>(
        &mut self,
        kind: SequenceKind,
        item: usize,
        sink: &mut S,
    ) -> Result<S::Value, Refused> {
        self.enter()?;
        self.cursor.at += 1;
        let plan = self.plan;
        let (item_kind, shape) = (plan.kind(item), plan.shape(item));
        let mark = sink.begin_sequence();
        let mut is_first = true;
        if let Kind::Float | Kind::QuotedFloat = item_kind {
            if !self.cursor.next_item(true)? {
                self.depth -= 1;
                return sink.end_sequence(mark, kind);
            }
            if item_kind == Kind::Float {
                self.floats::<S, false>(shape, sink)?;
            } else {
                self.floats::<S, true>(shape, sink)?;
            }
            is_first = false;
        }
        while self.cursor.next_item(is_first)? {
            is_first = false;
            let value = match item_kind {
                Kind::Floats(size, shape) if self.cursor.byte() == Some(b'[') => {
                    self.float_tuple(size as usize, shape as usize, sink)?
                }
                Kind::Many(kind, item) if self.cursor.byte() == Some(b'[') => {
                    self.sequence(kind, item as usize, sink)?
                }
                kind => self.item(kind, shape, sink)?,
            };
            sink.push(value);
        }
        self.depth -= 1;
        sink.end_sequence(mark, kind)
    }

    /// Reads a tuple of `size` floats.
    fn float_tuple<S: Sink<'a>>(&mut self, size: usize, shape: usize, sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        self.cursor.at += 1;
        let plan = self.plan;
        let (kind, shape) = (plan.kind(shape), plan.shape(shape));
        let mark = sink.begin_sequence();
        let mut read = 0;
        let mut is_first = true;
        while self.cursor.next_item(is_first)? {
            is_first = false;
            read += if kind == Kind::Float {
                self.floats::<S, false>(shape, sink)?
            } else {
                self.floats::<S, true>(shape, sink)?
            };
        }
        if read != size {
            return Err(Refused);
        }
        self.depth -= 1;
        sink.end_sequence(mark, SequenceKind::Tuple)
    }

    /// Reads floats up to one that no comma follows at once, and says how many.
    #[inline(always)]
    fn floats<S: Sink<'a>, const IN_QUOTES: bool>(&mut self, shape: &'p Shape, sink: &mut S) -> Result<usize, Refused> {
        let input = self.cursor.input;
        let mut at = self.cursor.at;
        let mut read = 0;
        loop {
            let quotes = usize::from(IN_QUOTES && input.get(at) == Some(&b'"'));
            let value = match number::plain_float(input, at + quotes) {
                Some((value, end)) if quotes == 0 || input.get(end) == Some(&b'"') => {
                    at = end + quotes;
                    sink.float(value)?
                }
                _ => {
                    self.cursor.at = at;
                    let value = self.value(shape, sink)?;
                    at = self.cursor.at;
                    value
                }
            };
            sink.push(value);
            read += 1;
            if input.get(at) != Some(&b',') {
                self.cursor.at = at;
                return Ok(read);
            }
            at += 1;
        }
    }

    pub(super) fn fixed<S: Sink<'a>>(&mut self, items: &[usize], sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        self.cursor.at += 1;
        let plan = self.plan;
        let mark = sink.begin_sequence();
        let mut is_first = true;
        for item in items {
            if !self.cursor.next_item(is_first)? {
                return Err(Refused);
            }
            is_first = false;
            let value = self.item(plan.kind(*item), plan.shape(*item), sink)?;
            sink.push(value);
        }
        if self.cursor.next_item(is_first)? {
            return Err(Refused);
        }
        self.depth -= 1;
        sink.end_sequence(mark, SequenceKind::Tuple)
    }

    pub(super) fn table<S: Sink<'a>>(&mut self, value: usize, sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        self.cursor.at += 1;
        let plan = self.plan;
        let mut table = sink.begin_table()?;
        let mut is_first = true;
        while let Some(key) = self.cursor.next_key(is_first)? {
            is_first = false;
            self.cursor.skip_space();
            let value = self.item(plan.kind(value), plan.shape(value), sink)?;
            sink.insert(&mut table, key, value)?;
        }
        self.depth -= 1;
        Ok(sink.end_table(table))
    }

    /// Reads a class that is written as an array: its tag, then its fields in order.
    pub(super) fn array_record<S: Sink<'a>>(&mut self, classes: &Classes, sink: &mut S) -> Result<S::Value, Refused> {
        let start = self.cursor.at;
        self.enter()?;
        self.cursor.at += 1;
        let plan = self.plan;
        let mut is_first = true;
        let index = match classes {
            Classes::One(index) => *index,
            Classes::Tagged(_) | Classes::Nothing => usize::MAX,
        };
        let index = match (plan.records().get(index), classes) {
            (Some(Record { tag: None, .. }), _) => index,
            (record, classes) => {
                if !self.cursor.next_item(true)? {
                    return Err(Refused);
                }
                is_first = false;
                let tag = self.cursor.plain_text()?.bytes;
                match (record, classes) {
                    (Some(Record { tag: Some(own), .. }), _) if own.value.as_bytes() == tag => index,
                    (None, Classes::Tagged(tagged)) => tagged.find(plan, tag, false).ok_or(Refused)?,
                    _ => return Err(Refused),
                }
            }
        };
        let record = &plan.records()[index];
        if let Some(foreign) = record.foreign {
            self.cursor.at = start;
            self.depth -= 1;
            return self.foreign(foreign, sink);
        }
        let mut target = sink.begin_record(index)?;
        let mut fields = record.fields.iter().enumerate();
        while self.cursor.next_item(is_first)? {
            is_first = false;
            match fields.next() {
                Some((place, field)) => {
                    let value = self.item(field.kind, plan.shape(field.shape), sink)?;
                    sink.put(&mut target, place, value);
                }
                None if record.forbids_unknown => return Err(Refused),
                None => self.cursor.skip_value(self.depth)?,
            }
        }
        self.depth -= 1;
        sink.end_record(target)
    }
}
