//! The optimistic JSON reader.
//!
//! Senders mostly write a message without spaces, the tag first and every field in the class's order: such a message is
//! read with one compare for each key and no decision that the message itself does not ask for. At the first thing that is
//! otherwise, the reader for any order goes on from there.
#![allow(clippy::cast_precision_loss, reason = "an integer where a float is wanted is rounded, as by msgspec")]
#![allow(clippy::inline_always, reason = "measured: the parts are small, called once a value, and 15 % of a decode")]

use super::super::plan::{Accepts, Choice, Classes, Items, Kind, Plan, Record, Shape, Tagged};
use super::super::{Fault, MAX_DEPTH, Refused, Sink};
use super::number::{self, Number};
use super::skip::Cursor;
use super::{base64, escape, plain};

/// Reads one payload by `plan`.
///
/// # Errors
/// A [`Fault`] at the first thing that is left to the complete decoder.
#[inline]
pub fn decode<'a, S: Sink<'a>>(plan: &Plan, input: &'a [u8], sink: &mut S) -> Result<S::Value, Fault> {
    let mut scanner = Scanner { plan, cursor: Cursor { input, at: 0 }, depth: 0 };
    scanner.message(sink).map_err(|Refused| Fault { offset: scanner.cursor.at })
}

pub(super) struct Scanner<'p, 'a> {
    pub(super) plan: &'p Plan,
    pub(super) cursor: Cursor<'a>,
    /// Arrays and objects that the value being read lies in.
    pub(super) depth: usize,
}

/// How far an object was read in order.
struct Reached {
    /// Fields that were read: the index of the next one.
    fields: usize,
    /// Nothing of the object's content was read, only its brace.
    is_first: bool,
}

impl<'p, 'a> Scanner<'p, 'a> {
    #[inline(always)]
    fn message<S: Sink<'a>>(&mut self, sink: &mut S) -> Result<S::Value, Refused> {
        let root = self.plan.root();
        // Each its own way out: a value of several words would be copied to where the ways meet.
        match &root.objects {
            Classes::One(record) if self.cursor.byte() == Some(b'{') => {
                let value = self.object(*record, sink, true)?;
                self.end(value)
            }
            Classes::Tagged(tagged) if self.cursor.byte() == Some(b'{') => {
                let record = self.member(tagged, true)?;
                let value = self.object(record, sink, true)?;
                self.end(value)
            }
            _ => {
                let value = self.value(root, sink)?;
                self.end(value)
            }
        }
    }

    /// The value of a message, if nothing but space follows it.
    #[inline(always)]
    fn end<T>(&mut self, value: T) -> Result<T, Refused> {
        if self.cursor.at != self.cursor.input.len() {
            self.cursor.skip_space();
        }
        if self.cursor.at == self.cursor.input.len() { Ok(value) } else { Err(Refused) }
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Refused> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Refused) } else { Ok(()) }
    }

    /// The record that the object which begins here is, by its tag.
    #[inline]
    fn member(&self, tagged: &Tagged, top: bool) -> Result<usize, Refused> {
        if let Some(last) = tagged.last()
            && let Some(tag) = &self.plan.records()[last].tag
            && tag.json_heads[0].stands_at(self.cursor.input, self.cursor.at + 1)
        {
            return Ok(last);
        }
        self.find_member(tagged, top)
    }

    #[inline(never)]
    fn find_member(&self, tagged: &Tagged, top: bool) -> Result<usize, Refused> {
        let mut cursor = self.cursor;
        cursor.at += 1;
        let mut is_first = true;
        while let Some(name) = cursor.next_key(is_first)? {
            is_first = false;
            if name.bytes == tagged.field.name.as_bytes() {
                cursor.skip_space();
                let tag = cursor.plain_text()?;
                return tagged.find(self.plan, tag.bytes, top).ok_or(Refused);
            }
            cursor.skip_value(self.depth + 1)?;
        }
        Err(Refused)
    }

    /// Reads the object that begins here. `top`: it is the message itself.
    #[inline(always)]
    fn object<S: Sink<'a>>(&mut self, index: usize, sink: &mut S, top: bool) -> Result<S::Value, Refused> {
        let plan = self.plan;
        let record = &plan.records()[index];
        if let Some(foreign) = record.foreign {
            return self.foreign(foreign, sink);
        }
        let input = self.cursor.input;
        self.enter()?;
        let mut target = sink.begin_record(index)?;
        let mut at = self.cursor.at + 1;
        let mut is_first = true;
        if let Some(tag) = &record.tag {
            let [own, other] = &tag.json_heads;
            if own.stands_at(input, at) {
                at += own.len();
                is_first = false;
            } else if top && other.stands_at(input, at) {
                at += other.len();
                is_first = false;
            }
        }
        let mut fields = 0;
        for field in &record.fields {
            let key = if is_first { &field.json_key } else { &field.json_next_key };
            if !key.stands_at(input, at) {
                break;
            }
            at += key.len();
            let value = if let Some((value, end)) = self.quick(field.kind, at, sink)? {
                at = end;
                value
            } else {
                self.cursor.at = at;
                let value = self.value(plan.shape(field.shape), sink)?;
                at = self.cursor.at;
                value
            };
            sink.put(&mut target, fields, value);
            fields += 1;
            is_first = false;
        }
        if fields == record.fields.len() && input.get(at) == Some(&b'}') {
            self.cursor.at = at + 1;
        } else {
            self.cursor.at = at;
            self.in_any_order(record, &mut target, sink, &Reached { fields, is_first }, top)?;
        }
        self.depth -= 1;
        sink.end_record(target)
    }

    /// Reads a plain value of a simple kind, and says where it ends; None for any other.
    #[inline(always)]
    pub(super) fn quick<S: Sink<'a>>(
        &mut self,
        kind: Kind,
        at: usize,
        sink: &mut S,
    ) -> Result<Option<(S::Value, usize)>, Refused> {
        let input = self.cursor.input;
        let value = match kind {
            Kind::Text => {
                if input.get(at) != Some(&b'"') {
                    return Ok(None);
                }
                let (text, end) = plain::text(input, at + 1);
                if input.get(end) != Some(&b'"') {
                    return Ok(None);
                }
                sink.text(text).map(|value| (value, end + 1))
            }
            Kind::Int => {
                let Some((value, end)) = number::plain_integer(input, at) else { return Ok(None) };
                sink.unsigned(value).map(|value| (value, end))
            }
            Kind::Float => {
                let Some((value, end)) = number::plain_float(input, at) else { return Ok(None) };
                sink.float(value).map(|value| (value, end))
            }
            Kind::QuotedFloat => {
                let quotes = usize::from(input.get(at) == Some(&b'"'));
                let Some((value, end)) = number::plain_float(input, at + quotes) else { return Ok(None) };
                if quotes == 1 && input.get(end) != Some(&b'"') {
                    return Ok(None);
                }
                sink.float(value).map(|value| (value, end + quotes))
            }
            Kind::Floats(..) | Kind::Many(..) | Kind::Other => return Ok(None),
        };
        if let Ok(value) = value {
            Ok(Some(value))
        } else {
            self.cursor.at = at;
            Err(Refused)
        }
    }

    /// Reads the rest of an object whose members come in any order, with fields that the class doesn't have.
    #[inline(never)]
    fn in_any_order<S: Sink<'a>>(
        &mut self,
        record: &Record,
        target: &mut S::Record,
        sink: &mut S,
        reached: &Reached,
        top: bool,
    ) -> Result<(), Refused> {
        let (mut next, mut is_first) = (reached.fields, reached.is_first);
        loop {
            let expected = record.fields.get(next).filter(|field| {
                let key = if is_first { &field.json_key } else { &field.json_next_key };
                let stands = key.stands_at(self.cursor.input, self.cursor.at);
                self.cursor.at += if stands { key.len() } else { 0 };
                stands
            });
            let index = if expected.is_some() {
                next
            } else {
                let Some(name) = self.cursor.next_key(is_first)? else { return Ok(()) };
                self.cursor.skip_space();
                if let Some(index) = record.find(name.bytes, next) {
                    index
                } else {
                    is_first = false;
                    self.no_field(record, name.bytes, top)?;
                    continue;
                }
            };
            is_first = false;
            let field = &record.fields[index];
            let value = match self.quick(field.kind, self.cursor.at, sink)? {
                Some((value, end)) => {
                    self.cursor.at = end;
                    value
                }
                None => self.value(self.plan.shape(field.shape), sink)?,
            };
            sink.replace(target, index, value);
            next = index + 1;
        }
    }

    /// Reads the value of what is no field of the class: its tag, or nothing that anybody asked for.
    fn no_field(&mut self, record: &Record, name: &[u8], top: bool) -> Result<(), Refused> {
        if record.is_tag_field(name) {
            let tag = self.cursor.plain_text()?;
            return if record.tag.as_ref().is_some_and(|own| own.is_at(tag.bytes, top)) {
                Ok(())
            } else {
                Err(Refused)
            };
        }
        if record.forbids_unknown {
            return Err(Refused);
        }
        self.cursor.skip_value(self.depth)
    }

    /// Hands the bytes of the value that begins here to the sink.
    #[inline(never)]
    pub(super) fn foreign<S: Sink<'a>>(&mut self, foreign: usize, sink: &mut S) -> Result<S::Value, Refused> {
        let start = self.cursor.at;
        self.cursor.skip_value(self.depth)?;
        let bytes = self.cursor.input.get(start..self.cursor.at).ok_or(Refused)?;
        sink.foreign(foreign, bytes).inspect_err(|_| self.cursor.at = start)
    }

    /// Reads any value.
    #[inline(never)]
    pub(super) fn value<S: Sink<'a>>(&mut self, shape: &'p Shape, sink: &mut S) -> Result<S::Value, Refused> {
        self.cursor.skip_space();
        if let Some(foreign) = shape.foreign {
            return self.foreign(foreign, sink);
        }
        let accepts = |what| if shape.scalars.has(what) { Ok(()) } else { Err(Refused) };
        match self.cursor.byte() {
            Some(b'"') => self.text(shape, sink),
            Some(b'-' | b'0'..=b'9') => self.number(shape, sink),
            Some(b'n') => {
                accepts(Accepts::NULL)?;
                self.cursor.word(b"null")?;
                Ok(sink.null())
            }
            Some(b't') => {
                accepts(Accepts::BOOL)?;
                self.cursor.word(b"true")?;
                Ok(sink.boolean(true))
            }
            Some(b'f') => {
                accepts(Accepts::BOOL)?;
                self.cursor.word(b"false")?;
                Ok(sink.boolean(false))
            }
            Some(b'[') => match (&shape.items, &shape.arrays) {
                (Some(Items::Many(kind, item)), _) => self.sequence(*kind, *item, sink),
                (Some(Items::Fixed(items)), _) => self.fixed(items, sink),
                (None, Classes::Nothing) => Err(Refused),
                (None, classes) => self.array_record(classes, sink),
            },
            Some(b'{') => match (&shape.objects, shape.table) {
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

    fn text<S: Sink<'a>>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let start = self.cursor.at;
        let input = self.cursor.input;
        let (text, end) = plain::text(input, start + 1);
        let value = if input.get(end) == Some(&b'"') {
            self.cursor.at = end + 1;
            if shape.scalars.has(Accepts::TEXT) { sink.text(text) } else { self.named(shape, text.bytes, sink) }
        } else {
            let (text, end) = escape::unescape(input, start + 1).ok_or(Refused)?;
            self.cursor.at = end;
            if shape.scalars.has(Accepts::TEXT) {
                sink.owned_text(&text)
            } else {
                self.named(shape, text.as_bytes(), sink)
            }
        };
        value.inspect_err(|_| self.cursor.at = start)
    }

    /// What a text stands for where text itself is not accepted.
    fn named<S: Sink<'a>>(&self, shape: &Shape, text: &[u8], sink: &mut S) -> Result<S::Value, Refused> {
        let is_named =
            matches!(shape.choice, Some(Choice { has_texts: true, .. })) || shape.scalars.has(Accepts::BYTES);
        if self.plan.is_lenient() && is_named && shape.scalars.without(Accepts::BYTES) != Accepts::default() {
            // A text may mean null, a truth value or a number too: which goes first, the complete decoder knows.
            return Err(Refused);
        }
        if let Some(Choice { number, has_texts: true, .. }) = shape.choice {
            return sink.chosen_text(number, text);
        }
        if shape.scalars.has(Accepts::BYTES) {
            return sink.bytes(&base64::decode(text).ok_or(Refused)?);
        }
        let is_number = matches!(shape.scalars.without(Accepts::NULL), Accepts::INT | Accepts::FLOAT);
        if !self.plan.is_lenient() || !is_number || shape.choice.is_some() {
            return Err(Refused);
        }
        match number::scan(text, 0) {
            Some((number, end)) if end == text.len() => number_value(number, shape.scalars, sink),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn number<S: Sink<'a>>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let (number, end) = number::scan(self.cursor.input, self.cursor.at).ok_or(Refused)?;
        let value = match (shape.choice, number) {
            (Some(Choice { number: choice, has_integers: true, .. }), Number::Unsigned(value)) => {
                sink.chosen_integer(choice, i64::try_from(value).map_err(|_| Refused)?)
            }
            (Some(Choice { number: choice, has_integers: true, .. }), Number::Signed(value)) => {
                sink.chosen_integer(choice, value)
            }
            _ => number_value(number, shape.scalars, sink),
        }?;
        self.cursor.at = end;
        Ok(value)
    }

    #[inline(always)]
    pub(super) fn item<S: Sink<'a>>(
        &mut self,
        kind: Kind,
        shape: &'p Shape,
        sink: &mut S,
    ) -> Result<S::Value, Refused> {
        match self.quick(kind, self.cursor.at, sink)? {
            Some((value, end)) => {
                self.cursor.at = end;
                Ok(value)
            }
            None => self.value(shape, sink),
        }
    }
}

#[inline]
fn number_value<'a, S: Sink<'a>>(number: Number, accepts: Accepts, sink: &mut S) -> Result<S::Value, Refused> {
    match number {
        Number::Float(value) if accepts.has(Accepts::FLOAT) => sink.float(value),
        Number::Unsigned(value) if accepts.has(Accepts::INT) => sink.unsigned(value),
        Number::Signed(value) if accepts.has(Accepts::INT) => sink.signed(value),
        // Conversion rounds to nearest even, as reading the digits as a float would.
        Number::Unsigned(value) if accepts.has(Accepts::FLOAT) => sink.float(value as f64),
        Number::Signed(value) if accepts.has(Accepts::FLOAT) => sink.float(value as f64),
        _ => Err(Refused),
    }
}
