//! What a MessagePack payload says about itself without being decoded.

use std::ops::Range;

use super::super::plan::TagField;
use super::super::{MAX_DEPTH, Peek, Refused};
use super::scan::{Body, Scanner};

/// The tag of a payload, whose tag would stand in `field`.
#[inline]
#[must_use]
pub fn peek_tag<'a>(input: &'a [u8], field: &TagField) -> Peek<'a> {
    let mut scanner = Scanner { input, at: 0 };
    search(&mut scanner, field).unwrap_or(Peek::Unclear)
}

#[inline]
fn search<'a>(scanner: &mut Scanner<'a>, field: &TagField) -> Result<Peek<'a>, Refused> {
    for _ in 0..scanner.map()? {
        if take_key(scanner, field)? {
            let tag = scanner.text()?;
            return Ok(Peek::Tag(tag, scanner.at - tag.len()));
        }
        scanner.skip_value(1)?;
    }
    Ok(Peek::Untagged)
}

/// Steps over a key and says whether it is the tag field.
#[inline]
fn take_key(scanner: &mut Scanner<'_>, field: &TagField) -> Result<bool, Refused> {
    if field.msgpack_key.begins(scanner.rest()) {
        scanner.at += field.msgpack_key.len();
        return Ok(true);
    }
    Ok(scanner.text()? == field.name.as_bytes())
}

/// Every place of a payload's own tag (not of nested maps) with the text's header, as far as the payload is well
/// formed.
#[must_use]
pub fn tag_spans(input: &[u8], field: &TagField) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut scanner = Scanner { input, at: 0 };
    let _ = scanner.map().and_then(|entries| {
        for _ in 0..entries {
            if take_key(&mut scanner, field)? {
                let start = scanner.at;
                scanner.text()?;
                spans.push(start..scanner.at);
            } else {
                scanner.skip_value(1)?;
            }
        }
        Ok(())
    });
    spans
}

/// Offset at which arrays and maps nest deeper than [`MAX_DEPTH`], in any input at all.
#[must_use]
pub fn too_deep(input: &[u8]) -> Option<usize> {
    let mut scanner = Scanner { input, at: 0 };
    // Values still to come in each open container: the walk needs no stack of the machine.
    let mut open: Vec<usize> = Vec::new();
    loop {
        let at = scanner.at;
        // What is broken or cut is for the complete decoder to name.
        match scanner.head().ok()? {
            Body::Bytes(size) => scanner.at = scanner.at.checked_add(size)?,
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
