//! Numbers of JSON: exact, or left to the complete decoder.
#![allow(clippy::cast_precision_loss, reason = "only where a branch has proven the integer exact")]
#![allow(clippy::inline_always, reason = "measured: three calls a message for a few instructions each")]
#![allow(clippy::cast_possible_wrap, reason = "counts of digits that are in memory, and exponents of five digits")]

use super::super::text::word;

/// A scanned number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// An integer without sign.
    Unsigned(u64),
    /// An integer with a minus sign, not zero.
    Signed(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
}

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Digits that fit 64 bits whatever they are.
const SAFE_DIGITS: usize = 19;

/// Powers of ten by the number of digits that are appended.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Eight times the digit zero.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Marks (with the high bit) bytes above 9. A sum may carry into the next byte, but only out of one that is no digit itself:
/// the first such byte is found exactly.
#[inline]
const fn no_digits(word: u64) -> u64 {
    (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080
}

/// The first `count` of eight digits, in the last places; zeros fill the first.
#[inline]
const fn last_digits(word: u64, count: usize) -> u64 {
    // Two shifts, as one by 64 is none.
    word << (32 - 4 * count) << (32 - 4 * count)
}

/// The value of eight digits, one a byte (0 to 9, not ASCII), the first in the lowest byte.
#[inline]
const fn eight_digits(word: u64) -> u64 {
    // Neighbours are joined pairwise: 8 digits, 4 pairs, 2 fours, 1 value.
    let pairs = word.wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32
}

/// Adds the digits at `at` to `value` and returns where they end. Wraps beyond 64 bits: the caller counts digits.
///
/// Eight bytes at a time without a loop over digits: a payload has four short runs of them, and each run would cost a
/// mispredicted branch where its length varies.
#[inline(always)]
fn digits(input: &[u8], mut at: usize, value: &mut u64) -> usize {
    loop {
        let word = word(input, at) ^ ZEROS;
        // What the input does not have is no digit.
        let stops = no_digits(word);
        if stops == 0 {
            *value = value.wrapping_mul(100_000_000).wrapping_add(eight_digits(word));
            at += 8;
            // Times have 16 digits.
            if !matches!(input.get(at), Some(b'0'..=b'9')) {
                return at;
            }
            continue;
        }
        let count = stops.trailing_zeros() as usize / 8;
        *value = value.wrapping_mul(SHIFTS[count]).wrapping_add(eight_digits(last_digits(word, count)));
        return at + count;
    }
}

/// Reads an integer as nearly all are: no sign and at most 19 digits. None for any other, which [`scan`] may still read.
/// What follows is not looked at, but is no part of a number.
#[inline(always)]
pub(crate) fn plain_integer(input: &[u8], start: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    let end = digits(input, start, &mut value);
    let count = end - start;
    if count.wrapping_sub(1) >= SAFE_DIGITS || (count > 1 && input[start] == b'0') {
        return None;
    }
    (!matches!(input.get(end), Some(b'.' | b'e' | b'E'))).then_some((value, end))
}

/// Reads a float as nearly all are: no sign, no exponent, a fraction, at most seven digits before it and eight in it. None
/// for any other, which [`scan`] may still read. What follows is not looked at, but is no part of a number.
///
/// At most 15 digits are an exact integer in a double, and so are the powers of ten: one rounding (see `scan`).
#[inline(always)]
pub(super) fn plain_float(input: &[u8], start: usize) -> Option<(f64, usize)> {
    let first = word(input, start);
    let digits = first ^ ZEROS;
    let stops = no_digits(digits);
    // All in bits here: a byte has eight of them.
    let point = stops.trailing_zeros() & 0x78;
    let starts_with_zero = digits.trailing_zeros() >= 8;
    // Before a shift by its number of bits, `point` is below 64.
    if stops == 0 || (first >> point) as u8 != b'.' || point == 0 || (starts_with_zero && point > 8) {
        return longer_float(input, start);
    }
    // A point carries nothing into the byte behind it, so the second mark is exact too.
    let behind = stops & (stops - 1);
    if behind != 0 {
        // Both parts in one word: the point goes, and the digits move to the last places.
        let end = behind.trailing_zeros() & 0x38;
        let fraction = (end - point) as usize / 8 - 1;
        if fraction == 0 || (first >> end) as u8 | 0x20 == b'e' {
            return longer_float(input, start);
        }
        let whole = (1 << point) - 1;
        let mantissa = eight_digits(((digits & whole) | (digits >> 8 & !whole)) << (72 - end));
        return Some((mantissa as i64 as f64 / EXACT_POWERS[fraction], start + end as usize / 8));
    }
    let at = start + point as usize / 8 + 1;
    let more = word(input, at) ^ ZEROS;
    let stops = no_digits(more);
    let fraction = if stops == 0 { 8 } else { stops.trailing_zeros() as usize / 8 };
    if fraction == 0 || matches!(input.get(at + fraction), Some(b'e' | b'E' | b'0'..=b'9')) {
        return longer_float(input, start);
    }
    let whole = eight_digits(digits << (64 - point));
    let mantissa = whole * SHIFTS[fraction] + eight_digits(last_digits(more, fraction));
    Some((mantissa as i64 as f64 / EXACT_POWERS[fraction], at + fraction))
}

#[inline(never)]
fn longer_float(input: &[u8], start: usize) -> Option<(f64, usize)> {
    let mut mantissa = 0;
    let point = digits(input, start, &mut mantissa);
    let whole_digits = point - start;
    if whole_digits == 0 || (whole_digits > 1 && input[start] == b'0') {
        return None;
    }
    let mut end = point;
    let mut fraction_digits = 0;
    if input.get(point) == Some(&b'.') {
        end = digits(input, point + 1, &mut mantissa);
        fraction_digits = end - point - 1;
        if fraction_digits == 0 {
            return None;
        }
    }
    let is_exact = whole_digits + fraction_digits <= SAFE_DIGITS && mantissa <= 1 << 53;
    if !is_exact || matches!(input.get(end), Some(b'e' | b'E')) {
        return None;
    }
    // Exact operands, one rounding (see `scan`). Below 2^63 the signed conversion is the same and one instruction.
    Some((mantissa as i64 as f64 / EXACT_POWERS[fraction_digits], end))
}

/// Reads the number that begins at `at` and says where it ends, or None for what is no number or needs more than
/// 64 bits.
#[inline]
pub(crate) fn scan(input: &[u8], at: usize) -> Option<(Number, usize)> {
    let negative = input.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let mut mantissa = 0;
    let mut end = digits(input, start, &mut mantissa);
    let whole_digits = end - start;
    if whole_digits == 0 || (whole_digits > 1 && input[start] == b'0') {
        return None;
    }
    match input.get(end) {
        Some(b'.' | b'e' | b'E') => {}
        _ => return integer(&input[start..end], mantissa, negative).map(|number| (number, end)),
    }
    let mut exponent = 0i64;
    let mut digit_count = whole_digits;
    if input[end] == b'.' {
        let point = end;
        end = digits(input, point + 1, &mut mantissa);
        let fraction_digits = end - point - 1;
        if fraction_digits == 0 {
            return None;
        }
        exponent = -(fraction_digits as i64);
        digit_count += fraction_digits;
    }
    if let Some(b'e' | b'E') = input.get(end) {
        let sign = input.get(end + 1);
        let digits_start = end + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
        let mut written = 0;
        end = digits(input, digits_start, &mut written);
        // Five digits hold every exponent that matters; longer ones (leading zeros) are rare enough to pass on.
        if end == digits_start || end - digits_start > 5 {
            return None;
        }
        let written = written as i64;
        exponent += if sign == Some(&b'-') { -written } else { written };
    }
    let value = if digit_count <= SAFE_DIGITS && mantissa <= 1 << 53 && exponent.unsigned_abs() <= 22 {
        // Both operands are exact, so the one rounding of IEEE 754 gives the nearest double (Clinger 1990).
        let power = EXACT_POWERS[exponent.unsigned_abs() as usize];
        let magnitude = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
        if negative { -magnitude } else { magnitude }
    } else {
        std::str::from_utf8(&input[at..end]).ok()?.parse().ok().filter(|value: &f64| value.is_finite())?
    };
    Some((Number::Float(value), end))
}

/// The integer of `text`, whose digits gave `wrapped`.
#[inline]
fn integer(text: &[u8], wrapped: u64, negative: bool) -> Option<Number> {
    let magnitude = if text.len() <= SAFE_DIGITS { wrapped } else { std::str::from_utf8(text).ok()?.parse().ok()? };
    if !negative {
        return Some(Number::Unsigned(magnitude));
    }
    match magnitude {
        // Minus zero is an integer to some and a float to others.
        0 => None,
        _ => 0i64.checked_sub_unsigned(magnitude).map(Number::Signed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_where_they_end() {
        for (text, expected) in [
            ("0", Some((Number::Unsigned(0), 1))),
            ("-0", None),
            ("-", None),
            ("", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("1e400", None),
            ("-0.0", Some((Number::Float(-0.0), 4))),
            ("12345678", Some((Number::Unsigned(12_345_678), 8))),
            ("123456789,", Some((Number::Unsigned(123_456_789), 9))),
            ("18446744073709551615", Some((Number::Unsigned(u64::MAX), 20))),
            ("18446744073709551616", None),
            ("-9223372036854775808", Some((Number::Signed(i64::MIN), 20))),
            ("-9223372036854775809", None),
            ("1e5", Some((Number::Float(1e5), 3))),
            ("9007199254740993.0", Some((Number::Float(9_007_199_254_740_992.0), 18))),
        ] {
            assert_eq!(scan(text.as_bytes(), 0), expected, "{text}");
        }
    }

    #[test]
    fn plain_numbers_are_what_the_complete_reader_reads() {
        for text in [
            "0",
            "7",
            "100",
            "1718035200000000",
            "9223372036854775807",
            "100.0625",
            "0.1",
            "12345678.87654321",
            "9007199254740993.0",
            "01",
            "1.",
            "1e5",
            "-1",
            "18446744073709551615",
            "0.00000000000000000001",
            "3.14159",
        ] {
            for follow in [",", "}", " ", "", ",\"timestamp\":1"] {
                let input = format!("{text}{follow}");
                let scanned = scan(input.as_bytes(), 0);
                if let Some((value, end)) = plain_integer(input.as_bytes(), 0) {
                    assert_eq!(scanned, Some((Number::Unsigned(value), end)));
                }
                if let Some((value, end)) = plain_float(input.as_bytes(), 0) {
                    let whole = |number| if let Number::Unsigned(value) = number { value as f64 } else { -1.0 };
                    let read = scanned.map(|(number, end)| match number {
                        Number::Float(value) => (value, end),
                        other => (whole(other), end),
                    });
                    assert_eq!(read, Some((value, end)));
                }
            }
        }
        assert_eq!(plain_float(b"100.0625,", 0), Some((100.0625, 8)));
        assert_eq!(plain_float(b"100]", 0), Some((100.0, 3)));
        assert_eq!(plain_integer(b"1718035200000000}", 0), Some((1_718_035_200_000_000, 16)));
    }

    proptest! {
        #[test]
        fn plain_floats_of_any_form_are_what_the_complete_reader_reads(
            text in "[0-9]{0,9}\\.?[0-9]{0,10}[.eE+\\-]{0,1}[0-9]{0,2}", end in "[,}\"\\] ]?.{0,9}",
        ) {
            let input = format!("{text}{end}");
            if let Some((value, end)) = plain_float(input.as_bytes(), 0) {
                prop_assert_eq!(value.to_bits(), input[..end].parse::<f64>().unwrap().to_bits());
                let scanned = scan(input.as_bytes(), 0);
                let is_same = match scanned {
                    Some((Number::Float(read), stop)) => (read.to_bits(), stop) == (value.to_bits(), end),
                    Some((Number::Unsigned(read), stop)) => (read as f64, stop) == (value, end),
                    _ => false,
                };
                prop_assert!(is_same, "{scanned:?}");
            }
        }

        #[test]
        fn plain_floats_are_what_the_standard_library_reads(whole in 0u64..100_000_000, fraction in "[0-9]{1,12}") {
            let text = format!("{whole}.{fraction}}}");
            if let Some((value, end)) = plain_float(text.as_bytes(), 0) {
                prop_assert_eq!(value.to_bits(), text[..end].parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn floats_are_what_the_standard_library_reads(bits in any::<u64>(), digits in 0usize..20) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:e}"), format!("{value:.digits$e}")] {
                let (number, end) = scan(text.as_bytes(), 0).unwrap_or((Number::Unsigned(0), 0));
                if end > 0 && let Number::Float(read) = number {
                    prop_assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits());
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = scan(&input, 0);
        }
    }
}
