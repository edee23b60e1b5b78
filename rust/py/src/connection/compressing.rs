//! Messages that leave compressed (permessage-deflate, RFC 7692).
//!
//! # Rules
//!
//! - The peer's window holds what it inflated, in that order. A compressor that keeps its history (takeover) is told to
//!   forget it whenever the two differ: a broadcast went to the peer, or what it made was not sent.
//! - A connection without takeover owns no compressor: it takes turns with the others of its thread.

use pyo3::prelude::*;
use websocket_utils_core::deflate::{Agreement, Deflater};

use super::State;
use crate::compression;

/// What a connection with an agreement on compression keeps.
pub(crate) struct Compression {
    pub(crate) agreement: Agreement,
    /// Bytes of payload from which on a message is compressed unless its sender says otherwise.
    pub(crate) threshold: usize,
    /// Made for the first message that is compressed; never without takeover.
    deflater: Option<Box<Deflater>>,
}

impl Compression {
    pub(super) fn new(agreement: Agreement, threshold: usize) -> Self {
        Self { agreement, threshold, deflater: None }
    }

    /// Appends the compressed payload to `out`; appends nothing and returns false where that does not make it smaller.
    pub(crate) fn compress(&mut self, has_peer_moved_on: bool, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let Agreement { send_window_bits, send_takeover, .. } = self.agreement;
        if !send_takeover {
            return compression::compress_alone(send_window_bits, payload, out);
        }
        let deflater = self.deflater.get_or_insert_with(|| Box::new(Deflater::new(send_window_bits, true)));
        if has_peer_moved_on {
            deflater.forget();
        }
        deflater.compress(payload, out)
    }

    /// What was compressed last is not sent.
    #[cold]
    pub(crate) fn forget(&mut self) {
        if let Some(deflater) = &mut self.deflater {
            deflater.forget();
        }
    }
}

impl State {
    /// Gives the compressor's memory back: nothing is sent any more.
    pub(super) fn drop_compressor(&self) -> PyResult<()> {
        if let Some(compression) = &self.compression {
            compression.lock()?.deflater = None;
        }
        Ok(())
    }
}
