//! Which class a payload is of, before it is decoded.

use super::super::Peek;
use super::plan::TAG_NUMBER;
use super::wire::{self, LENGTH, depth_left};

/// Looks for the tag of a tagged class among the fields of the message. The last one counts, as of every field; ours
/// comes first, and what Google's libraries write has it last.
#[must_use]
pub fn peek_tag(input: &[u8]) -> Peek<'_> {
    let (mut at, mut found) = (0, Peek::Untagged);
    while at < input.len() {
        let Ok(field) = wire::occurrence(input, at, input.len(), depth_left(0)) else { return Peek::Unclear };
        if field.number == TAG_NUMBER && field.wire == LENGTH {
            found = Peek::Tag(&input[field.start..field.end], field.start);
        }
        at = field.next;
    }
    found
}
