//! Strings with escapes.

use super::plain;

/// The text of the string that begins at `start` (behind its opening quote), and where it ends (behind its closing one);
/// None for what is broken, not UTF-8, or half a surrogate pair.
pub(super) fn unescape(input: &[u8], start: usize) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let mut at = start;
    loop {
        let (text, end) = plain::text(input, at);
        bytes.extend_from_slice(text.bytes);
        match *input.get(end)? {
            b'"' => return Some((String::from_utf8(bytes).ok()?, end + 1)),
            b'\\' => at = escaped(input, end + 1, &mut bytes)?,
            _ => return None,
        }
    }
}

/// Appends what stands behind a backslash, and says where it ends.
fn escaped(input: &[u8], at: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    bytes.push(match *input.get(at)? {
        byte @ (b'"' | b'\\' | b'/') => byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (unit, mut end) = (code_unit(input, at + 1)?, at + 5);
            let point = if (0xd800..0xdc00).contains(&unit) {
                if input.get(end..end + 2) != Some(b"\\u") {
                    return None;
                }
                let low = code_unit(input, end + 2)?;
                end += 6;
                (0xdc00..0xe000).contains(&low).then(|| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?
            } else {
                unit
            };
            let mut buffer = [0; 4];
            bytes.extend_from_slice(char::from_u32(point)?.encode_utf8(&mut buffer).as_bytes());
            return Some(end);
        }
        _ => return None,
    });
    Some(at + 1)
}

fn code_unit(input: &[u8], at: usize) -> Option<u32> {
    let digits: &[u8; 4] = input.get(at..)?.first_chunk()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_and_what_is_none() {
        for (text, expected) in [
            (r#"a\"b\\c\/d\b\f\n\r\t""#, Some("a\"b\\c/d\u{8}\u{c}\n\r\t")),
            (r#"\u0041\u00e9\u20AC\ud83d\ude00""#, Some("Aé€😀")),
            (r#"\u0000""#, Some("\0")),
            (r#"é😀""#, Some("é😀")),
            (r#"\ud83d""#, None),
            (r#"\ud83d\u0041""#, None),
            (r#"\ude00""#, None),
            (r#"\u00g0""#, None),
            (r"\u00", None),
            (r#"\x""#, None),
            (r"\", None),
            ("a\nb\"", None),
            ("a", None),
        ] {
            let read = unescape(text.as_bytes(), 0);
            assert_eq!(read, expected.map(|expected| (expected.to_owned(), text.len())), "{text}");
        }
        assert_eq!(unescape(b"\\n\xff\"", 0), None);
    }
}
