//! The JSON writer.

use super::super::append::{Append, LONGEST_BY_WORDS, last_word};
use super::digits::{self, ASCII};
use super::plain::{is_plain, stop_bytes};

/// `"name":`
#[must_use]
pub fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    write_text(&mut out, name);
    out.push(b':');
    out
}

/// Appends null.
#[inline]
pub fn write_null<A: Append>(out: &mut A) {
    out.append_word(u64::from(u32::from_le_bytes(*b"null")), 4);
}

/// Appends a truth value.
#[inline]
pub fn write_boolean<A: Append>(out: &mut A, value: bool) {
    if value {
        out.append_word(u64::from(u32::from_le_bytes(*b"true")), 4);
    } else {
        out.append_word(u64::from_le_bytes(*b"false\0\0\0"), 5);
    }
}

/// Appends an integer.
#[inline]
pub fn write_signed<A: Append>(out: &mut A, value: i64) {
    if value < 0 {
        out.append_byte(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends an integer.
#[inline]
pub fn write_unsigned<A: Append>(out: &mut A, value: u64) {
    const EIGHT: u64 = 100_000_000;
    if value < EIGHT {
        write_leading(out, value as u32);
    } else if value < EIGHT * EIGHT {
        write_leading(out, (value / EIGHT) as u32);
        out.append_word(digits::eight((value % EIGHT) as u32) | ASCII, 8);
    } else {
        let low = value % (EIGHT * EIGHT);
        write_leading(out, (value / (EIGHT * EIGHT)) as u32);
        out.append_word(digits::eight((low / EIGHT) as u32) | ASCII, 8);
        out.append_word(digits::eight((low % EIGHT) as u32) | ASCII, 8);
    }
}

/// Up to eight digits, without zeros before them.
#[inline]
fn write_leading<A: Append>(out: &mut A, value: u32) {
    let (word, length) = digits::leading(value);
    out.append_word(word, length);
}

/// Appends the shortest text that reads back as `value`; JSON has no form for what is not finite: null.
#[inline]
pub fn write_float<A: Append>(out: &mut A, value: f64) {
    if !write_short_decimal(out, value) {
        write_any_float(out, value);
    }
}

/// Appends a float that is a decimal of up to 15 digits, up to eight of them behind the point: what prices are.
///
/// A decimal of up to 15 digits is the only one of that length that is read as its float, and the shortest text of that
/// float (but for zeros at its end). So it is enough to find one: `value * 10^8`, rounded to an integer below 10^15, is
/// it if that integer divided by 10^8 gives the float back. The division is what reading the decimal does: of two
/// numbers that floats hold exactly, rounded once.
#[inline]
fn write_short_decimal<A: Append>(out: &mut A, value: f64) -> bool {
    const SCALE: f64 = 1e8;
    /// 2^52: added to a smaller number, leaves it in the low bits, rounded to an integer.
    const INTEGERS: f64 = 4_503_599_627_370_496.0;
    /// Smaller ones are written with an exponent.
    const SMALLEST: u64 = 1_000;
    let magnitude = value.abs();
    if magnitude >= 1e7 {
        return false;
    }
    let shifted = magnitude * SCALE + INTEGERS;
    let decimal = shifted.to_bits() & ((1 << 52) - 1);
    #[allow(clippy::float_cmp, reason = "bit for bit is the point")]
    // False for NaN.
    let is_exact = (shifted - INTEGERS) / SCALE == magnitude;
    if !is_exact || (decimal < SMALLEST && decimal > 0) {
        return false;
    }
    if value.is_sign_negative() {
        out.append_byte(b'-');
    }
    let (whole, length) = digits::leading((decimal / 100_000_000) as u32);
    let fraction = digits::eight((decimal % 100_000_000) as u32);
    // Seven digits at most, and the point.
    out.append_word(whole | u64::from(b'.') << (8 * length), length + 1);
    let zeros = fraction.leading_zeros() as usize / 8;
    out.append_word(fraction | ASCII, 8 - zeros.min(7));
    true
}

/// Out of line: its buffer would burden every level of a nested message.
#[inline(never)]
fn write_any_float<A: Append>(out: &mut A, value: f64) {
    if !value.is_finite() {
        write_null(out);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let parts = if value.abs() < SMALLEST_WITH_EXPONENT { None } else { text.split_once("e+") };
    match parts {
        // One byte less, and byte for byte what msgspec writes.
        Some((digits, exponent)) => {
            out.append(digits.as_bytes());
            out.append_byte(b'e');
            out.append(exponent.as_bytes());
        }
        None => out.append(text.as_bytes()),
    }
}

/// Floats from here on are written with an exponent.
const SMALLEST_WITH_EXPONENT: f64 = 1e16;

/// Appends a string with its quotes, escaped where RFC 8259 §7 demands it and nowhere else.
#[inline]
pub fn write_text<A: Append>(out: &mut A, text: &str) {
    let bytes = text.as_bytes();
    if bytes.len() > LONGEST_BY_WORDS {
        write_long(out, bytes);
        return;
    }
    let start = out.length();
    if bytes.len() <= 6 {
        // All in one word.
        let (word, bits) = (last_word(bytes), 8 * bytes.len());
        out.append_word(u64::from(b'"') | word << 8 | u64::from(b'"') << (8 + bits), bytes.len() + 2);
        if stop_bytes(word | PLAIN << bits) != 0 {
            out.truncate(start);
            write_escaped(out, bytes);
        }
        return;
    }
    out.append_byte(b'"');
    let mut stops = 0;
    for word in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        stops |= stop_bytes(word);
        out.append_word(word, 8);
    }
    let (rest, bits) = (last_word(bytes), 8 * (bytes.len() % 8));
    stops |= stop_bytes(rest | PLAIN << bits);
    out.append_word(rest | u64::from(b'"') << bits, bits / 8 + 1);
    if stops != 0 {
        out.truncate(start);
        write_escaped(out, bytes);
    }
}

/// Fills a word behind its text: zeros would count as controls.
const PLAIN: u64 = u64::from_le_bytes([b'a'; 8]);

#[inline(never)]
fn write_long<A: Append>(out: &mut A, bytes: &[u8]) {
    if is_plain(bytes) {
        out.append_byte(b'"');
        out.append(bytes);
        out.append_byte(b'"');
    } else {
        write_escaped(out, bytes);
    }
}

#[cold]
fn write_escaped<A: Append>(out: &mut A, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.append_byte(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.append(&[b'\\', byte]),
            b'\n' => out.append(b"\\n"),
            b'\r' => out.append(b"\\r"),
            b'\t' => out.append(b"\\t"),
            0x08 => out.append(b"\\b"),
            0x0c => out.append(b"\\f"),
            0..b' ' => {
                out.append(b"\\u00");
                out.append(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.append_byte(byte),
        }
    }
    out.append_byte(b'"');
}

/// Appends bytes as a string of base64 (RFC 4648 §4).
pub fn write_bytes<A: Append>(out: &mut A, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |bits: u32| [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
    out.append_byte(b'"');
    let (groups, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in groups {
        let letters = letters(u32::from_be_bytes([0, a, b, c]));
        out.append_word(u64::from(u32::from_le_bytes(letters)), 4);
    }
    match *rest {
        [a] => {
            let [first, second, ..] = letters(u32::from_be_bytes([0, a, 0, 0]));
            out.append(&[first, second, b'=', b'=']);
        }
        [a, b] => {
            let [first, second, third, _] = letters(u32::from_be_bytes([0, a, b, 0]));
            out.append(&[first, second, third, b'=']);
        }
        _ => {}
    }
    out.append_byte(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_precision_loss, reason = "the floats next to such numbers are what is tested")]

    use proptest::prelude::*;

    use super::{
        write_any_float, write_bytes, write_float, write_short_decimal, write_signed, write_text, write_unsigned,
    };

    fn written<T>(write: impl Fn(&mut Vec<u8>, T), value: T) -> String {
        let mut out = b"|".to_vec();
        write(&mut out, value);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn integers_at_every_change_of_length_are_as_std_writes_them() {
        let mut power = 1u64;
        loop {
            for value in [power - 1, power, power + 1, power.wrapping_mul(7)] {
                assert_eq!(written(write_unsigned, value), value.to_string());
                let signed = value.cast_signed();
                assert_eq!(written(write_signed, signed), signed.to_string());
                assert_eq!(written(write_signed, signed.wrapping_neg()), signed.wrapping_neg().to_string());
            }
            let Some(next) = power.checked_mul(10) else { break };
            power = next;
        }
        for value in [i64::MIN, i64::MIN + 1, i64::MAX] {
            assert_eq!(written(write_signed, value), value.to_string());
        }
        assert_eq!(written(write_unsigned, u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn short_decimals_are_found_and_written_like_any_float() {
        let mut found = 0;
        for digits in [1u64, 5, 7, 10, 99, 100, 1_874, 12_345, 99_999, 187_400_000, 999_999_999_999_999] {
            for places in 0..=12 {
                for value in [digits as f64 / 10f64.powi(places), -(digits as f64) / 10f64.powi(places)] {
                    found += usize::from(write_short_decimal(&mut Vec::new(), value));
                    assert_eq!(written(write_float, value), written(write_any_float, value));
                }
            }
        }
        assert!(found > 100, "{found}");
        for value in [0.0, -0.0, 1e-5, 9.99e-6, 1e-8, 1e7, 9_999_999.999_999_99, f64::NAN, f64::INFINITY, f64::MIN] {
            assert_eq!(written(write_float, value), written(write_any_float, value));
        }
        assert!(write_short_decimal(&mut Vec::new(), 0.0));
        assert!(!write_short_decimal(&mut Vec::new(), 0.1 + 0.2));
    }

    #[test]
    fn bytes_of_every_length_are_base64() {
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(written(write_bytes, bytes.as_bytes()), format!("\"{expected}\""));
        }
        assert_eq!(written(write_bytes, &[0xfb, 0xff, 0xfe][..]), "\"+//+\"");
    }

    #[test]
    fn text_of_every_length_is_quoted_and_escaped_at_every_place() {
        for length in 0..100 {
            let text = "a".repeat(length);
            assert_eq!(written(write_text, text.as_str()), format!("\"{text}\""));
            for place in 0..length {
                for (byte, escaped) in [("\"", "\\\""), ("\n", "\\n"), ("\u{1f}", "\\u001f"), ("\u{7f}", "\u{7f}")] {
                    let (before, after) = (&text[..place], &text[place + 1..]);
                    let expected = format!("\"{before}{escaped}{after}\"");
                    assert_eq!(written(write_text, format!("{before}{byte}{after}").as_str()), expected);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bits_are_written_as_the_shortest_text(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assert_eq!(written(write_float, value), written(write_any_float, value));
        }

        #[test]
        fn any_decimal_and_its_neighbours_are_written_as_the_shortest_text(digits in 0u64..10_000_000_000_000_000, places in 0i32..16) {
            let value = digits as f64 / 10f64.powi(places);
            for value in [value, value.next_up(), value.next_down()] {
                prop_assert_eq!(written(write_float, value), written(write_any_float, value));
            }
        }

        #[test]
        fn any_integer_is_written_as_std_writes_it(value: i64) {
            prop_assert_eq!(written(write_signed, value), value.to_string());
            prop_assert_eq!(written(write_unsigned, value.cast_unsigned()), value.cast_unsigned().to_string());
        }
    }
}
