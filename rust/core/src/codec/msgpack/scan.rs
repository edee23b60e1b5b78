//! The optimistic MessagePack reader.
#![allow(clippy::cast_precision_loss, reason = "an integer where a float is wanted is rounded, as by msgspec")]
#![allow(clippy::inline_always, reason = "measured: the parts are small, called once a value, and 5 % of a decode")]

use super::super::plan::{Accepts, Choice, Classes, Items, Kind, Plan, Record, Shape, Tagged};
use super::super::text::{Text, word};
use super::super::{Fault, MAX_DEPTH, Refused, SequenceKind, Sink};
use super::code;
use super::skip::Cursor;

/// Reads one payload by `plan`.
///
/// # Errors
/// A [`Fault`] at the first thing that is left to the complete decoder.
#[inline]
pub fn decode<'a, S: Sink<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Result<S::Value, Fault> {
    let mut scanner = Scanner { plan, cursor: Cursor { input, at: 0 }, depth: 0 };
    scanner.message(sink).map_err(|Refused| Fault { offset: scanner.cursor.at })
}

struct Scanner<'p, 'a> {
    plan: &'p Plan,
    cursor: Cursor<'a>,
    /// Arrays and maps that the value being read lies in.
    depth: usize,
}

/// An integer of the format.
#[derive(Clone, Copy)]
enum Integer {
    Unsigned(u64),
    Signed(i64),
}

impl<'p, 'a> Scanner<'p, 'a> {
    #[inline(always)]
    fn message<S: Sink<'a>>(&mut self, sink: &mut S) -> Result<S::Value, Refused> {
        let root = self.plan.root();
        let value = match (&root.objects, self.cursor.peek()) {
            (Classes::One(record), Some(code::MAP0..=code::MAP15)) => self.object(*record, sink, true)?,
            (Classes::Tagged(tagged), Some(code::MAP0..=code::MAP15)) => {
                let record = self.member(tagged, true)?;
                self.object(record, sink, true)?
            }
            _ => self.value(root, sink)?,
        };
        if self.cursor.at == self.cursor.input.len() { Ok(value) } else { Err(Refused) }
    }

    #[inline]
    fn enter(&mut self) -> Result<(), Refused> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Refused) } else { Ok(()) }
    }

    /// The record that the map which begins here is, by its tag.
    #[inline]
    fn member(&self, tagged: &Tagged, top: bool) -> Result<usize, Refused> {
        if let Some(last) = tagged.last()
            && let Some(tag) = &self.plan.records()[last].tag
            && let Some(code::MAP0..=code::MAP15) = self.cursor.peek()
            && tag.msgpack_heads[0].stands_at(self.cursor.input, self.cursor.at + 1)
        {
            return Ok(last);
        }
        self.find_member(tagged, top)
    }

    #[inline(never)]
    fn find_member(&self, tagged: &Tagged, top: bool) -> Result<usize, Refused> {
        let mut cursor = self.cursor;
        for _ in 0..cursor.map()? {
            if cursor.text()? == tagged.field.name.as_bytes() {
                let tag = cursor.text()?;
                return tagged.find(self.plan, tag, top).ok_or(Refused);
            }
            cursor.skip_value(self.depth + 1)?;
        }
        Err(Refused)
    }

    /// Reads the map that begins here. `top`: it is the message itself.
    #[inline(always)]
    fn object<S: Sink<'a>>(&mut self, index: usize, sink: &mut S, top: bool) -> Result<S::Value, Refused> {
        let plan = self.plan;
        let record = &plan.records()[index];
        if let Some(foreign) = record.foreign {
            return self.foreign(foreign, sink);
        }
        let input = self.cursor.input;
        self.enter()?;
        let mut left = self.cursor.map()?;
        let mut target = sink.begin_record(index)?;
        if let (Some(tag), true) = (&record.tag, left > 0) {
            let [own, other] = &tag.msgpack_heads;
            if own.stands_at(input, self.cursor.at) {
                self.cursor.at += own.len();
                left -= 1;
            } else if top && other.stands_at(input, self.cursor.at) {
                self.cursor.at += other.len();
                left -= 1;
            }
        }
        let mut fields = 0;
        for field in &record.fields {
            if left == 0 || !field.msgpack_key.stands_at(input, self.cursor.at) {
                break;
            }
            self.cursor.at += field.msgpack_key.len();
            let value = self.item(field.kind, plan.shape(field.shape), sink)?;
            sink.put(&mut target, fields, value);
            fields += 1;
            left -= 1;
        }
        if left > 0 {
            self.in_any_order(record, &mut target, sink, (fields, left), top)?;
        }
        self.depth -= 1;
        sink.end_record(target)
    }

    /// Reads the rest of a map whose entries come in any order, with fields that the class doesn't have: `reached` is the
    /// index of the next field and the number of entries that are left.
    #[inline(never)]
    fn in_any_order<S: Sink<'a>>(
        &mut self,
        record: &Record,
        target: &mut S::Record,
        sink: &mut S,
        reached: (usize, usize),
        top: bool,
    ) -> Result<(), Refused> {
        let (mut next, left) = reached;
        for _ in 0..left {
            let expected = record.fields.get(next);
            let index = if let Some(field) = expected
                && field.msgpack_key.stands_at(self.cursor.input, self.cursor.at)
            {
                self.cursor.at += field.msgpack_key.len();
                next
            } else {
                let name = self.cursor.text()?;
                if let Some(index) = record.find(name, next) {
                    index
                } else {
                    self.no_field(record, name, top)?;
                    continue;
                }
            };
            let field = &record.fields[index];
            let value = self.item(field.kind, self.plan.shape(field.shape), sink)?;
            sink.replace(target, index, value);
            next = index + 1;
        }
        Ok(())
    }

    /// Reads the value of what is no field of the class: its tag, or nothing that anybody asked for.
    fn no_field(&mut self, record: &Record, name: &[u8], top: bool) -> Result<(), Refused> {
        if record.is_tag_field(name) {
            let tag = self.cursor.text()?;
            return if record.tag.as_ref().is_some_and(|own| own.is_at(tag, top)) { Ok(()) } else { Err(Refused) };
        }
        if record.forbids_unknown {
            return Err(Refused);
        }
        self.cursor.skip_value(self.depth)
    }

    /// Reads a value of a kind that is known.
    #[inline(always)]
    fn item<S: Sink<'a>>(&mut self, kind: Kind, shape: &'p Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let input = self.cursor.input;
        let at = self.cursor.at;
        let head = self.cursor.peek().ok_or(Refused)?;
        let value = match (kind, head) {
            (Kind::Text, code::STR0..=code::STR31) => {
                let end = at + 1 + usize::from(head & 0x1f);
                let bytes = input.get(at + 1..end).ok_or(Refused)?;
                self.cursor.at = end;
                sink.text(Text::new(bytes))
            }
            (Kind::Int, _) => match integer(input, at, head) {
                Some((Integer::Unsigned(value), end)) => {
                    self.cursor.at = end;
                    sink.unsigned(value)
                }
                Some((Integer::Signed(value), end)) => {
                    self.cursor.at = end;
                    sink.signed(value)
                }
                None => return self.value(shape, sink),
            },
            (Kind::Float | Kind::QuotedFloat, code::FLOAT64) => {
                let bytes = input.get(at + 1..).and_then(<[u8]>::first_chunk).ok_or(Refused)?;
                self.cursor.at = at + 9;
                sink.float(f64::from_be_bytes(*bytes))
            }
            _ => return self.value(shape, sink),
        };
        value.inspect_err(|_| self.cursor.at = at)
    }

    /// Hands the bytes of the value that begins here to the sink.
    #[inline(never)]
    fn foreign<S: Sink<'a>>(&mut self, foreign: usize, sink: &mut S) -> Result<S::Value, Refused> {
        let start = self.cursor.at;
        self.cursor.skip_value(self.depth)?;
        let bytes = self.cursor.input.get(start..self.cursor.at).ok_or(Refused)?;
        sink.foreign(foreign, bytes).inspect_err(|_| self.cursor.at = start)
    }

    /// Reads any value.
    #[inline(never)]
    fn value<S: Sink<'a>>(&mut self, shape: &'p Shape, sink: &mut S) -> Result<S::Value, Refused> {
        if let Some(foreign) = shape.foreign {
            return self.foreign(foreign, sink);
        }
        let start = self.cursor.at;
        let scalars = shape.scalars;
        let accepts = |what| if scalars.has(what) { Ok(()) } else { Err(Refused) };
        let head = self.cursor.peek().ok_or(Refused)?;
        if let Some((integer, end)) = integer(self.cursor.input, start, head) {
            let value = integer_value(integer, shape, sink)?;
            self.cursor.at = end;
            return Ok(value);
        }
        match head {
            code::FLOAT64 => {
                accepts(Accepts::FLOAT)?;
                self.cursor.at += 1;
                sink.float(f64::from_be_bytes(self.cursor.array()?))
            }
            code::FLOAT32 => {
                accepts(Accepts::FLOAT)?;
                self.cursor.at += 1;
                sink.float(f64::from(f32::from_be_bytes(self.cursor.array()?)))
            }
            code::STR0..=code::STR31 | code::STR8 | code::STR16 | code::STR32 => {
                let text = self.cursor.text()?;
                let value = match shape.choice {
                    _ if scalars.has(Accepts::TEXT) => sink.text(Text::new(text)),
                    Some(Choice { number, has_texts: true, .. }) => sink.chosen_text(number, text),
                    _ => Err(Refused),
                };
                value.inspect_err(|_| self.cursor.at = start)
            }
            code::BIN8 | code::BIN16 | code::BIN32 => {
                accepts(Accepts::BYTES)?;
                let bytes = self.cursor.binary()?;
                sink.bytes(bytes)
            }
            code::NIL => {
                accepts(Accepts::NULL)?;
                self.cursor.at += 1;
                Ok(sink.null())
            }
            code::TRUE | code::FALSE => {
                accepts(Accepts::BOOL)?;
                self.cursor.at += 1;
                Ok(sink.boolean(head == code::TRUE))
            }
            code::ARRAY0..=code::ARRAY15 | code::ARRAY16 | code::ARRAY32 => match (&shape.items, &shape.arrays) {
                (Some(Items::Many(kind, item)), _) => self.sequence(*kind, *item, sink),
                (Some(Items::Fixed(items)), _) => self.fixed(items, sink),
                (None, Classes::Nothing) => Err(Refused),
                (None, classes) => self.array_record(classes, sink),
            },
            code::MAP0..=code::MAP15 | code::MAP16 | code::MAP32 => match (&shape.objects, shape.table) {
                (Classes::One(record), _) => self.object(*record, sink, self.depth == 0),
                (Classes::Tagged(tagged), _) => {
                    let top = self.depth == 0;
                    let record = self.member(tagged, top)?;
                    self.object(record, sink, top)
                }
                (Classes::Nothing, Some(value)) => self.table(value, sink),
                (Classes::Nothing, None) => Err(Refused),
            },
            _ => Err(Refused),
        }
    }

    // The declared size allocates nothing: the sequence grows with the items that are really there.
    fn sequence<S: Sink<'a>>(&mut self, kind: SequenceKind, item: usize, sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        let plan = self.plan;
        let size = self.cursor.sequence()?;
        let mark = sink.begin_sequence();
        for _ in 0..size {
            let value = self.item(plan.kind(item), plan.shape(item), sink)?;
            sink.push(value);
        }
        self.depth -= 1;
        sink.end_sequence(mark, kind)
    }

    fn fixed<S: Sink<'a>>(&mut self, items: &[usize], sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        let plan = self.plan;
        if self.cursor.sequence()? != items.len() {
            return Err(Refused);
        }
        let mark = sink.begin_sequence();
        for item in items {
            let value = self.item(plan.kind(*item), plan.shape(*item), sink)?;
            sink.push(value);
        }
        self.depth -= 1;
        sink.end_sequence(mark, SequenceKind::Tuple)
    }

    fn table<S: Sink<'a>>(&mut self, value: usize, sink: &mut S) -> Result<S::Value, Refused> {
        self.enter()?;
        let plan = self.plan;
        let size = self.cursor.map()?;
        let mut table = sink.begin_table()?;
        for _ in 0..size {
            let key = Text::new(self.cursor.text()?);
            let value = self.item(plan.kind(value), plan.shape(value), sink)?;
            sink.insert(&mut table, key, value)?;
        }
        self.depth -= 1;
        Ok(sink.end_table(table))
    }

    /// Reads a class that is written as an array: its tag, then its fields in order.
    fn array_record<S: Sink<'a>>(&mut self, classes: &Classes, sink: &mut S) -> Result<S::Value, Refused> {
        let start = self.cursor.at;
        self.enter()?;
        let plan = self.plan;
        let mut left = self.cursor.sequence()?;
        let index = match classes {
            Classes::One(index) => *index,
            Classes::Tagged(_) | Classes::Nothing => usize::MAX,
        };
        let index = match (plan.records().get(index), classes) {
            (Some(Record { tag: None, .. }), _) => index,
            (record, classes) => {
                left = left.checked_sub(1).ok_or(Refused)?;
                let tag = self.cursor.text()?;
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
        if left > record.fields.len() && record.forbids_unknown {
            return Err(Refused);
        }
        let mut target = sink.begin_record(index)?;
        for (place, field) in record.fields.iter().enumerate().take(left) {
            let value = self.item(field.kind, plan.shape(field.shape), sink)?;
            sink.put(&mut target, place, value);
        }
        for _ in record.fields.len()..left {
            self.cursor.skip_value(self.depth)?;
        }
        self.depth -= 1;
        sink.end_record(target)
    }
}

/// The integer that begins at `at`, and where it ends.
#[inline(always)]
fn integer(input: &[u8], at: usize, head: u8) -> Option<(Integer, usize)> {
    let (bits, is_signed) = match head {
        0x00..=0x7f => return Some((Integer::Unsigned(u64::from(head)), at + 1)),
        0xe0..=0xff => return Some((Integer::Signed(i64::from(head.cast_signed())), at + 1)),
        code::UINT8..=code::UINT64 => (8 << (head - code::UINT8), false),
        code::INT8..=code::INT64 => (8 << (head - code::INT8), true),
        _ => return None,
    };
    let end = at + 1 + bits / 8;
    if end > input.len() {
        return None;
    }
    let aligned = word(input, at + 1).swap_bytes();
    let shift = 64 - bits;
    let integer =
        if is_signed { Integer::Signed(aligned.cast_signed() >> shift) } else { Integer::Unsigned(aligned >> shift) };
    Some((integer, end))
}

fn integer_value<'a, S: Sink<'a>>(integer: Integer, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
    if let Some(Choice { number, has_integers: true, .. }) = shape.choice {
        return match integer {
            Integer::Signed(value) => sink.chosen_integer(number, value),
            Integer::Unsigned(value) => sink.chosen_integer(number, i64::try_from(value).map_err(|_| Refused)?),
        };
    }
    match integer {
        Integer::Unsigned(value) if shape.scalars.has(Accepts::INT) => sink.unsigned(value),
        Integer::Signed(value) if shape.scalars.has(Accepts::INT) => sink.signed(value),
        Integer::Unsigned(value) if shape.scalars.has(Accepts::FLOAT) => sink.float(value as f64),
        Integer::Signed(value) if shape.scalars.has(Accepts::FLOAT) => sink.float(value as f64),
        _ => Err(Refused),
    }
}
