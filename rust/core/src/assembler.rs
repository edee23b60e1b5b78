//! Putting messages together from frames, and frames from the parts in which they arrive.

use crate::decoder::Part;
use crate::deflate::Agreement;
use crate::error::ProtocolFault;
use crate::header::CheckedHeader;
use crate::inflater::Inflater;
use crate::limits::Limits;
use crate::mask::{append_masked, apply_mask};
use crate::opcode::{MessageKind, Opcode};
use crate::utf8::{self, InvalidUtf8, Utf8Validator};

/// Most memory kept between messages, and most reserved for bytes that are declared but not received: enough that usual
/// messages find their buffer ready, little enough that thousands of idle or hostile connections don't matter.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Most memory kept while nothing is read: a usual message finds its buffer ready, and ten thousand idle connections hold
/// 40 MB at the worst.
const IDLE_CAPACITY: usize = 4 * 1024;

/// Where a complete payload lies, unmasked.
#[derive(Debug)]
pub(crate) enum Place<'i> {
    /// In the caller's input.
    Input(&'i mut [u8]),
    /// In the buffer that gathered it.
    Gathered,
}

/// The message under way.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// What has come of it, unmasked; or, when `delivered`, the last message.
    buffer: Vec<u8>,
    /// Its kind; `None` between messages.
    kind: Option<MessageKind>,
    utf8: Utf8Validator,
    empty_fragments: u32,
    /// What inflates compressed messages, where permessage-deflate was agreed on.
    inflater: Option<Box<Inflater>>,
    /// The message under way is compressed.
    compressed: bool,
    /// The buffer holds a message that was handed out, and is free again.
    delivered: bool,
}

impl Assembler {
    pub(crate) fn with_deflate(agreement: Agreement) -> Self {
        Self { inflater: Some(Box::new(Inflater::new(agreement))), ..Self::default() }
    }

    /// Whether nothing is kept that the next message must see.
    pub(crate) fn is_idle(&self) -> bool {
        self.kind.is_none() && !self.delivered
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn has_message(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether the message under way is compressed.
    pub(crate) fn is_inflating(&self) -> bool {
        self.kind.is_some() && self.compressed
    }

    /// Bytes received of the message under way, as they travelled.
    pub(crate) fn received(&self) -> u64 {
        match &self.inflater {
            Some(inflater) if self.is_inflating() => inflater.received(),
            _ => self.buffer.len() as u64,
        }
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The message that was gathered last.
    pub(crate) fn gathered(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Takes the memory of a delivered message back.
    pub(crate) fn release_delivered(&mut self) {
        if self.delivered {
            self.delivered = false;
            self.buffer.clear();
            if self.buffer.capacity() > KEPT_CAPACITY {
                self.buffer = Vec::new();
            }
        }
    }

    /// Gives memory back that no message under way needs.
    pub(crate) fn release_memory(&mut self) {
        if self.kind.is_some() {
            return;
        }
        self.release_delivered();
        if self.buffer.capacity() > IDLE_CAPACITY {
            self.buffer = Vec::new();
        }
        if let Some(inflater) = &mut self.inflater {
            inflater.release_memory();
        }
    }

    /// Lets the message under way and all memory go.
    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a data frame whose header is in order.
    pub(crate) fn begin_frame(&mut self, header: &CheckedHeader, limits: &Limits) -> Result<(), ProtocolFault> {
        if let Some(kind) = header.opcode.message_kind() {
            self.kind = Some(kind);
            self.utf8 = Utf8Validator::new();
            self.empty_fragments = 0;
            self.compressed = header.compressed;
            if let Some(inflater) = &mut self.inflater {
                inflater.begin_message();
            }
        }
        if header.payload_len == 0 && !header.fin {
            self.empty_fragments += 1;
            if self.empty_fragments > limits.max_empty_fragments {
                return Err(ProtocolFault::TooManyEmptyFragments { limit: limits.max_empty_fragments });
            }
        }
        Ok(())
    }

    /// Takes a part of a data frame; returns the message that it completes.
    pub(crate) fn handle_part<'i>(
        &mut self,
        part: Part<'i>,
        limits: &Limits,
    ) -> Result<Option<(MessageKind, Place<'i>)>, ProtocolFault> {
        let Some(kind) = self.kind else {
            return Ok(None);
        };
        if self.compressed {
            return self.handle_compressed_part(kind, part, limits);
        }
        let is_whole = part.is_whole();
        let Part { header, bytes, key, remaining } = part;
        if is_whole && header.fin && header.opcode != Opcode::Continuation {
            if let Some(key) = key {
                apply_mask(bytes, key, 0);
            }
            if kind == MessageKind::Text {
                utf8::check(bytes)?;
            }
            self.kind = None;
            return Ok(Some((kind, Place::Input(bytes))));
        }
        let start = self.buffer.len();
        self.reserve(bytes.len(), &header, remaining, limits);
        match key {
            Some(key) => append_masked(&mut self.buffer, bytes, key, 0),
            None => self.buffer.extend_from_slice(bytes),
        }
        if kind == MessageKind::Text {
            self.utf8.feed(&self.buffer[start..])?;
        }
        if remaining > 0 || !header.fin {
            return Ok(None);
        }
        if kind == MessageKind::Text {
            self.utf8.finish()?;
        }
        self.kind = None;
        self.delivered = true;
        Ok(Some((kind, Place::Gathered)))
    }

    /// Takes a part of a compressed message's frame: what it inflates to goes to the buffer, and is checked, at once.
    fn handle_compressed_part<'i>(
        &mut self,
        kind: MessageKind,
        part: Part<'i>,
        limits: &Limits,
    ) -> Result<Option<(MessageKind, Place<'i>)>, ProtocolFault> {
        // A header is let through with RSV1 only where there is an agreement, and so an inflater.
        let Some(inflater) = &mut self.inflater else {
            return Ok(None);
        };
        let Part { header, bytes, key, remaining } = part;
        if let Some(key) = key {
            apply_mask(bytes, key, 0);
        }
        let text = (kind == MessageKind::Text).then_some(&mut self.utf8);
        let is_end = header.fin && remaining == 0;
        inflater.inflate(bytes, is_end, &mut self.buffer, limits.max_message_size as u32, text)?;
        if !is_end {
            return Ok(None);
        }
        if kind == MessageKind::Text {
            self.utf8.finish()?;
        }
        self.kind = None;
        self.delivered = true;
        Ok(Some((kind, Place::Gathered)))
    }

    /// Makes room for `part_len` bytes of a frame that has `remaining` more to come. What a peer declares is believed for
    /// [`KEPT_CAPACITY`] bytes only; beyond that the buffer at most doubles what has been received, so that memory has to be
    /// paid for in bytes sent.
    fn reserve(&mut self, part_len: usize, header: &CheckedHeader, remaining: u64, limits: &Limits) {
        let needed = self.buffer.len() + part_len;
        if needed <= self.buffer.capacity() {
            return;
        }
        // Sizes are below the message limit: it was checked with the header.
        let declared = needed + remaining as usize;
        let most = if header.fin { declared } else { limits.max_message_size };
        let doubled = most.min(2 * self.buffer.capacity());
        let target = declared.min(needed + KEPT_CAPACITY).max(doubled);
        self.buffer.reserve_exact(target - self.buffer.len());
    }
}

impl From<InvalidUtf8> for ProtocolFault {
    fn from(InvalidUtf8 { offset }: InvalidUtf8) -> Self {
        // Messages are smaller than 4 GiB.
        Self::InvalidUtf8 { offset: offset as u32 }
    }
}
