//! Decimal digits, eight at a time in a word.

/// Makes digits of their values.
pub(super) const ASCII: u64 = 0x3030_3030_3030_3030;

/// The values of the eight digits of a number below 10^8, the first in the lowest byte.
///
/// Halves of four digits are split into pairs, pairs into digits, side by side in the lanes of one word; the products are
/// the quotients by 100 and by 10, exact for such small numbers.
#[inline]
pub(super) const fn eight(value: u32) -> u64 {
    let halves = (value / 10_000) as u64 | ((value % 10_000) as u64) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - tens * 10) << 8
}

/// The text of a number below 10^8 without zeros before it, and its length.
#[inline]
pub(super) const fn leading(value: u32) -> (u64, usize) {
    let digits = eight(value);
    // The last digit stands even if it is zero.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    ((digits | ASCII) >> (8 * zeros), 8 - zeros as usize)
}

#[cfg(test)]
mod tests {
    use super::{ASCII, eight, leading};

    #[test]
    fn digits_of_both_halves_are_exact_for_every_value() {
        for half in 0..10_000 {
            for value in [half, half * 10_000, half * 10_000 + 9_999 - half, half * 10_001] {
                assert_eq!((eight(value) | ASCII).to_le_bytes(), *format!("{value:08}").as_bytes());
                let (word, length) = leading(value);
                assert_eq!(word.to_le_bytes()[..length], *value.to_string().as_bytes());
                assert!(word.to_le_bytes()[length..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
