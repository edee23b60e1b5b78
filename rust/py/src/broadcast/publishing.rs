//! From a message to the logs.

use std::cell::Ref;
use std::rc::Rc;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use websocket_utils_core::encoder::{append_compressed_frame, begin_frame, finish_frame};
use websocket_utils_core::publication;

use super::audience::Audience;
use super::channels::ChannelState;
use super::handle::Receipt;
use super::variant::{BARE, BARE_COMPRESSED, FORMATS, FORMS, SEQUENCED, SEQUENCED_COMPRESSED, VARIANTS, VariantSet};
use super::{Broadcaster, State, add};
use crate::clock;
use crate::compression::{self, with_compressed_buffer};
use crate::outgoing::{PlainFrame, append_message, needs_escape, payload_len};

pyo3::import_exception!(websocket_utils.exceptions, EncodeError);

/// Memory for one encoded message that is kept for the next; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Numbers above it are no epochs: JavaScript's and JSON's numbers are exact up to here.
const MAX_EPOCH: u64 = 1 << 53;

type Frames = [Vec<u8>; VARIANTS];

/// Where a publication stands in its channel.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) previous: u64,
}

/// What has become of a message's encoding.
struct Encoded {
    /// Formats that have a form of it, by their index.
    formats: u8,
    /// For each variant in use: which of the frames is its.
    sources: [u8; VARIANTS],
    /// Variants whose frame is compressed.
    compressed: VariantSet,
    /// Why some format has none.
    refusal: Option<PyErr>,
}

impl ChannelState {
    /// The numbers of its next publication: those given, or the next ones.
    fn next(&self, at: Option<(u64, u64, u64)>) -> PyResult<Numbers> {
        let (epoch, last) = (self.epoch.get(), self.sequence.get());
        let Some((given, sequence, previous)) = at else {
            return Ok(Numbers { epoch, sequence: last + 1, previous: last });
        };
        if given >= MAX_EPOCH || previous >= sequence || (given == epoch && sequence <= last) {
            return Err(PyValueError::new_err(format!(
                "no publication of {:?} can stand at epoch {given}, sequence {sequence} behind {previous}: the last one \
                 is {last} of epoch {epoch}",
                self.name
            )));
        }
        Ok(Numbers { epoch: given, sequence, previous })
    }
}

impl State {
    /// The publication is made.
    fn commit(&self, channel: &ChannelState, numbers: Numbers) -> PyResult<()> {
        if numbers.epoch != channel.epoch.get() {
            channel.restart(numbers.epoch);
            if let Some(history) = &mut *channel.history.lock()? {
                self.note_history(history.clear());
            }
        }
        channel.sequence.set(numbers.sequence);
        channel.last_used.set(self.counts.published.get() + 1);
        Ok(())
    }

    /// Keeps a publication for those who come back.
    #[inline(never)]
    fn keep(
        &self,
        channel: &ChannelState,
        numbers: Numbers,
        message: &Bound<'_, PyAny>,
        frames: &Frames,
        encoded: &Encoded,
    ) -> PyResult<()> {
        let kept = std::array::from_fn(|format| {
            (encoded.formats & (1 << format) != 0).then(|| frames[format * FORMS].as_slice().into())
        });
        let mut history = channel.history.lock()?;
        let history = history.get_or_insert_default();
        let namespace = channel.namespace.read()?;
        self.note_history(history.push(&namespace, numbers, clock::monotonic_ns(), message.clone().unbind(), kept));
        Ok(())
    }

    /// Encodes a message that nobody reads, in the first format that has a form of it.
    #[cold]
    fn encode_for_history(
        &self,
        frames: &mut Frames,
        message: &Bound<'_, PyAny>,
        position: Option<(&ChannelState, Numbers)>,
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

    /// Tells of an error that has no caller; what ends the program goes on.
    #[cold]
    pub(super) fn report(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        self.on_fault.call1(py, (error,)).map(drop)
    }

    /// Encodes `message` for each of `variants`. All are encoded before any is queued. A message that one codec can't hold
    /// reaches those who speak another: which one a client chose must not keep it from the others.
    fn encode(
        &self,
        frames: &mut Frames,
        variants: VariantSet,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        position: Option<(&ChannelState, Numbers)>,
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
        position: Option<(&ChannelState, Numbers)>,
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

    /// Appends each variant's frame to its log and queues it for the audiences; returns for how many connections.
    fn queue(
        &self,
        py: Python<'_>,
        frames: &Frames,
        encoded: &Encoded,
        audiences: &[&Audience],
        variants: VariantSet,
    ) -> PyResult<usize> {
        let mut logs = self.logs.lock()?;
        let mut listed = self.listed.lock()?;
        // Who is in several of the audiences is reached once.
        let mark = (audiences.len() > 1).then(|| self.counts.published.get() + 1);
        let mut all = 0;
        for place in variants.iter() {
            if encoded.formats & (1 << (place / FORMS)) == 0 {
                continue;
            }
            let frame = &frames[usize::from(encoded.sources[place])];
            let is_compressed = encoded.compressed.contains(place);
            let range = logs.logs[place].append(frame);
            let mut reached = 0;
            for member in audiences.iter().flat_map(|audience| audience.members(place)) {
                let target = member.connection.get().state()?;
                if mark.is_some_and(|mark| target.reached.replace(mark) == mark) {
                    continue;
                }
                if !target.open.get() {
                    continue;
                }
                if target.queue_log(range, is_compressed)? {
                    listed.push(member.connection.clone_ref(py));
                }
                reached += 1;
            }
            let payload = payload_len(frames[place / FORMS * FORMS].len(), false);
            self.unflushed.set(self.unflushed.get() + frame.len());
            add(&self.counts.bytes, (payload * reached) as u64);
            if frame.len() > self.max_lag {
                logs.oversized[place] = logs.oversized[place].max(frame.len());
            }
            all += reached;
        }
        add(&self.counts.published, 1);
        add(&self.counts.deliveries, all as u64);
        Ok(all)
    }
}

impl Broadcaster {
    /// Encodes, numbers, keeps and queues one message.
    fn deliver(
        py: Python<'_>,
        state: &State,
        audiences: &[&Audience],
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        position: Option<(&ChannelState, Numbers)>,
    ) -> PyResult<usize> {
        let variants = audiences.iter().fold(VariantSet::default(), |all, audience| all.union(audience.variants()));
        let mut frames = state.frames.lock()?;
        let encoded = if variants.is_empty() && position.is_some() {
            state.encode_for_history(&mut frames, message, position)?
        } else {
            state.encode(&mut frames, variants, message, compress, position)?
        };
        if let Some((channel, numbers)) = position {
            state.commit(channel, numbers)?;
            if channel.namespace.read()?.history > 0 {
                state.keep(channel, numbers, message, &frames, &encoded)?;
            }
        }
        let reached = state.queue(py, &frames, &encoded, audiences, variants)?;
        for frame in &mut *frames {
            if frame.capacity() > KEPT_CAPACITY {
                // One huge message must not pin its size for ever.
                *frame = Vec::new();
            }
        }
        drop(frames);
        if let Some(error) = encoded.refusal {
            state.report(py, error)?;
        }
        Ok(reached)
    }

    /// Queues `message` for every connection; returns how many.
    pub(super) fn broadcast(
        slf: &Bound<'_, Self>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let reached = {
            let everyone = state.everyone.read()?;
            Self::deliver(slf.py(), state, &[&everyone], message, compress, None)?
        };
        Self::after_publish(slf, state)?;
        Ok(reached)
    }

    /// Numbers `message` and queues it for the subscribers of `channel`.
    pub(super) fn publish(
        slf: &Bound<'_, Self>,
        state: &State,
        channel: &Rc<ChannelState>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        at: Option<(u64, u64, u64)>,
    ) -> PyResult<Receipt> {
        let py = slf.py();
        let keeps_nothing = {
            let namespace = channel.namespace.read()?;
            namespace.check(&channel.name, message)?;
            namespace.history == 0
        };
        let numbers = channel.next(at)?;
        let (reached, is_idle) = {
            let direct = channel.audience.read()?;
            let matching = state.channels.read()?.matching(channel)?;
            let position = Some((&**channel, numbers));
            let reached = if !matching.is_empty() {
                let behind = matching.iter().map(|pattern| pattern.audience.read());
                let behind = behind.collect::<PyResult<Vec<Ref<'_, Audience>>>>()?;
                let direct = Some(&*direct).filter(|direct| !direct.is_empty());
                let audiences: Vec<&Audience> = direct.into_iter().chain(behind.iter().map(|one| &**one)).collect();
                Self::deliver(py, state, &audiences, message, compress, position)?
            } else if direct.is_empty() && keeps_nothing {
                state.commit(channel, numbers)?;
                add(&state.counts.published, 1);
                0
            } else {
                Self::deliver(py, state, &[&direct], message, compress, position)?
            };
            (reached, direct.is_empty())
        };
        if is_idle {
            state.channels.lock()?.note_idle(channel)?;
        }
        if state.has_taps.get() {
            Self::tell_taps(py, state, channel, numbers, message)?;
        }
        Self::after_publish(slf, state)?;
        Ok(Receipt::new(numbers.epoch, numbers.sequence, reached))
    }
}
