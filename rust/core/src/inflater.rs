//! Inflating the messages of a peer, as their bytes come (RFC 7692 section 7.2.2).

use core::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use crate::deflate::{Agreement, TAIL};
use crate::error::ProtocolFault;
use crate::utf8::Utf8Validator;

/// Bytes inflated at once: at most, at first of a part, and at least, where there is room. What is made room for is zeroed, so
/// that it has to follow what really comes: streams that hold nothing would else cost 32 KiB of zeros for two bytes each.
const MAX_STEP: usize = 32 * 1024;
const MAX_FIRST_STEP: usize = 4 * 1024;
const MIN_STEP: usize = 512;

/// Bytes made room for by one compressed byte: messages of JSON stay below.
const USUAL_RATIO: usize = 8;

/// The inflating side of a connection. State moves with the bytes of compressed messages only.
pub(crate) struct Inflater {
    window_bits: u8,
    takeover: bool,
    /// Made for the first message that needs it. Its window is of 32 KiB whatever was agreed on, so that a distance beyond
    /// the agreed window gives the right bytes or a fault, never wrong ones.
    stream: Option<Inflate>,
    /// The stream holds what the next message may not refer to.
    stale: bool,
    /// Nothing of the message has come, or nothing behind a final block: there is nothing for the tail to end.
    at_end: bool,
    /// Compressed bytes of the message under way.
    received: u64,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("takeover", &self.takeover)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Where inflated bytes go.
struct Sink<'a> {
    buffer: &'a mut Vec<u8>,
    limit: u32,
    text: Option<&'a mut Utf8Validator>,
    /// Bytes to inflate next: twice as many each time that they come.
    step: usize,
}

impl Inflater {
    pub(crate) fn new(agreement: Agreement) -> Self {
        Self {
            window_bits: agreement.receive_window_bits.clamp(8, 15),
            takeover: agreement.receive_takeover,
            stream: None,
            stale: false,
            at_end: true,
            received: 0,
        }
    }

    /// Compressed bytes of the message under way.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// A message begins, compressed or not.
    pub(crate) fn begin_message(&mut self) {
        self.at_end = true;
        self.received = 0;
    }

    /// Between messages: gives memory back that the next message needs no content of. A new stream costs 0.4 us
    /// more than a reset, and is made once a read at most; so idle connections without takeover hold none.
    pub(crate) fn release_memory(&mut self) {
        if !self.takeover {
            self.stream = None;
            self.stale = false;
        }
    }

    /// Inflates a part of a message to the end of `buffer`; the message's end if `is_end`. `buffer` holds nothing else, and
    /// never grows beyond `limit`.
    pub(crate) fn inflate(
        &mut self,
        bytes: &[u8],
        is_end: bool,
        buffer: &mut Vec<u8>,
        limit: u32,
        text: Option<&mut Utf8Validator>,
    ) -> Result<(), ProtocolFault> {
        self.received += bytes.len() as u64;
        let step = (USUAL_RATIO * bytes.len()).clamp(MIN_STEP, MAX_FIRST_STEP);
        let mut sink = Sink { buffer, limit, text, step };
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.inflate_stream(rest, &mut sink)?;
        }
        if !is_end {
            return Ok(());
        }
        let ended = self.at_end || self.finish(&mut sink)?;
        self.stale = self.stale || !self.takeover;
        // A message that is cut inside a block is refused: the tail would become part of it, and of the next message.
        if ended { Ok(()) } else { Err(ProtocolFault::InvalidDeflate) }
    }

    /// Inflates until the bytes or the stream end; returns the bytes behind the stream.
    fn inflate_stream<'b>(&mut self, mut bytes: &'b [u8], sink: &mut Sink<'_>) -> Result<&'b [u8], ProtocolFault> {
        let window_bits = self.window_bits;
        let stream = self.stream.get_or_insert_with(|| Inflate::new(false, window_bits));
        if self.stale {
            // Gives the window the size it has anyway.
            stream.reset(false);
            self.stale = false;
        }
        self.at_end = false;
        loop {
            let (taken, is_filled, status) = sink.inflate(stream, bytes, InflateFlush::NoFlush)?;
            bytes = &bytes[taken..];
            if status == Status::StreamEnd {
                // A block with BFINAL (RFC 7692 section 7.2.3.4). What follows, in this message or the next, is a stream of its
                // own, as zlib would write it: it begins at a whole byte and refers to nothing before.
                self.stale = true;
                self.at_end = true;
                sink.step = MIN_STEP;
                return Ok(bytes);
            }
            if bytes.is_empty() && !is_filled {
                return Ok(bytes);
            }
            if taken == 0 && !is_filled {
                return Err(ProtocolFault::InvalidDeflate);
            }
        }
    }

    /// Adds the tail that the peer has removed (RFC 7692 section 7.2.2); returns whether the message ends there, at the end
    /// of a block.
    fn finish(&mut self, sink: &mut Sink<'_>) -> Result<bool, ProtocolFault> {
        /// More than the tail: an inflater that stops at the end of a block leaves the byte, one inside a block takes it.
        const PROBE: [u8; TAIL.len() + 1] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0xff];
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        let inflated = sink.buffer.len();
        let (taken, _, status) = sink.inflate(stream, &PROBE, InflateFlush::Block)?;
        if status == Status::StreamEnd {
            self.stale = true;
        }
        Ok(taken == TAIL.len() && sink.buffer.len() == inflated)
    }
}

impl Sink<'_> {
    /// Inflates once, into the room there is or can be made; returns how many bytes were taken, whether all room was filled,
    /// and how the stream is. What was inflated is checked before a fault behind it is told, however the bytes were cut.
    fn inflate(
        &mut self,
        stream: &mut Inflate,
        bytes: &[u8],
        flush: InflateFlush,
    ) -> Result<(usize, bool, Status), ProtocolFault> {
        let (taken_before, made_before) = (stream.total_in(), stream.total_out());
        let start = self.buffer.len();
        let room = self.step.min(self.limit as usize - start);
        // At the limit there is room for no byte, and one more is a violation: zero bytes left means stop.
        let mut beyond = [0];
        let result = if room == 0 {
            stream.decompress(bytes, &mut beyond, flush)
        } else {
            self.reserve(room);
            self.buffer.resize(start + room, 0);
            stream.decompress(bytes, &mut self.buffer[start..], flush)
        };
        let made = (stream.total_out() - made_before) as usize;
        if room == 0 && made > 0 {
            return Err(ProtocolFault::MessageTooBig { size: u64::from(self.limit) + 1, limit: self.limit });
        }
        self.buffer.truncate(start + made);
        if let Some(text) = &mut self.text {
            text.feed(&self.buffer[start..])?;
        }
        let status = result.map_err(|_| ProtocolFault::InvalidDeflate)?;
        let is_filled = room > 0 && made == room;
        if is_filled {
            self.step = MAX_STEP.min(2 * self.step);
        }
        Ok(((stream.total_in() - taken_before) as usize, is_filled, status))
    }

    /// Grows by what is inflated next, or to twice the size, within the limit.
    fn reserve(&mut self, room: usize) {
        let needed = self.buffer.len() + room;
        if needed > self.buffer.capacity() {
            let target = needed.max(2 * self.buffer.capacity()).min(self.limit as usize);
            self.buffer.reserve_exact(target - self.buffer.len());
        }
    }
}
