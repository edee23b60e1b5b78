//! permessage-deflate (RFC 7692): what both ends agreed on, and the compressor of what is sent. What is received is inflated
//! inside a [`Connection`](crate::connection::Connection).

use core::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

/// What a sync flush ends with: an empty stored block's lengths, which don't travel (RFC 7692 section 7.2.1).
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The knee, measured on 1 KiB of JSON order book with takeover: level 1 takes 4.8 us and leaves 49 %, 2 takes 12 us and
/// leaves 37 %, 3 takes 16 us for 36 %, 6 takes 32 us for 34 %.
const LEVEL: i32 = 2;

/// zlib's measure of the buffer between its two stages: 2^(6 + this) symbols make a block at most.
/// zlib's own 8 has 84 KiB more and is not faster.
const MEM_LEVEL: i32 = 6;

/// A payload of that many bytes or less can't become smaller: block header, one match, end of block and the header of the
/// flush's stored block take 3 + 12 + 7 + 3 bits, which is 4 bytes.
const INCOMPRESSIBLE: usize = 4;

/// How far the output is made room for at once, in bytes.
const STEP: usize = 16 * 1024;

/// Room beyond a payload's size for what a flush adds to it.
const STEP_MARGIN: usize = 32;

/// What both ends agreed on (RFC 7692 section 7.1), seen from this end.
///
/// An end that receives compressed messages has 40 KiB for the inflater, whatever the window: from the first such message on
/// with takeover, else only while a read lasts or a message is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// What is sent refers to at most 2 to this power bytes before: 8 to 15.
    pub send_window_bits: u8,
    /// What is sent may refer to messages before.
    pub send_takeover: bool,
    /// What is received refers to at most 2 to this power bytes before: 8 to 15.
    pub receive_window_bits: u8,
    /// What is received may refer to messages before.
    pub receive_takeover: bool,
}

/// Compresses whole messages. Its memory (some 150 to 300 KiB, by window) is allocated with the first of them.
///
/// Without takeover nothing is carried from one message to the next, so that one compressor can serve any number of
/// connections.
pub struct Deflater {
    window_bits: u8,
    takeover: bool,
    stream: Option<Deflate>,
    /// The stream knows bytes that the next message may not refer to.
    stale: bool,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.window_bits)
            .field("takeover", &self.takeover)
            .finish_non_exhaustive()
    }
}

impl Deflater {
    /// A compressor for a window of 2 to the power of `window_bits` bytes, 8 to 15; anything else is taken as the nearest of
    /// these. With `takeover` messages may refer to those before.
    #[must_use]
    pub fn new(window_bits: u8, takeover: bool) -> Self {
        // zlib has no raw stream of 8 bits. With 9 it never refers further back than 512 - 262 = 250 bytes (the window less the
        // longest match and what it looks ahead), so that a window of 256 bytes is enough to read it.
        Self { window_bits: window_bits.clamp(9, 15), takeover, stream: None, stale: false }
    }

    /// Appends the compressed payload of a message to `out` (without the tail that RFC 7692 section 7.2.1 removes) and returns
    /// true; or appends nothing and returns false where compression doesn't make it smaller, so that it goes out as it is.
    /// History is forgotten in that case: the peer did not see what the compressor saw.
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if payload.len() <= INCOMPRESSIBLE {
            return false;
        }
        let start = out.len();
        if !self.compress_and_flush(payload, out) {
            // It can't be known where the compressor stopped: not even a reset would make it as new.
            self.stream = None;
            out.truncate(start);
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        let is_smaller = out.len() - start < payload.len();
        if !is_smaller {
            out.truncate(start);
        }
        self.stale = !is_smaller || !self.takeover;
        is_smaller
    }

    /// The next message refers to nothing before it: something the compressor did not see went to the peer, or what it made
    /// was not sent.
    pub fn forget(&mut self) {
        self.stale = self.stream.is_some();
    }

    /// Appends all of `payload`, compressed and flushed; false in the unlikely case that the compressor fails. What gets no
    /// smaller is finished too, so that the compressor is where it can be reset.
    fn compress_and_flush(&mut self, mut payload: &[u8], out: &mut Vec<u8>) -> bool {
        let window_bits = self.window_bits;
        let stream = self.stream.get_or_insert_with(|| {
            Deflate::new_with_config(DeflateConfig {
                level: LEVEL,
                window_bits: -i32::from(window_bits),
                mem_level: MEM_LEVEL,
                ..DeflateConfig::default()
            })
        });
        if self.stale {
            stream.reset();
        }
        let mut written = out.len();
        // What gets no smaller grows by a few bytes a block: usually one step is enough.
        let mut step = payload.len() + STEP_MARGIN;
        loop {
            out.resize(written + step.min(STEP), 0);
            let (taken_before, made_before) = (stream.total_in(), stream.total_out());
            if stream.compress(payload, &mut out[written..], DeflateFlush::SyncFlush).is_err() {
                return false;
            }
            payload = &payload[(stream.total_in() - taken_before) as usize..];
            written += (stream.total_out() - made_before) as usize;
            // A flush is complete when it leaves room.
            if written < out.len() {
                out.truncate(written);
                return payload.is_empty() && out.ends_with(&TAIL);
            }
            step = STEP;
        }
    }
}
