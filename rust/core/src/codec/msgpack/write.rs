//! The MessagePack writer: every value in its shortest form.
#![allow(clippy::cast_sign_loss, reason = "a small negative integer is its own low byte")]

use super::super::append::{Append, append_short, last_word};
use super::code;

/// A map's key: `name` as text.
#[must_use]
pub fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 1);
    write_text(&mut out, name);
    out
}

/// Appends an integer.
#[inline]
pub fn write_signed<A: Append>(out: &mut A, value: i64) {
    if value >= 0 {
        write_unsigned(out, value.cast_unsigned());
    } else if value >= -32 {
        out.append_byte(value as u8);
    } else if let Ok(value) = i8::try_from(value) {
        head(out, code::INT8, [value.cast_unsigned()]);
    } else if let Ok(value) = i16::try_from(value) {
        head(out, code::INT16, value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        head(out, code::INT32, value.to_be_bytes());
    } else {
        head(out, code::INT64, value.to_be_bytes());
    }
}

/// Appends an integer.
#[inline]
pub fn write_unsigned<A: Append>(out: &mut A, value: u64) {
    if value < 0x80 {
        out.append_byte(value as u8);
    } else if let Ok(value) = u8::try_from(value) {
        head(out, code::UINT8, [value]);
    } else if let Ok(value) = u16::try_from(value) {
        head(out, code::UINT16, value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        head(out, code::UINT32, value.to_be_bytes());
    } else {
        head(out, code::UINT64, value.to_be_bytes());
    }
}

/// Appends a float: always eight bytes, so that it reads back as it was.
#[inline]
pub fn write_float<A: Append>(out: &mut A, value: f64) {
    head(out, code::FLOAT64, value.to_be_bytes());
}

/// Appends null.
#[inline]
pub fn write_null<A: Append>(out: &mut A) {
    out.append_byte(code::NIL);
}

/// Appends a truth value.
#[inline]
pub fn write_boolean<A: Append>(out: &mut A, value: bool) {
    out.append_byte(if value { code::TRUE } else { code::FALSE });
}

/// Appends a text. Longer ones than the format can say (4 GiB) do not fit any message.
#[inline]
pub fn write_text<A: Append>(out: &mut A, text: &str) {
    let size = text.len();
    if size < 8 {
        out.append_word(u64::from(0xa0 | size as u8) | last_word(text.as_bytes()) << 8, size + 1);
        return;
    }
    if size < 32 {
        out.append_byte(0xa0 | size as u8);
    } else if let Ok(size) = u8::try_from(size) {
        head(out, code::STR8, [size]);
    } else if let Ok(size) = u16::try_from(size) {
        head(out, code::STR16, size.to_be_bytes());
    } else {
        head(out, code::STR32, (size as u32).to_be_bytes());
    }
    append_short(out, text.as_bytes());
}

/// Appends the head of an array of `size` values.
#[inline]
pub fn write_array_header<A: Append>(out: &mut A, size: usize) {
    if size < 16 {
        out.append_byte(0x90 | size as u8);
    } else if let Ok(size) = u16::try_from(size) {
        head(out, code::ARRAY16, size.to_be_bytes());
    } else {
        head(out, code::ARRAY32, (size as u32).to_be_bytes());
    }
}

/// Appends the head of a map of `size` entries.
#[inline]
pub fn write_map_header<A: Append>(out: &mut A, size: usize) {
    if size < 16 {
        out.append_byte(0x80 | size as u8);
    } else if let Ok(size) = u16::try_from(size) {
        head(out, code::MAP16, size.to_be_bytes());
    } else {
        head(out, code::MAP32, (size as u32).to_be_bytes());
    }
}

/// A first byte, and up to eight more.
#[inline]
fn head<A: Append, const N: usize>(out: &mut A, code: u8, bytes: [u8; N]) {
    let mut padded = [0; 8];
    padded[..N].copy_from_slice(&bytes);
    let word = u64::from_le_bytes(padded);
    if N < 8 {
        out.append_word(u64::from(code) | word << 8, N + 1);
    } else {
        out.append_byte_and_word(code, word);
    }
}

/// Appends bytes. Longer ones than the format can say (4 GiB) do not fit any message.
pub fn write_bytes<A: Append>(out: &mut A, bytes: &[u8]) {
    let size = bytes.len();
    if let Ok(size) = u8::try_from(size) {
        head(out, code::BIN8, [size]);
    } else if let Ok(size) = u16::try_from(size) {
        head(out, code::BIN16, size.to_be_bytes());
    } else {
        head(out, code::BIN32, (size as u32).to_be_bytes());
    }
    out.append(bytes);
}
