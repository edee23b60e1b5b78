//! Broadcast: a message is encoded once for each wire format in use, compressed once for all who take it so, and appended
//! to the log of each; connections hold ranges of one log; one flush a turn writes each connection's range with one call.
//!
//! ```text
//! publish -> channel: number, audience, patterns that match    (channels)
//!         -> payload for each format, frame for each variant   (encoding)
//!         -> log of each variant; a range for each connection  (publishing)
//!            or a copy for those who are blocked               (slow, standing)
//! flush   -> one write for each connection, logs trimmed       (flushing, fan_out)
//! ```
//!
//! # Rules
//!
//! - Publishing never waits for a client and never writes by itself unless [`flushing::FLUSH_BYTES`], or a KiB for
//!   each connection that is listed, are unflushed.
//! - A publication is numbered when it is encoded: what could not be encoded, or is of the wrong class, has no number.
//! - A connection gets a publication once, however many of its subscriptions match.
//! - A pattern's members stand in the pattern alone: a channel knows which patterns match it, not who is behind them.
//! - A connection that can't take more keeps its ranges; the others are not touched by it.
//! - What is published for it meanwhile goes by the policy of the subscription or the namespace ([`slow`]).
//! - A connection more than `max_lag` behind (or what its policy says) is reported to its owner, which ends it.
//! - A connection that waits for little of what was published holds the log no longer than that either: it gets a copy.
//! - A compressed frame refers to nothing before it: it means the same to every peer, whatever it has inflated until then.
//! - The log is borrowed for the length of a flush, also while the GIL is released: calls from other threads are refused
//!   by [`LoopBound`], so nothing changes under the kernel's eyes.

mod audience;
mod channels;
mod encoding;
mod fan_out;
mod flushing;
mod handle;
mod history;
mod idle;
mod policy;
mod publishing;
mod python;
mod recovering;
mod slow;
mod standing;
mod subscribing;
mod taps;
mod variant;

use std::cell::{Cell, Ref};

use pyo3::prelude::*;
use websocket_utils_core::deflate::Agreement;
use websocket_utils_core::log::Log;

use self::audience::Audience;
use self::channels::Channels;
use self::fan_out::FanOut;
pub(crate) use self::handle::{Channel, Receipt};
pub(crate) use self::standing::Standing;
use self::taps::Tap;
use self::variant::VARIANTS;
pub(crate) use self::variant::Variant;
use crate::codec::WireFormat;
use crate::connection::Connection;
use crate::loop_bound::{Guarded, LoopBound};

/// The streams of frames that connections read from.
#[derive(Default)]
struct Logs {
    logs: [Log; VARIANTS],
    /// The largest frame of each log that was appended since nobody was behind, if it is over `max_lag`.
    oversized: [usize; VARIANTS],
}

struct State {
    call_soon: Py<PyAny>,
    /// Called with (connection, bytes, reason) for each connection too far behind.
    on_lag: Py<PyAny>,
    /// Called with errors that have no caller: of a message that one codec in use has no form for, while another has; of
    /// a tap.
    on_fault: Py<PyAny>,
    max_lag: usize,
    /// Window of the compressor: who agreed to less is sent plain frames.
    window_bits: u8,
    /// Bytes of payload from which on a message is compressed unless its sender says otherwise.
    compression_threshold: usize,
    logs: Guarded<Logs>,
    everyone: Guarded<Audience>,
    channels: Guarded<Channels>,
    taps: Guarded<Vec<Tap>>,
    has_taps: Cell<bool>,
    /// Connections with something queued since the last flush.
    listed: Guarded<Vec<Py<Connection>>>,
    /// Connections that had something left after a flush, or have a backlog.
    lagging: Guarded<Vec<Py<Connection>>>,
    /// Connections whose backlog was too big when something was added, and what it may be; they are reported after the next
    /// flush.
    too_far: Guarded<Vec<(Py<Connection>, usize)>>,
    /// The frame of the message under way for each log; the last one's size is the guess for the next.
    frames: Guarded<[Vec<u8>; VARIANTS]>,
    fan_out: FanOut,
    flush_method: Guarded<Option<Py<PyAny>>>,
    flushing: Cell<bool>,
    scheduled: Cell<bool>,
    unflushed: Cell<usize>,
    counts: Counts,
}

/// What has happened so far.
#[derive(Default)]
struct Counts {
    published: Cell<u64>,
    deliveries: Cell<u64>,
    bytes: Cell<u64>,
    subscriptions: Cell<u64>,
    history_messages: Cell<u64>,
    history_bytes: Cell<u64>,
    /// Resubscribed channels of which nothing was missing, and others.
    recovered: Cell<u64>,
    unrecovered: Cell<u64>,
    /// Publications left out, each once for each connection: for the latest of its key, or as the oldest.
    conflated: Cell<u64>,
    dropped: Cell<u64>,
    lag_notices: Cell<u64>,
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

/// The logs of a server, its connections and who is subscribed to what.
#[pyclass(frozen, module = "websocket_utils._core")]
pub(crate) struct Broadcaster {
    state: LoopBound<State>,
}

impl Broadcaster {
    /// The log that connections of this variant read from.
    pub(crate) fn log(&self, variant: Variant) -> PyResult<Ref<'_, Log>> {
        Ok(Ref::map(self.state.get()?.logs.read()?, |logs| &logs.logs[variant.place()]))
    }

    /// The log for a connection: a compressed one if its peer's window reaches as far back as ours.
    pub(crate) fn variant(
        &self,
        format: WireFormat,
        is_sequenced: bool,
        agreement: Option<Agreement>,
    ) -> PyResult<Variant> {
        let window_bits = self.state.get()?.window_bits;
        let is_compressed = agreement.is_some_and(|agreement| agreement.send_window_bits >= window_bits);
        Ok(Variant::new(format, is_sequenced, is_compressed))
    }
}
