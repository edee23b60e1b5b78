//! The path of messages as senders write them: no spaces, the tag first, every field in the plan's order, plain values.
//!
//! A price feed sends nothing else, millions of times. This reader takes such a message a field at a time with one
//! compare for each key and no decision that the message itself does not ask for. At the first thing that is otherwise it
//! stops in front of that field, and the general scanner goes on from there: it accepts nothing that the scanner refuses.
#![allow(clippy::inline_always, reason = "measured: the parts are small, called once each, and 15 % of a decode")]

use super::super::plan::{Kind, Plan};
use super::super::{Fault, Refused, Sink};
use super::number;
use super::text::{HIGH_BITS, stop_bytes};

/// How far the reader came.
pub(super) struct Reached {
    /// Where the first byte stands that it did not take.
    pub(super) at: usize,
    /// Fields that were read: the index of the next one.
    pub(super) fields: usize,
    /// Nothing of the object's content was read, only its brace.
    pub(super) is_first: bool,
    /// The message was read to its end.
    pub(super) is_complete: bool,
}

/// Reads as many fields as come in order. A payload that begins otherwise is left alone (`at` is 0).
///
/// # Errors
/// A [`Fault`] where the sink refuses a value.
#[inline(always)]
pub(super) fn read<S: Sink>(plan: &Plan, input: &[u8], sink: &mut S, record: &mut S::Record) -> Result<Reached, Fault> {
    let mut reached = Reached { at: 0, fields: 0, is_first: true, is_complete: false };
    if input.first() != Some(&b'{') {
        return Ok(reached);
    }
    reached.at = 1;
    if let Some(tag) = &plan.tag
        && let Some(head) = tag.json_heads.iter().find(|head| head.begins_at(input, 1))
    {
        reached.at += head.len();
        reached.is_first = false;
    }
    for (index, field) in plan.fields.iter().enumerate() {
        let key = if reached.is_first { &field.json_key } else { &field.json_next_key };
        if !key.begins_at(input, reached.at) {
            return Ok(reached);
        }
        let start = reached.at + key.len();
        let refused = |Refused| Fault { offset: start, field: Some(index as u32) };
        let (value, end) = match field.kind {
            Kind::Text => {
                let Some((end, is_ascii)) = plain_text_end(input, start) else { return Ok(reached) };
                (sink.text(&input[start + 1..end], is_ascii).map_err(refused)?, end + 1)
            }
            Kind::Int => {
                let Some((value, end)) = number::plain_integer(input, start) else { return Ok(reached) };
                (sink.unsigned(value).map_err(refused)?, end)
            }
            Kind::Float => {
                let Some((value, end)) = number::plain_float(input, start) else { return Ok(reached) };
                (sink.float(value).map_err(refused)?, end)
            }
            Kind::Other => return Ok(reached),
        };
        sink.set(record, index, value);
        reached.at = end;
        reached.fields = index + 1;
        reached.is_first = false;
    }
    reached.is_complete = reached.at + 1 == input.len() && input[reached.at] == b'}';
    Ok(reached)
}

/// Where the closing quote of the plain string that begins at `start` stands, and whether it is ASCII; None for anything
/// else, and for a string that the input ends shortly behind.
#[inline(always)]
fn plain_text_end(input: &[u8], start: usize) -> Option<(usize, bool)> {
    if input.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    let mut high_bits = 0;
    loop {
        let word = u64::from_le_bytes(*input.get(at..)?.first_chunk::<8>()?);
        let stops = stop_bytes(word);
        if stops == 0 {
            high_bits |= word;
            at += 8;
            continue;
        }
        // Marks lie on high bits: those below the first one are the text's own.
        high_bits |= word & (stops & stops.wrapping_neg()).wrapping_sub(1);
        at += (stops.trailing_zeros() / 8) as usize;
        return (input[at] == b'"').then_some((at, high_bits & HIGH_BITS == 0));
    }
}
