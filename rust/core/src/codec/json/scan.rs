//! The optimistic JSON reader.
#![allow(clippy::cast_precision_loss, reason = "an integer where a float is wanted is rounded, as by msgspec")]
#![allow(clippy::inline_always, reason = "measured: 10 % of a decode, see `Scanner::value`")]

use super::super::plan::{Accepts, Plan, Shape};
use super::super::{Fault, MAX_DEPTH, Refused, Sink};
use super::in_order::{self, Reached};
use super::number::{self, Number};
use super::text::{HIGH_BITS, stop_bytes};

/// Reads one payload by `plan` into `record`. Fields that the payload doesn't have are left unset.
///
/// # Errors
/// A [`Fault`] at the first thing that is left to the complete decoder; `record` is then partly filled.
#[inline]
pub fn decode<S: Sink>(plan: &Plan, input: &[u8], sink: &mut S, record: &mut S::Record) -> Result<(), Fault> {
    let reached = in_order::read(plan, input, sink, record)?;
    if reached.is_complete {
        return Ok(());
    }
    go_on(plan, input, sink, record, &reached)
}

/// Reads what the in-order reader left.
#[cold]
fn go_on<S: Sink>(
    plan: &Plan,
    input: &[u8],
    sink: &mut S,
    record: &mut S::Record,
    reached: &Reached,
) -> Result<(), Fault> {
    let mut scanner = Scanner { input, at: reached.at };
    let mut field = None;
    scanner
        .message(plan, sink, record, &mut field, reached)
        .map_err(|Refused| Fault { offset: scanner.at, field: field.map(|index: usize| index as u32) })
}

pub(super) struct Scanner<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

/// A key that was not the expected one.
enum Key {
    Field(usize),
    Tag,
    Unknown,
    /// No key: the object ended.
    End,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn byte(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Steps over `byte`, or refuses what stands there.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> Result<(), Refused> {
        if self.byte() != Some(byte) {
            return Err(Refused);
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn message<S: Sink>(
        &mut self,
        plan: &Plan,
        sink: &mut S,
        record: &mut S::Record,
        current: &mut Option<usize>,
        reached: &Reached,
    ) -> Result<(), Refused> {
        if reached.at == 0 {
            self.skip_space();
            self.take(b'{')?;
        }
        let mut is_first = reached.is_first;
        let mut next = reached.fields;
        loop {
            let expected = plan.fields.get(next).filter(|field| {
                let key = if is_first { &field.json_key } else { &field.json_next_key };
                let begins = key.begins(self.rest());
                self.at += if begins { key.len() } else { 0 };
                begins
            });
            let index = if expected.is_some() {
                next
            } else if !is_first && self.byte() == Some(b'}') {
                self.at += 1;
                break;
            } else {
                match self.other_key(plan, next, is_first)? {
                    Key::Field(index) => index,
                    Key::Tag => {
                        is_first = false;
                        let tag = self.plain_text()?;
                        if !plan.tag.as_ref().is_some_and(|own| own.is(tag)) {
                            return Err(Refused);
                        }
                        continue;
                    }
                    Key::Unknown => {
                        is_first = false;
                        if plan.forbids_unknown {
                            return Err(Refused);
                        }
                        self.skip_value(1)?;
                        continue;
                    }
                    Key::End => break,
                }
            };
            is_first = false;
            *current = Some(index);
            let value = self.value(&plan.fields[index].shape, sink)?;
            sink.set(record, index, value);
            *current = None;
            next = index + 1;
        }
        self.skip_space();
        if self.at == self.input.len() { Ok(()) } else { Err(Refused) }
    }

    /// Reads up to and with the colon of the next key, whichever it is.
    #[cold]
    fn other_key(&mut self, plan: &Plan, hint: usize, is_first: bool) -> Result<Key, Refused> {
        let Some(name) = self.next_key(is_first)? else {
            return Ok(Key::End);
        };
        self.skip_space();
        Ok(match plan.find(name, hint) {
            Some(index) => Key::Field(index),
            None if plan.is_tag_field(name) => Key::Tag,
            None => Key::Unknown,
        })
    }

    /// The next key of an object and its colon, or None at the object's end.
    pub(super) fn next_key(&mut self, is_first: bool) -> Result<Option<&'a [u8]>, Refused> {
        self.skip_space();
        match self.byte() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !is_first => {
                self.at += 1;
                self.skip_space();
            }
            Some(b'"') if is_first => {}
            _ => return Err(Refused),
        }
        let name = self.plain_text()?;
        self.skip_space();
        self.take(b':')?;
        Ok(Some(name))
    }

    /// A string without escapes, quotes removed. Its bytes above ASCII are not checked.
    #[inline]
    pub(super) fn plain_text(&mut self) -> Result<&'a [u8], Refused> {
        self.take(b'"')?;
        let (text, _) = self.text_body()?;
        Ok(text)
    }

    /// The rest of a string without escapes, behind its opening quote, and whether it is ASCII.
    #[inline(always)]
    fn text_body(&mut self) -> Result<(&'a [u8], bool), Refused> {
        let start = self.at;
        let mut high_bits = 0;
        while let Some(chunk) = self.rest().first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let stops = stop_bytes(word);
            if stops != 0 {
                let length = stops.trailing_zeros() / 8;
                high_bits |= word & ((1 << (length * 8)) - 1);
                self.at += length as usize;
                return self.close_text(start, high_bits);
            }
            high_bits |= word;
            self.at += 8;
        }
        while let Some(byte) = self.byte() {
            if byte == b'"' || byte == b'\\' || byte < b' ' {
                return self.close_text(start, high_bits);
            }
            high_bits |= u64::from(byte);
            self.at += 1;
        }
        Err(Refused)
    }

    #[inline]
    fn close_text(&mut self, start: usize, high_bits: u64) -> Result<(&'a [u8], bool), Refused> {
        let text = &self.input[start..self.at];
        self.take(b'"')?;
        Ok((text, high_bits & HIGH_BITS == 0))
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Refused> {
        if !self.rest().starts_with(word) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    // Always: this is the inner loop of every message, and the list items' own call of it is the slower one.
    #[inline(always)]
    fn value<S: Sink>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let accepts = |what| {
            if shape.scalars.has(what) { Ok(()) } else { Err(Refused) }
        };
        if let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.skip_space();
        }
        match self.byte() {
            Some(b'"') => {
                accepts(Accepts::TEXT)?;
                self.at += 1;
                let start = self.at;
                let (text, is_ascii) = self.text_body()?;
                sink.text(text, is_ascii).inspect_err(|_| self.at = start)
            }
            Some(b'-' | b'0'..=b'9') => self.number(shape.scalars, sink),
            Some(b'n') => {
                accepts(Accepts::NULL)?;
                self.word(b"null")?;
                Ok(sink.null())
            }
            Some(b't') => {
                accepts(Accepts::BOOL)?;
                self.word(b"true")?;
                Ok(sink.boolean(true))
            }
            Some(b'f') => {
                accepts(Accepts::BOOL)?;
                self.word(b"false")?;
                Ok(sink.boolean(false))
            }
            Some(b'[') => self.list(shape.items.as_deref().ok_or(Refused)?, sink),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn number<S: Sink>(&mut self, accepts: Accepts, sink: &mut S) -> Result<S::Value, Refused> {
        let (number, end) = number::scan(self.input, self.at).ok_or(Refused)?;
        let value = match number {
            Number::Float(value) if accepts.has(Accepts::FLOAT) => sink.float(value),
            Number::Unsigned(value) if accepts.has(Accepts::INT) => sink.unsigned(value),
            Number::Signed(value) if accepts.has(Accepts::INT) => sink.signed(value),
            // Conversion rounds to nearest even, as reading the digits as a float would.
            Number::Unsigned(value) if accepts.has(Accepts::FLOAT) => sink.float(value as f64),
            Number::Signed(value) if accepts.has(Accepts::FLOAT) => sink.float(value as f64),
            _ => Err(Refused),
        }?;
        self.at = end;
        Ok(value)
    }

    fn item<S: Sink>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        self.value(shape, sink)
    }

    // Recursion is as deep as the plan's shape, which is finite.
    fn list<S: Sink>(&mut self, items: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        self.at += 1;
        let mut list = sink.list()?;
        self.skip_space();
        if self.byte() == Some(b']') {
            self.at += 1;
            return Ok(sink.seal(list));
        }
        loop {
            let item = self.item(items, sink)?;
            sink.push(&mut list, item)?;
            self.skip_space();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(Refused),
            }
        }
        self.at += 1;
        Ok(sink.seal(list))
    }

    /// Steps over any value. Strings are not checked to be UTF-8: nobody asked for them.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Refused> {
        if depth > MAX_DEPTH {
            return Err(Refused);
        }
        self.skip_space();
        match self.byte() {
            Some(b'"') => self.skip_text(),
            Some(b'n') => self.word(b"null"),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'{') => {
                self.at += 1;
                let mut is_first = true;
                while self.next_key(is_first)?.is_some() {
                    is_first = false;
                    self.skip_value(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                self.skip_space();
                if self.byte() == Some(b']') {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    self.skip_value(depth + 1)?;
                    self.skip_space();
                    match self.byte() {
                        Some(b',') => self.at += 1,
                        Some(b']') => break,
                        _ => return Err(Refused),
                    }
                }
                self.at += 1;
                Ok(())
            }
            _ => {
                self.at = number::scan(self.input, self.at).ok_or(Refused)?.1;
                Ok(())
            }
        }
    }

    fn skip_text(&mut self) -> Result<(), Refused> {
        self.at += 1;
        loop {
            match self.byte().ok_or(Refused)? {
                b'"' => break,
                b'\\' => match self.input.get(self.at + 1) {
                    // Escaped code points have rules of their own (surrogate pairs): the complete decoder knows them.
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                    _ => return Err(Refused),
                },
                0..b' ' => return Err(Refused),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }
}
