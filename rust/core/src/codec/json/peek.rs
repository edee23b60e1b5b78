//! What a JSON payload says about itself without being decoded.

use std::ops::Range;

use super::super::plan::TagField;
use super::super::{MAX_DEPTH, Peek, Refused, Step};
use super::escape;
use super::skip::Cursor;

/// The tag of a payload, whose tag would stand in `field`.
#[inline]
#[must_use]
pub fn peek_tag<'a>(input: &'a [u8], field: &TagField) -> Peek<'a> {
    let mut cursor = Cursor { input, at: 0 };
    cursor.skip_space();
    if cursor.take(b'{').is_err() {
        return Peek::Unclear;
    }
    if field.json_key.stands_at(input, cursor.at) {
        cursor.at += field.json_key.len();
        return tag_at(&mut cursor);
    }
    search(&mut cursor, field).unwrap_or(Peek::Unclear)
}

#[inline]
fn tag_at<'a>(cursor: &mut Cursor<'a>) -> Peek<'a> {
    cursor.skip_space();
    let at = cursor.at + 1;
    cursor.plain_text().map_or(Peek::Unclear, |tag| Peek::Tag(tag.bytes, at))
}

fn search<'a>(cursor: &mut Cursor<'a>, field: &TagField) -> Result<Peek<'a>, Refused> {
    let mut is_first = true;
    while let Some(found) = cursor.next_key(is_first)? {
        is_first = false;
        if found.bytes == field.name.as_bytes() {
            return Ok(tag_at(cursor));
        }
        cursor.skip_value(1)?;
    }
    Ok(Peek::Untagged)
}

/// Every place of a payload's own tag (not of nested objects), quotes excluded. What lies between need not be JSON: the
/// complete decoder sees to that.
#[must_use]
pub fn tag_spans(input: &[u8], field: &TagField) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut cursor = Cursor { input, at: 0 };
    cursor.skip_space();
    if cursor.take(b'{').is_err() {
        return spans;
    }
    loop {
        cursor.skip_space();
        let start = cursor.at + 1;
        if cursor.byte() != Some(b'"') || cursor.skip_anything().is_none() {
            return spans;
        }
        let is_tag = input.get(start..cursor.at - 1) == Some(field.name.as_bytes())
            || escape::unescape(input, start).is_some_and(|(name, _)| *name == *field.name);
        cursor.skip_space();
        if cursor.take(b':').is_err() {
            return spans;
        }
        cursor.skip_space();
        let start = cursor.at + 1;
        if cursor.skip_anything().is_none() {
            return spans;
        }
        if is_tag && input.get(start - 1) == Some(&b'"') {
            spans.push(start..cursor.at - 1);
        }
        cursor.skip_space();
        if cursor.take(b',').is_err() {
            return spans;
        }
    }
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

/// Where the value at a path begins: as far down as the payload has it.
#[must_use]
pub fn locate(input: &[u8], path: &[Step<'_>]) -> usize {
    let mut cursor = Cursor { input, at: 0 };
    cursor.skip_space();
    let mut found = cursor.at;
    let _ = path.iter().try_for_each(|step| {
        let mut is_first = true;
        match *step {
            Step::Field(name) => {
                cursor.take(b'{')?;
                while cursor.next_key(is_first)?.ok_or(Refused)?.bytes != name.as_bytes() {
                    cursor.skip_value(1)?;
                    is_first = false;
                }
                cursor.skip_space();
            }
            Step::Item(index) => {
                cursor.take(b'[')?;
                for place in 0..=index {
                    if !cursor.next_item(is_first)? {
                        return Err(Refused);
                    }
                    if place < index {
                        cursor.skip_value(1)?;
                    }
                    is_first = false;
                }
            }
        }
        found = cursor.at;
        Ok(())
    });
    found
}
