//! From a message to its frames: a payload for each wire format, a frame for each variant.

use std::rc::Rc;

use pyo3::prelude::*;
use websocket_utils_core::encoder::{append_compressed_frame, begin_frame, finish_frame};
use websocket_utils_core::publication;

use super::State;
use super::channels::ChannelState;
use super::publishing::Numbers;
use super::variant::{BARE, BARE_COMPRESSED, FORMATS, FORMS, SEQUENCED, SEQUENCED_COMPRESSED, VARIANTS, VariantSet};
use crate::compression::{self, with_compressed_buffer};
use crate::outgoing::{PlainFrame, append_message, needs_escape, payload_len};

pyo3::import_exception!(websocket_utils.exceptions, EncodeError);

pub(super) type Frames = [Vec<u8>; VARIANTS];

/// What has become of a message's encoding.
pub(super) struct Encoded {
    /// Formats that have a form of it, by their index.
    pub(super) formats: u8,
    /// For each variant in use: which of the frames is its.
    pub(super) sources: [u8; VARIANTS],
    /// Variants whose frame is compressed.
    pub(super) compressed: VariantSet,
    /// Why some format has none.
    pub(super) refusal: Option<PyErr>,
}

impl State {
    /// Encodes `message` for each of `variants`. All are encoded before any is queued. A message that one codec can't hold
    /// reaches those who speak another: which one a client chose must not keep it from the others.
    pub(super) fn encode(
        &self,
        frames: &mut Frames,
        variants: VariantSet,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        position: Option<(&Rc<ChannelState>, Numbers)>,
    ) -> PyResult<Encoded> {
        let py = message.py();
        let mut encoded =
            Encoded { formats: 0, sources: [0; VARIANTS], compressed: VariantSet::default(), refusal: None };
        for (index, format) in FORMATS.into_iter().enumerate() {
            let forms = variants.forms(index);
            if forms.is_empty() {
                continue;
            }
            let first = index * FORMS;
            let frame = &mut frames[first];
            let expected_payload = if frame.is_empty() { 0 } else { payload_len(frame.len(), false) };
            frame.clear();
            match append_message(py, message, format, None, expected_payload, frame) {
                Ok(()) => encoded.formats |= 1 << index,
                Err(error) if error.is_instance_of::<EncodeError>(py) => {
                    frame.clear();
                    encoded.refusal.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.derive(frames, first, forms, compress, position, &mut encoded);
        }
        match encoded.refusal.take() {
            Some(error) if encoded.formats == 0 => Err(error),
            refusal => {
                encoded.refusal = refusal;
                Ok(encoded)
            }
        }
    }

    /// Makes the other frames of one format out of the bare, plain one.
    #[inline]
    fn derive(
        &self,
        frames: &mut Frames,
        first: usize,
        forms: VariantSet,
        compress: Option<bool>,
        position: Option<(&Rc<ChannelState>, Numbers)>,
        encoded: &mut Encoded,
    ) {
        let mut bare = first;
        encoded.sources[first + BARE] = bare as u8;
        if forms.contains(BARE_COMPRESSED) {
            if self.compress(frames, bare, first + BARE_COMPRESSED, compress) {
                bare = first + BARE_COMPRESSED;
                encoded.compressed.insert(bare);
            }
            encoded.sources[first + BARE_COMPRESSED] = bare as u8;
        }
        if !forms.contains(SEQUENCED) && !forms.contains(SEQUENCED_COMPRESSED) {
            return;
        }
        let mut sequenced = first;
        let (before, behind) = frames.split_at_mut(first + SEQUENCED);
        let plain = PlainFrame::new(&before[first]);
        if position.is_some() || needs_escape(plain.payload) {
            let frame = &mut behind[0];
            frame.clear();
            // The number of bytes in front is known nearly: a wrong guess moves the payload by a few bytes.
            let header = position.map_or(publication::ESCAPE.len(), |(channel, _)| 32 + channel.name.len());
            let start = begin_frame(frame, false, header + plain.payload.len());
            match position {
                Some((channel, Numbers { epoch, sequence, previous })) => {
                    channel.epoch_text(epoch).append_position(frame, sequence, previous, &channel.name);
                }
                None => frame.extend_from_slice(publication::ESCAPE),
            }
            frame.extend_from_slice(plain.payload);
            finish_frame(frame, start, plain.opcode, None);
            sequenced = first + SEQUENCED;
        }
        encoded.sources[first + SEQUENCED] = sequenced as u8;
        if forms.contains(SEQUENCED_COMPRESSED) {
            let place = first + SEQUENCED_COMPRESSED;
            if self.compress(frames, sequenced, place, compress) {
                sequenced = place;
                encoded.compressed.insert(place);
            }
            encoded.sources[place] = sequenced as u8;
        }
    }

    /// Makes a compressed frame out of a plain one, if that is wanted and makes it smaller.
    fn compress(&self, frames: &mut Frames, source: usize, place: usize, compress: Option<bool>) -> bool {
        let (before, behind) = frames.split_at_mut(place);
        let plain = PlainFrame::new(&before[source]);
        let frame = &mut behind[0];
        frame.clear();
        compression::is_wanted(compress, plain.payload.len(), self.compression_threshold)
            && with_compressed_buffer(|buffer| {
                let pays = compression::compress_alone(self.window_bits, plain.payload, buffer);
                if pays {
                    append_compressed_frame(frame, plain.opcode, buffer, None);
                }
                pays
            })
    }

    /// Encodes a message that nobody reads, in the first format that has a form of it.
    #[cold]
    pub(super) fn encode_for_history(
        &self,
        frames: &mut Frames,
        message: &Bound<'_, PyAny>,
        position: Option<(&Rc<ChannelState>, Numbers)>,
    ) -> PyResult<Encoded> {
        let mut refusal = None;
        for format in 0..FORMATS.len() {
            let mut variants = VariantSet::default();
            variants.insert(format * FORMS + BARE);
            match self.encode(frames, variants, message, None, position) {
                Err(error) if error.is_instance_of::<EncodeError>(message.py()) => {
                    refusal.get_or_insert(error);
                }
                outcome => return outcome,
            }
        }
        Err(refusal.unwrap_or_else(|| EncodeError::new_err("no format has a form of it")))
    }
}
