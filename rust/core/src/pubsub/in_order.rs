//! Frames as nodes write them: fields in the order of the node's own structures, without spaces.

use super::reader::Reader;
use super::{Account, Notification};
use crate::codec::Refused;

/// Reads a frame that is written in that order; None for any other.
#[inline]
pub(super) fn scan(frame: &[u8]) -> Option<Notification<'_>> {
    let mut reader = Reader { input: frame, at: 0 };
    reader.take(b"{\"jsonrpc\":\"2.0\",\"method\":\"").ok()?;
    let notification = match reader.byte()? {
        b'a' => account(&mut reader),
        b'p' => program(&mut reader),
        b's' => slot(&mut reader),
        b'r' => root(&mut reader),
        _ => return None,
    };
    let notification = notification.ok()?;
    reader.take(b"}}").ok()?;
    reader.end().ok()?;
    Some(notification)
}

fn account<'a>(reader: &mut Reader<'a>) -> Result<Notification<'a>, Refused> {
    reader.take(b"accountNotification\",\"params\":{\"result\":{\"context\":{\"slot\":")?;
    let slot = rest_of_context(reader)?;
    let account = state(reader, slot)?;
    let subscription = subscription(reader)?;
    Ok(Notification::Account { subscription, account })
}

fn program<'a>(reader: &mut Reader<'a>) -> Result<Notification<'a>, Refused> {
    reader.take(b"programNotification\",\"params\":{\"result\":{\"context\":{\"slot\":")?;
    let slot = rest_of_context(reader)?;
    reader.take(b"{\"pubkey\":\"")?;
    let pubkey = reader.rest_of_name()?;
    reader.take(b",\"account\":")?;
    let account = state(reader, slot)?;
    reader.take(b"}")?;
    let subscription = subscription(reader)?;
    Ok(Notification::Program { subscription, pubkey, account })
}

fn slot<'a>(reader: &mut Reader<'a>) -> Result<Notification<'a>, Refused> {
    reader.take(b"slotNotification\",\"params\":{\"result\":{\"slot\":")?;
    let slot = reader.unsigned()?;
    reader.take(b",\"parent\":")?;
    let parent = reader.unsigned()?;
    reader.take(b",\"root\":")?;
    let root = reader.unsigned()?;
    let subscription = subscription(reader)?;
    Ok(Notification::Slot { subscription, slot, parent, root })
}

fn root<'a>(reader: &mut Reader<'a>) -> Result<Notification<'a>, Refused> {
    reader.take(b"rootNotification\",\"params\":{\"result\":")?;
    let root = reader.unsigned()?;
    reader.take(b",\"subscription\":")?;
    let subscription = reader.unsigned()?;
    Ok(Notification::Root { subscription, root })
}

/// The slot of a context, and the way to the value.
#[inline]
fn rest_of_context(reader: &mut Reader<'_>) -> Result<u64, Refused> {
    let slot = reader.unsigned()?;
    if reader.byte() == Some(b',') {
        reader.take(b",\"apiVersion\":\"")?;
        reader.rest_of_text()?;
    }
    reader.take(b"},\"value\":")?;
    Ok(slot)
}

/// The state of an account.
#[inline]
fn state<'a>(reader: &mut Reader<'a>, slot: u64) -> Result<Account<'a>, Refused> {
    reader.take(b"{\"lamports\":")?;
    let lamports = reader.unsigned()?;
    reader.take(b",\"data\":")?;
    let start = reader.at;
    if reader.take(b"[\"").is_ok() {
        reader.rest_of_text()?;
        if reader.take(b",\"base64\"]").is_err() {
            reader.take(b",\"")?;
            reader.rest_of_text()?;
            reader.take(b"]")?;
        }
    } else {
        // The node has understood them, or they are in the older form.
        reader.skip_value()?;
    }
    let data = reader.input.get(start..reader.at);
    reader.take(b",\"owner\":\"")?;
    let owner = reader.rest_of_text()?;
    // What nearly every account has.
    if reader.take(b",\"executable\":false,\"rentEpoch\":18446744073709551615").is_err() {
        reader.take(b",\"executable\":")?;
        if reader.take(b"false").is_err() {
            reader.take(b"true")?;
        }
        reader.take(b",\"rentEpoch\":")?;
        reader.skip_number()?;
    }
    if reader.take(b",\"space\":").is_ok() && reader.take(b"null").is_err() {
        reader.skip_number()?;
    }
    reader.take(b"}")?;
    Ok(Account { slot, lamports, owner, data })
}

/// The number of the subscription, behind the result.
#[inline]
fn subscription(reader: &mut Reader<'_>) -> Result<u64, Refused> {
    reader.take(b"},\"subscription\":")?;
    reader.unsigned()
}
