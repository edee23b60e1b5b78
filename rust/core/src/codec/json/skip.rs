//! Moving over JSON without making anything of it.
#![allow(clippy::inline_always, reason = "measured: one step for each item of a book")]

use super::super::{MAX_DEPTH, Refused, Text};
use super::number;
use super::plain;

/// Where the input is being read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
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

    /// Steps over a word such as `null`, or refuses what stands there.
    pub(super) fn word(&mut self, word: &[u8]) -> Result<(), Refused> {
        if !self.input.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    /// A string without escapes, quotes removed. Its bytes above ASCII are not checked.
    #[inline]
    pub(super) fn plain_text(&mut self) -> Result<Text<'a>, Refused> {
        self.take(b'"')?;
        let (text, end) = plain::text(self.input, self.at);
        self.at = end;
        self.take(b'"')?;
        Ok(text)
    }

    /// The next key of an object and its colon, or None at the object's end.
    pub(super) fn next_key(&mut self, is_first: bool) -> Result<Option<Text<'a>>, Refused> {
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

    /// Steps to the next item of an array; false at its end, which is stepped over. That an item follows a comma is for its
    /// reader to find.
    #[inline(always)]
    pub(super) fn next_item(&mut self, is_first: bool) -> Result<bool, Refused> {
        if !is_first && self.byte() == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        match self.byte() {
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            Some(b'!'..) if is_first => Ok(true),
            _ => self.next_item_behind_space(is_first),
        }
    }

    #[inline(never)]
    fn next_item_behind_space(&mut self, is_first: bool) -> Result<bool, Refused> {
        self.skip_space();
        match self.byte() {
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(true)
            }
            _ if is_first => Ok(true),
            _ => Err(Refused),
        }
    }

    /// Steps over any value that lies within `depth` arrays and objects. Strings are not checked to be UTF-8: nobody asked
    /// for them.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Refused> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => self.skip_text(),
            Some(b'n') => self.word(b"null"),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err(Refused),
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
                let mut is_first = true;
                while self.next_item(is_first)? {
                    is_first = false;
                    self.skip_value(depth + 1)?;
                }
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
            (_, self.at) = plain::text(self.input, self.at);
            match self.byte().ok_or(Refused)? {
                b'"' => break,
                b'\\' => match self.input.get(self.at + 1) {
                    // Escaped code points have rules of their own (surrogate pairs): the complete decoder knows them.
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                    _ => return Err(Refused),
                },
                _ => return Err(Refused),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over what would be a value, JSON or not: to the quote or bracket that closes it, or to what cannot belong to a
    /// word. None if the input ends before.
    pub(super) fn skip_anything(&mut self) -> Option<()> {
        let mut depth = 0usize;
        let mut in_text = false;
        loop {
            let byte = self.byte()?;
            match byte {
                b'\\' if in_text => self.at += 1,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return Some(()),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 && !in_text && matches!(byte, b'"' | b'}' | b']') {
                return Some(());
            }
        }
    }
}
