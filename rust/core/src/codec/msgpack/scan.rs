//! The optimistic MessagePack reader.
#![allow(clippy::cast_precision_loss, reason = "an integer where a float is wanted is rounded, as by msgspec")]
#![allow(clippy::inline_always, reason = "measured: 5 % of a decode, see `Scanner::value`")]

use super::super::plan::{Accepts, Plan, Shape};
use super::super::{Fault, MAX_DEPTH, Refused, Sink};
use super::code;

/// Reads one payload by `plan` into `record`. Fields that the payload doesn't have are left unset.
///
/// # Errors
/// A [`Fault`] at the first thing that is left to the complete decoder; `record` is then partly filled.
#[inline]
pub fn decode<S: Sink>(plan: &Plan, input: &[u8], sink: &mut S, record: &mut S::Record) -> Result<(), Fault> {
    let mut scanner = Scanner { input, at: 0 };
    let mut field = None;
    scanner
        .message(plan, sink, record, &mut field)
        .map_err(|Refused| Fault { offset: scanner.at, field: field.map(|index: usize| index as u32) })
}

/// What stands behind a value's first byte (and its length, where one follows).
pub(super) enum Body {
    /// This many bytes.
    Bytes(usize),
    /// This many values.
    Values(usize),
}

pub(super) struct Scanner<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let bytes = *self.rest().first_chunk::<N>().ok_or(Refused)?;
        self.at += N;
        Ok(bytes)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Refused> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    fn size16(&mut self) -> Result<usize, Refused> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    #[inline]
    fn size32(&mut self) -> Result<usize, Refused> {
        self.array().and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| Refused))
    }

    /// The number of entries of a map.
    #[inline]
    pub(super) fn map(&mut self) -> Result<usize, Refused> {
        match self.byte()? {
            head @ 0x80..=0x8f => Ok(usize::from(head & 0x0f)),
            code::MAP16 => self.size16(),
            code::MAP32 => self.size32(),
            _ => Err(Refused),
        }
    }

    /// A text. Its bytes are not checked.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a [u8], Refused> {
        let size = match self.byte()? {
            head @ 0xa0..=0xbf => usize::from(head & 0x1f),
            code::STR8 => usize::from(self.byte()?),
            code::STR16 => self.size16()?,
            code::STR32 => self.size32()?,
            _ => return Err(Refused),
        };
        let text = self.rest().get(..size).ok_or(Refused)?;
        self.at += size;
        Ok(text)
    }

    #[inline]
    fn message<S: Sink>(
        &mut self,
        plan: &Plan,
        sink: &mut S,
        record: &mut S::Record,
        current: &mut Option<usize>,
    ) -> Result<(), Refused> {
        let mut left = self.map()?;
        if let (Some(tag), true) = (&plan.tag, left > 0) {
            let head = tag.msgpack_heads.iter().find(|head| head.begins(self.rest()));
            if let Some(head) = head {
                self.at += head.len();
                left -= 1;
            }
        }
        let mut next = 0;
        while left > 0 {
            left -= 1;
            let expected = plan.fields.get(next).filter(|field| field.msgpack_key.begins(self.rest()));
            let index = if let Some(field) = expected {
                self.at += field.msgpack_key.len();
                next
            } else {
                let name = self.text()?;
                if let Some(index) = plan.find(name, next) {
                    index
                } else if plan.is_tag_field(name) {
                    let tag = self.text()?;
                    if !plan.tag.as_ref().is_some_and(|own| own.is(tag)) {
                        return Err(Refused);
                    }
                    continue;
                } else if plan.forbids_unknown {
                    return Err(Refused);
                } else {
                    self.skip_value(1)?;
                    continue;
                }
            };
            *current = Some(index);
            let start = self.at;
            let value = self.value(&plan.fields[index].shape, sink).inspect_err(|_| self.at = start)?;
            sink.set(record, index, value);
            *current = None;
            next = index + 1;
        }
        if self.at == self.input.len() { Ok(()) } else { Err(Refused) }
    }

    // Always: this is the inner loop of every message, and the list items' own call of it is the slower one.
    #[inline(always)]
    fn value<S: Sink>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let scalars = shape.scalars;
        let accepts = |what| {
            if scalars.has(what) { Ok(()) } else { Err(Refused) }
        };
        let head = self.byte()?;
        match head {
            0x00..=0x7f => unsigned(u64::from(head), scalars, sink),
            0xe0..=0xff => signed(i64::from(head.cast_signed()), scalars, sink),
            code::UINT8 => unsigned(u64::from(self.byte()?), scalars, sink),
            code::UINT16 => unsigned(u64::from(u16::from_be_bytes(self.array()?)), scalars, sink),
            code::UINT32 => unsigned(u64::from(u32::from_be_bytes(self.array()?)), scalars, sink),
            code::UINT64 => unsigned(u64::from_be_bytes(self.array()?), scalars, sink),
            code::INT8 => signed(i64::from(i8::from_be_bytes(self.array()?)), scalars, sink),
            code::INT16 => signed(i64::from(i16::from_be_bytes(self.array()?)), scalars, sink),
            code::INT32 => signed(i64::from(i32::from_be_bytes(self.array()?)), scalars, sink),
            code::INT64 => signed(i64::from_be_bytes(self.array()?), scalars, sink),
            code::FLOAT64 => {
                accepts(Accepts::FLOAT)?;
                sink.float(f64::from_be_bytes(self.array()?))
            }
            code::FLOAT32 => {
                accepts(Accepts::FLOAT)?;
                sink.float(f64::from(f32::from_be_bytes(self.array()?)))
            }
            0xa0..=0xbf | code::STR8 | code::STR16 | code::STR32 => {
                accepts(Accepts::TEXT)?;
                self.at -= 1;
                let text = self.text()?;
                sink.text(text, text.is_ascii())
            }
            code::NIL => {
                accepts(Accepts::NULL)?;
                Ok(sink.null())
            }
            code::TRUE | code::FALSE => {
                accepts(Accepts::BOOL)?;
                Ok(sink.boolean(head == code::TRUE))
            }
            0x90..=0x9f => self.list(usize::from(head & 0x0f), shape, sink),
            code::ARRAY16 => {
                let size = self.size16()?;
                self.list(size, shape, sink)
            }
            code::ARRAY32 => {
                let size = self.size32()?;
                self.list(size, shape, sink)
            }
            _ => Err(Refused),
        }
    }

    fn item<S: Sink>(&mut self, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        self.value(shape, sink)
    }

    // Recursion is as deep as the plan's shape, which is finite. The declared size allocates nothing: the list grows
    // with the items that are really there.
    fn list<S: Sink>(&mut self, size: usize, shape: &Shape, sink: &mut S) -> Result<S::Value, Refused> {
        let items = shape.items.as_deref().ok_or(Refused)?;
        let mut list = sink.list()?;
        for _ in 0..size {
            let item = self.item(items, sink)?;
            sink.push(&mut list, item)?;
        }
        Ok(sink.seal(list))
    }

    /// Reads a value's first byte and length.
    pub(super) fn head(&mut self) -> Result<Body, Refused> {
        let head = self.byte()?;
        Ok(match head {
            0x00..=0x7f | 0xe0..=0xff | code::NIL | code::TRUE | code::FALSE => Body::Bytes(0),
            0x80..=0x8f => Body::Values(usize::from(head & 0x0f) * 2),
            0x90..=0x9f => Body::Values(usize::from(head & 0x0f)),
            0xa0..=0xbf => Body::Bytes(usize::from(head & 0x1f)),
            code::UINT8 | code::INT8 => Body::Bytes(1),
            code::UINT16 | code::INT16 | code::FIXEXT1 => Body::Bytes(2),
            code::FIXEXT2 => Body::Bytes(3),
            code::UINT32 | code::INT32 | code::FLOAT32 => Body::Bytes(4),
            code::FIXEXT4 => Body::Bytes(5),
            code::UINT64 | code::INT64 | code::FLOAT64 => Body::Bytes(8),
            code::FIXEXT8 => Body::Bytes(9),
            code::FIXEXT16 => Body::Bytes(17),
            code::STR8 | code::BIN8 => Body::Bytes(usize::from(self.byte()?)),
            code::STR16 | code::BIN16 => Body::Bytes(self.size16()?),
            code::STR32 | code::BIN32 => Body::Bytes(self.size32()?),
            // An extension has a type byte in front of its data.
            code::EXT8 => Body::Bytes(usize::from(self.byte()?) + 1),
            code::EXT16 => Body::Bytes(self.size16()? + 1),
            code::EXT32 => Body::Bytes(self.size32()?.checked_add(1).ok_or(Refused)?),
            code::ARRAY16 => Body::Values(self.size16()?),
            code::ARRAY32 => Body::Values(self.size32()?),
            code::MAP16 => Body::Values(self.size16()? * 2),
            code::MAP32 => Body::Values(self.size32()?.checked_mul(2).ok_or(Refused)?),
            // 0xc1 is never used.
            _ => return Err(Refused),
        })
    }

    /// Steps over any value. Text is not checked to be UTF-8: nobody asked for it.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Refused> {
        if depth > MAX_DEPTH {
            return Err(Refused);
        }
        match self.head()? {
            Body::Bytes(size) => {
                self.rest().get(..size).ok_or(Refused)?;
                self.at += size;
            }
            Body::Values(count) => {
                for _ in 0..count {
                    self.skip_value(depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn unsigned<S: Sink>(value: u64, scalars: Accepts, sink: &mut S) -> Result<S::Value, Refused> {
    if scalars.has(Accepts::INT) {
        sink.unsigned(value)
    } else if scalars.has(Accepts::FLOAT) {
        sink.float(value as f64)
    } else {
        Err(Refused)
    }
}

#[inline]
fn signed<S: Sink>(value: i64, scalars: Accepts, sink: &mut S) -> Result<S::Value, Refused> {
    if scalars.has(Accepts::INT) {
        sink.signed(value)
    } else if scalars.has(Accepts::FLOAT) {
        sink.float(value as f64)
    } else {
        Err(Refused)
    }
}
