//! What a MessagePack payload says about itself without being decoded.

use std::ops::Range;

use super::super::plan::TagField;
use super::super::{MAX_DEPTH, Peek, Refused, Step};
use super::skip::{Body, Cursor};

/// The tag of a payload, whose tag would stand in `field`.
#[inline]
#[must_use]
pub fn peek_tag<'a>(input: &'a [u8], field: &TagField) -> Peek<'a> {
    let mut cursor = Cursor { input, at: 0 };
    search(&mut cursor, field).unwrap_or(Peek::Unclear)
}

#[inline]
fn search<'a>(cursor: &mut Cursor<'a>, field: &TagField) -> Result<Peek<'a>, Refused> {
    for _ in 0..cursor.map()? {
        if take_key(cursor, field)? {
            let tag = cursor.text()?;
            return Ok(Peek::Tag(tag, cursor.at - tag.len()));
        }
        cursor.skip_value(1)?;
    }
    Ok(Peek::Untagged)
}

/// Steps over a key and says whether it is the tag field.
#[inline]
fn take_key(cursor: &mut Cursor<'_>, field: &TagField) -> Result<bool, Refused> {
    if field.msgpack_key.stands_at(cursor.input, cursor.at) {
        cursor.at += field.msgpack_key.len();
        return Ok(true);
    }
    Ok(cursor.text()? == field.name.as_bytes())
}

/// Every place of a payload's own tag (not of nested maps) with the text's header, as far as the payload is well
/// formed.
#[must_use]
pub fn tag_spans(input: &[u8], field: &TagField) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut cursor = Cursor { input, at: 0 };
    let _ = cursor.map().and_then(|entries| {
        for _ in 0..entries {
            if take_key(&mut cursor, field)? {
                let start = cursor.at;
                cursor.text()?;
                spans.push(start..cursor.at);
            } else {
                cursor.skip_value(1)?;
            }
        }
        Ok(())
    });
    spans
}

/// Offset at which arrays and maps nest deeper than [`MAX_DEPTH`], in any input at all.
#[must_use]
pub fn too_deep(input: &[u8]) -> Option<usize> {
    let mut cursor = Cursor { input, at: 0 };
    // Values still to come in each open container: the walk needs no stack of the machine.
    let mut open: Vec<usize> = Vec::new();
    loop {
        let at = cursor.at;
        // What is broken or cut is for the complete decoder to name.
        match cursor.head().ok()? {
            Body::Bytes(size) => cursor.at = cursor.at.checked_add(size)?,
            Body::Values(0) => {}
            Body::Values(count) => {
                if open.len() == MAX_DEPTH {
                    return Some(at);
                }
                open.push(count);
                continue;
            }
        }
        loop {
            let left = open.last_mut()?;
            *left -= 1;
            if *left > 0 {
                break;
            }
            open.pop();
        }
    }
}

/// Where the value at a path begins: as far down as the payload has it.
#[must_use]
pub fn locate(input: &[u8], path: &[Step<'_>]) -> usize {
    let mut cursor = Cursor { input, at: 0 };
    let mut found = 0;
    let _ = path.iter().try_for_each(|step| {
        match *step {
            Step::Field(name) => {
                let mut left = cursor.map()?;
                loop {
                    left = left.checked_sub(1).ok_or(Refused)?;
                    if cursor.text()? == name.as_bytes() {
                        break;
                    }
                    cursor.skip_value(1)?;
                }
            }
            Step::Item(index) => {
                if index >= cursor.sequence()? {
                    return Err(Refused);
                }
                for _ in 0..index {
                    cursor.skip_value(1)?;
                }
            }
        }
        found = cursor.at;
        Ok(())
    });
    found
}
