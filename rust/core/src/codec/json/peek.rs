//! What a JSON payload says about itself without being decoded.

use std::ops::Range;

use super::super::plan::TagField;
use super::super::{MAX_DEPTH, Peek, Refused};
use super::scan::Scanner;

/// The tag of a payload, whose tag would stand in `field`.
#[inline]
#[must_use]
pub fn peek_tag<'a>(input: &'a [u8], field: &TagField) -> Peek<'a> {
    let mut scanner = Scanner { input, at: 0 };
    scanner.skip_space();
    if scanner.take(b'{').is_err() {
        return Peek::Unclear;
    }
    if field.json_key.begins(scanner.rest()) {
        scanner.at += field.json_key.len();
        return tag_at(&mut scanner);
    }
    search(&mut scanner, field).unwrap_or(Peek::Unclear)
}

#[inline]
fn tag_at<'a>(scanner: &mut Scanner<'a>) -> Peek<'a> {
    scanner.skip_space();
    let at = scanner.at + 1;
    scanner.plain_text().map_or(Peek::Unclear, |tag| Peek::Tag(tag, at))
}

fn search<'a>(scanner: &mut Scanner<'a>, field: &TagField) -> Result<Peek<'a>, Refused> {
    let mut is_first = true;
    while let Some(found) = scanner.next_key(is_first)? {
        is_first = false;
        if found == field.name.as_bytes() {
            return Ok(tag_at(scanner));
        }
        scanner.skip_value(1)?;
    }
    Ok(Peek::Untagged)
}

/// Every place of a payload's own tag (not of nested objects), quotes excluded, as far as the payload is well formed.
#[must_use]
pub fn tag_spans(input: &[u8], field: &TagField) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut scanner = Scanner { input, at: 0 };
    scanner.skip_space();
    let _ = scanner.take(b'{').and_then(|()| {
        let mut is_first = true;
        while let Some(found) = scanner.next_key(is_first)? {
            is_first = false;
            scanner.skip_space();
            let start = scanner.at + 1;
            scanner.skip_value(1)?;
            if found == field.name.as_bytes() && input.get(start.saturating_sub(1)) == Some(&b'"') {
                spans.push(start..scanner.at - 1);
            }
        }
        Ok(())
    });
    spans
}

/// Offset at which arrays and objects nest deeper than [`MAX_DEPTH`], in any input at all.
#[must_use]
pub fn too_deep(input: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut in_text = false;
    let mut bytes = input.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                bytes.next();
            }
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at);
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
