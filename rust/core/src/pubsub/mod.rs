//! Notifications of Solana's JSON-RPC PubSub, read without making anything of them but numbers.
//!
//! ```text
//! {"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":5199307},"value":{"lamports":33594,
//!  "data":["AQI=","base64"],"owner":"11…","executable":false,"rentEpoch":18446744073709551615,"space":2}},"subscription":23784}}
//! ```
//!
//! Nodes write one order of fields without spaces: such a frame is read with one compare for each stretch between two values
//! (`in_order`). Any other is read from its start again, whatever its order and whatever it has besides (`any_order`).
//! Nothing is allocated, depth is bounded, and a frame is accepted only if all of it is well formed.

mod any_order;
mod in_order;
mod reader;

#[cfg(test)]
mod tests;

pub use crate::codec::{Fault, Text};

/// What one frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// An account was written.
    Account {
        /// The node's number of the subscription.
        subscription: u64,
        /// The account, whose address the frame does not have.
        account: Account<'a>,
    },
    /// An account of a program was written.
    Program {
        /// The node's number of the subscription.
        subscription: u64,
        /// Address of the account, base58; not checked to be that.
        pubkey: Text<'a>,
        /// The account.
        account: Account<'a>,
    },
    /// The node works on a slot.
    Slot {
        /// The node's number of the subscription.
        subscription: u64,
        /// The slot.
        slot: u64,
        /// The slot that it builds on.
        parent: u64,
        /// The newest slot that can't be undone.
        root: u64,
    },
    /// No fork can undo this slot any more.
    Root {
        /// The node's number of the subscription.
        subscription: u64,
        /// The slot.
        root: u64,
    },
    /// Anything else: an answer, an error, a notification of another kind. It is not read further than to know that.
    Other,
}

/// The state of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// The slot of which this is the state.
    pub slot: u64,
    /// Its balance; 0 where the node writes null for an account that is gone.
    pub lamports: u64,
    /// The program that owns it, base58 and not checked to be that; None where it is missing or written with escapes.
    pub owner: Option<&'a [u8]>,
    /// Its data as they stand in the frame, brackets and quotes included; None where they are missing.
    pub data: Option<&'a [u8]>,
}

/// Reads one frame.
///
/// # Errors
/// A [`Fault`] where the frame is not well formed, lacks a number that its kind has, or is written in a way that is left to a
/// complete decoder: a key with escapes, a key twice, a number with a fraction or an exponent.
#[inline]
pub fn scan(frame: &[u8]) -> Result<Notification<'_>, Fault> {
    match in_order::scan(frame) {
        Some(notification) => Ok(notification),
        None => any_order::scan(frame),
    }
}
