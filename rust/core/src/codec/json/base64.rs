//! Bytes as base64 text (RFC 4648, section 4): how JSON carries them.

/// The bytes that `text` stands for; None for what is not padded base64 throughout.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let Some((last, whole)) = groups.split_last() else { return Some(Vec::new()) };
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for group in whole {
        let word = group.iter().try_fold(0u32, |word, letter| Some(word << 6 | u32::from(value(*letter)?)))?;
        bytes.extend_from_slice(&word.to_be_bytes()[1..]);
    }
    let kept = match last {
        [_, _, b'=', b'='] => 2,
        [_, _, _, b'='] => 3,
        _ => 4,
    };
    let word = last[..kept].iter().try_fold(0u32, |word, letter| Some(word << 6 | u32::from(value(*letter)?)))?;
    let [_, decoded @ ..] = (word << (6 * (4 - kept))).to_be_bytes();
    let (decoded, left_over) = decoded.split_at(kept - 1);
    // Bits that belong to no byte have to be zero: nothing else writes them.
    if left_over.iter().any(|byte| *byte != 0) {
        return None;
    }
    bytes.extend_from_slice(decoded);
    Some(bytes)
}

const fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn examples_of_the_specification() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zg", None),
            ("Zg=", None),
            ("Z===", None),
            ("Zh==", None),
            ("Zm9=", None),
            ("Zg==Zg==", None),
            ("Zm-_", None),
            ("Zm9 ", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
    }
}
