//! The Protocol Buffers writer.

use super::super::text::HIGH_BITS;

/// The key of a field.
#[must_use]
pub fn key(number: u32, wire: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(5);
    write_unsigned(&mut out, u64::from(number) << 3 | u64::from(wire));
    out
}

/// Appends an integer, and a truth value as 0 or 1.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    match short(value) {
        Some((bytes, length)) => append(out, bytes, length),
        None => write_long(out, value),
    }
}

/// The bytes of an integer below 2**56, and how many they are.
#[inline]
#[must_use]
pub const fn short(value: u64) -> Option<([u8; 8], usize)> {
    if value < 0x80 {
        return Some((value.to_le_bytes(), 1));
    }
    if value >= 1 << 56 {
        return None;
    }
    // Sevens set apart in fours, pairs and one by one; all but the last are marked as not the last.
    let fours = value & 0x0fff_ffff | (value & 0x0fff_ffff << 28) << 4;
    let pairs = fours & 0x0000_3fff_0000_3fff | (fours & 0x0fff_c000_0fff_c000) << 2;
    let sevens = pairs & 0x007f_007f_007f_007f | (pairs & 0x3f80_3f80_3f80_3f80) << 1;
    // Exact for all numbers of bits up to 64, and no division.
    let length = ((64 - value.leading_zeros() as usize) * 9 + 64) >> 6;
    let marks = HIGH_BITS & ((1 << (8 * (length - 1))) - 1);
    Some(((sevens | marks).to_le_bytes(), length))
}

#[cold]
fn write_long(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the first `length` bytes of eight: in one piece, as a call of memcpy costs more.
#[inline]
fn append(out: &mut Vec<u8>, bytes: [u8; 8], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

/// A key, in a form that is quick to append.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its bytes, and zeros.
    pub bytes: [u8; 8],
    /// How many they are: at most five.
    pub length: usize,
}

impl Key {
    /// The key of a field.
    #[must_use]
    pub fn new(number: u32, wire: u32) -> Self {
        let key = key(number, wire);
        let mut bytes = [0; 8];
        bytes[..key.len()].copy_from_slice(&key);
        Self { bytes, length: key.len() }
    }

    /// Appends it.
    #[inline]
    pub fn append(self, out: &mut Vec<u8>) {
        append(out, self.bytes, self.length);
    }
}

/// Appends an integer; a negative one takes ten bytes.
#[inline]
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, value.cast_unsigned());
}

/// Appends a `double`.
#[inline]
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `float`.
#[inline]
pub fn write_float(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends text or bytes behind their length.
#[inline]
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Where a nested message begins.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Begins what has its length in front: a nested message, a map's entry, packed numbers.
#[inline]
pub fn begin_nested(out: &mut Vec<u8>) -> Mark {
    // Most are shorter than 128 bytes; behind a longer length everything moves.
    out.push(0);
    Mark(out.len())
}

/// Ends it: writes the length of what was appended since.
#[inline]
pub fn end_nested(out: &mut Vec<u8>, Mark(start): Mark) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
    } else {
        end_long(out, start, length);
    }
}

#[cold]
fn end_long(out: &mut Vec<u8>, start: usize, length: usize) {
    let mut head = Vec::with_capacity(10);
    write_unsigned(&mut head, length as u64);
    let _ = out.splice(start - 1..start, head);
}
