//! What a peer may make a connection hold or do.

/// Bounds on what a peer can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message accepted, in bytes over all its fragments. Default 16 MiB: far above any update of a market or an
    /// account, and small enough that a few hostile peers cannot take a process's memory. Checked against the length a
    /// header declares, before a byte of the payload is kept; memory grows with the bytes received, not with those declared.
    /// More than 4 GiB - 1 is taken as 4 GiB - 1. Of a compressed message the inflated bytes count, over all its fragments,
    /// and inflating stops at the first byte too many; what travels may be an eighth larger, see
    /// [`Limits::max_compressed_size`].
    pub max_message_size: usize,
    /// Most non-final fragments without payload in one message. Default 1024: they make no progress towards
    /// `max_message_size`, so without a bound a peer could keep a reader busy for ever inside one message.
    pub max_empty_fragments: u32,
}

impl Limits {
    /// Most bytes of one compressed message that are read: the largest message in fixed Huffman codes, whose longest literal
    /// has 9 bits, and 1 KiB for block headers. Without this bound blocks that hold nothing could keep a reader busy for ever
    /// inside one message.
    #[must_use]
    pub const fn max_compressed_size(&self) -> u64 {
        let size = self.max_message_size as u64;
        size + size / 8 + 1024
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message_size: 16 * 1024 * 1024, max_empty_fragments: 1024 }
    }
}
