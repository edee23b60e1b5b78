//! Steps over JSON, strict: what is passed is well formed, as RFC 8259 has it.

use crate::codec::json::{number, plain};
use crate::codec::text::{HIGH_BITS, word};
use crate::codec::{MAX_DEPTH, Refused, Text};

/// Bytes of a long text that are looked at together.
const BLOCK: usize = 32;

/// Where a frame is being read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
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

    /// Steps over `bytes`, or stays and refuses what stands there.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self, bytes: &[u8; N]) -> Result<(), Refused> {
        // Of a size that the compiler knows: a few wide compares, no call.
        match self.input.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(found) if found == bytes => {
                self.at += N;
                Ok(())
            }
            _ => Err(Refused),
        }
    }

    /// An integer of at most 64 bits, without sign. What follows is not looked at, but is no part of a number.
    #[inline]
    pub(super) fn unsigned(&mut self) -> Result<u64, Refused> {
        let (value, end) = match number::plain_integer(self.input, self.at) {
            Some(found) => found,
            None => long_unsigned(self.input, self.at).ok_or(Refused)?,
        };
        self.at = end;
        Ok(value)
    }

    /// A short text without escapes, all of it ASCII, whose opening quote is behind us. Its closing quote is stepped over.
    #[inline]
    pub(super) fn rest_of_name(&mut self) -> Result<Text<'a>, Refused> {
        let (text, end) = plain::text(self.input, self.at);
        if !text.is_ascii || self.input.get(end) != Some(&b'"') {
            return Err(Refused);
        }
        self.at = end + 1;
        Ok(text)
    }

    /// Steps over a text of any length whose opening quote is behind us, and over its closing one. Returns it if it is all
    /// ASCII and has no escapes.
    #[inline]
    pub(super) fn rest_of_text(&mut self) -> Result<Option<&'a [u8]>, Refused> {
        let start = self.at;
        while let Some(block) = self.input.get(self.at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
            // Controls and what is not ASCII: below a space, where bytes have a sign.
            let stops = block.iter().fold(0, |stops, &byte| {
                let is_low = byte.cast_signed() < b' '.cast_signed();
                stops | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(is_low)
            });
            if stops != 0 {
                break;
            }
            self.at += BLOCK;
        }
        loop {
            let word = word(self.input, self.at);
            // What the input does not have is zero, and so a control.
            let stops = plain::stop_bytes(word) | (word & HIGH_BITS);
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                break;
            }
            self.at += 8;
        }
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(self.input.get(start..self.at - 1));
        }
        self.skip_written_text(start).map(|()| None)
    }

    /// The same for a text with escapes, or with more than ASCII, that is read up to here.
    #[cold]
    fn skip_written_text(&mut self, start: usize) -> Result<(), Refused> {
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = self.input.get(self.at + 1..).unwrap_or_default();
                    self.at += match escaped {
                        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                        [b'u', digits @ ..]
                            if digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() >= 4 =>
                        {
                            6
                        }
                        _ => return Err(Refused),
                    };
                }
                Some(b' '..) => self.at += 1,
                _ => return Err(Refused),
            }
        }
        // Escapes are ASCII: the text is UTF-8 if it is as it stands here.
        let is_utf8 = self.input.get(start..self.at).is_some_and(|text| str::from_utf8(text).is_ok());
        self.at += 1;
        if is_utf8 { Ok(()) } else { Err(Refused) }
    }

    /// Steps over a number, whatever its size.
    #[inline]
    pub(super) fn skip_number(&mut self) -> Result<(), Refused> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            // A zero is the whole of its integer.
            Some(b'0') => self.at += 1,
            _ => self.skip_digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.skip_digits()?;
        }
        Ok(())
    }

    /// Steps over digits, of which there is at least one.
    #[inline]
    fn skip_digits(&mut self) -> Result<(), Refused> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Refused) }
    }

    /// Steps over a key and its colon, and the space around both.
    fn skip_key(&mut self) -> Result<(), Refused> {
        self.skip_space();
        self.take(b"\"")?;
        self.rest_of_text()?;
        self.skip_space();
        self.take(b":")
    }

    /// Steps over any value, in which at most [`MAX_DEPTH`] arrays and objects lie within each other.
    pub(super) fn skip_value(&mut self) -> Result<(), Refused> {
        // One bit for each array (0) and object (1) that we are in, the innermost lowest.
        let mut objects = 0u128;
        let mut depth = 0;
        loop {
            self.skip_space();
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    self.rest_of_text()?;
                }
                Some(b't') => self.take(b"true")?,
                Some(b'f') => self.take(b"false")?,
                Some(b'n') => self.take(b"null")?,
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.skip_space();
                    let is_object = open == b'{';
                    if self.byte() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                    } else {
                        if depth == MAX_DEPTH {
                            return Err(Refused);
                        }
                        depth += 1;
                        objects = objects << 1 | u128::from(is_object);
                        if is_object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => self.skip_number()?,
            }
            // A value has ended, and maybe what it lies in.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.skip_space();
                let byte = self.byte();
                self.at += 1;
                match (byte, objects & 1) {
                    (Some(b','), 0) => break,
                    (Some(b','), _) => {
                        self.skip_key()?;
                        break;
                    }
                    (Some(b'}'), 1) | (Some(b']'), 0) => {
                        depth -= 1;
                        objects >>= 1;
                    }
                    _ => return Err(Refused),
                }
            }
        }
    }

    /// Refuses a frame that goes on.
    #[inline]
    pub(super) fn end(&mut self) -> Result<(), Refused> {
        if self.at != self.input.len() {
            self.skip_space();
        }
        if self.at == self.input.len() { Ok(()) } else { Err(Refused) }
    }
}

/// An integer of more than 19 digits.
#[cold]
fn long_unsigned(input: &[u8], at: usize) -> Option<(u64, usize)> {
    match number::scan(input, at) {
        Some((number::Number::Unsigned(value), end)) => Some((value, end)),
        _ => None,
    }
}
