//! Moving over MessagePack without making anything of it.

use super::super::{MAX_DEPTH, Refused};
use super::code;

/// What stands behind a value's first byte (and its length, where one follows).
pub(super) enum Body {
    /// This many bytes.
    Bytes(usize),
    /// This many values.
    Values(usize),
}

/// Where the input is being read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let bytes = *self.input.get(self.at..).and_then(<[u8]>::first_chunk::<N>).ok_or(Refused)?;
        self.at += N;
        Ok(bytes)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Refused> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    fn size8(&mut self) -> Result<usize, Refused> {
        self.byte().map(usize::from)
    }

    #[inline]
    fn size16(&mut self) -> Result<usize, Refused> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    #[inline]
    fn size32(&mut self) -> Result<usize, Refused> {
        self.array().and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| Refused))
    }

    #[inline]
    fn take(&mut self, size: usize) -> Result<&'a [u8], Refused> {
        let bytes = self.input.get(self.at..).and_then(|rest| rest.get(..size)).ok_or(Refused)?;
        self.at += size;
        Ok(bytes)
    }

    /// The number of entries of a map.
    #[inline]
    pub(super) fn map(&mut self) -> Result<usize, Refused> {
        match self.byte()? {
            head @ code::MAP0..=code::MAP15 => Ok(usize::from(head & 0x0f)),
            code::MAP16 => self.size16(),
            code::MAP32 => self.size32(),
            _ => Err(Refused),
        }
    }

    /// The number of items of an array.
    #[inline]
    pub(super) fn sequence(&mut self) -> Result<usize, Refused> {
        match self.byte()? {
            head @ code::ARRAY0..=code::ARRAY15 => Ok(usize::from(head & 0x0f)),
            code::ARRAY16 => self.size16(),
            code::ARRAY32 => self.size32(),
            _ => Err(Refused),
        }
    }

    /// A text. Its bytes are not checked.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a [u8], Refused> {
        let size = match self.byte()? {
            head @ code::STR0..=code::STR31 => usize::from(head & 0x1f),
            code::STR8 => self.size8()?,
            code::STR16 => self.size16()?,
            code::STR32 => self.size32()?,
            _ => return Err(Refused),
        };
        self.take(size)
    }

    /// Bytes.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Refused> {
        let size = match self.byte()? {
            code::BIN8 => self.size8()?,
            code::BIN16 => self.size16()?,
            code::BIN32 => self.size32()?,
            _ => return Err(Refused),
        };
        self.take(size)
    }

    /// Reads a value's first byte and length.
    pub(super) fn head(&mut self) -> Result<Body, Refused> {
        let head = self.byte()?;
        Ok(match head {
            0x00..=0x7f | 0xe0..=0xff | code::NIL | code::TRUE | code::FALSE => Body::Bytes(0),
            code::MAP0..=code::MAP15 => Body::Values(usize::from(head & 0x0f) * 2),
            code::ARRAY0..=code::ARRAY15 => Body::Values(usize::from(head & 0x0f)),
            code::STR0..=code::STR31 => Body::Bytes(usize::from(head & 0x1f)),
            code::UINT8 | code::INT8 => Body::Bytes(1),
            code::UINT16 | code::INT16 | code::FIXEXT1 => Body::Bytes(2),
            code::FIXEXT2 => Body::Bytes(3),
            code::UINT32 | code::INT32 | code::FLOAT32 => Body::Bytes(4),
            code::FIXEXT4 => Body::Bytes(5),
            code::UINT64 | code::INT64 | code::FLOAT64 => Body::Bytes(8),
            code::FIXEXT8 => Body::Bytes(9),
            code::FIXEXT16 => Body::Bytes(17),
            code::STR8 | code::BIN8 => Body::Bytes(self.size8()?),
            code::STR16 | code::BIN16 => Body::Bytes(self.size16()?),
            code::STR32 | code::BIN32 => Body::Bytes(self.size32()?),
            // An extension has a type byte in front of its data.
            code::EXT8 => Body::Bytes(self.size8()? + 1),
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

    /// Steps over any value that lies within `depth` arrays and maps. Text is not checked to be UTF-8: nobody asked for it.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Refused> {
        match self.head()? {
            Body::Bytes(size) => {
                self.take(size)?;
            }
            Body::Values(_) if depth >= MAX_DEPTH => return Err(Refused),
            Body::Values(count) => {
                for _ in 0..count {
                    self.skip_value(depth + 1)?;
                }
            }
        }
        Ok(())
    }
}
