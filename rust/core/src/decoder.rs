//! Cutting a stream of bytes into frames, and frames into the parts in which they arrive.

#![expect(clippy::mut_mut, reason = "input is taken from its front, by parts that outlive the call")]

use crate::error::ProtocolFault;
use crate::header::{CheckedHeader, HeaderRules, MAX_HEADER_LEN};
use crate::mask::turn;

/// Where the reader is within the stream: between frames, inside a header, inside a payload.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The bytes so far of a header that the input's end cut.
    header_bytes: [u8; MAX_HEADER_LEN],
    header_bytes_len: usize,
    /// The frame whose payload is under way.
    frame: Option<FrameProgress>,
}

#[derive(Debug, Clone, Copy)]
struct FrameProgress {
    header: CheckedHeader,
    received: u64,
}

/// As much of a frame's payload as the input holds, still masked.
#[derive(Debug)]
pub(crate) struct Part<'i> {
    pub(crate) header: CheckedHeader,
    pub(crate) bytes: &'i mut [u8],
    /// The masking key, turned so that its first byte meets the part's first byte.
    pub(crate) key: Option<[u8; 4]>,
    /// Bytes of the frame that are still to come behind this part.
    pub(crate) remaining: u64,
}

impl Part<'_> {
    /// Whether this is a frame's whole payload.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.header.payload_len
    }
}

impl Decoder {
    /// Whether the stream stands at the beginning of a frame.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.header_bytes_len == 0 && self.frame.is_none()
    }

    /// Payload bytes of the frame that is under way, come or not; 0 between frames.
    pub(crate) fn frame_size(&self) -> u64 {
        self.frame.map_or(0, |frame| frame.header.payload_len)
    }

    /// Whether the next bytes are payload.
    pub(crate) fn is_inside_payload(&self) -> bool {
        self.frame.is_some()
    }

    /// Reads a header; `None` when the input has ended before it is complete.
    pub(crate) fn read_header(
        &mut self,
        input: &mut &mut [u8],
        rules: &HeaderRules,
    ) -> Result<Option<CheckedHeader>, ProtocolFault> {
        let kept = self.header_bytes_len;
        let taken = input.len().min(MAX_HEADER_LEN - kept);
        self.header_bytes[kept..kept + taken].copy_from_slice(&input[..taken]);
        let Some((header, len)) = rules.read(&self.header_bytes[..kept + taken])? else {
            // No header is longer than the array, so the input was shorter than the room in it.
            advance(input, taken);
            self.header_bytes_len = kept + taken;
            return Ok(None);
        };
        // What was kept is less than a header, or it would have been read before.
        advance(input, len - kept);
        self.header_bytes_len = 0;
        self.frame = Some(FrameProgress { header, received: 0 });
        Ok(Some(header))
    }

    /// Takes what the input holds of the payload; `None` when it has ended before the payload's end.
    pub(crate) fn read_part<'i>(&mut self, input: &mut &'i mut [u8]) -> Option<Part<'i>> {
        let FrameProgress { header, received } = self.frame?;
        let missing = header.payload_len - received;
        let len = usize::try_from(missing).map_or(input.len(), |missing| missing.min(input.len()));
        if len == 0 && missing > 0 {
            return None;
        }
        let bytes = advance(input, len);
        let key = header.key.map(|key| turn(key, (received % 4) as usize));
        let remaining = missing - len as u64;
        self.frame = (remaining > 0).then_some(FrameProgress { header, received: received + len as u64 });
        Some(Part { header, bytes, key, remaining })
    }
}

/// Takes `len` bytes from the front of `input`.
fn advance<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
    let (taken, rest) = core::mem::take(input).split_at_mut(len);
    *input = rest;
    taken
}
