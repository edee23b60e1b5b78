//! From a message to the logs.

use std::cell::Ref;
use std::rc::Rc;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

use super::audience::{Audience, Member};
use super::channels::ChannelState;
use super::encoding::{Encoded, Frames};
use super::handle::Receipt;
use super::slow::Blocked;
use super::variant::{FORMS, VariantSet};
use super::{Broadcaster, State, add};
use crate::clock;
use crate::outgoing::payload_len;

/// Memory for one encoded message that is kept for the next; more is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Numbers above it are no epochs: JavaScript's and JSON's numbers are exact up to here.
const MAX_EPOCH: u64 = 1 << 53;

/// Where a publication stands in its channel.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) previous: u64,
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
            channel.restart(numbers.epoch, self.channels.lock()?.take_id());
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

    /// Tells of an error that has no caller; what ends the program goes on.
    #[cold]
    pub(super) fn report(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        self.on_fault.call1(py, (error,)).map(drop)
    }

    /// Appends each variant's frame to its log and queues it for the audiences; returns for how many connections.
    fn queue(
        &self,
        frames: &Frames,
        encoded: &Encoded,
        audiences: &[&Audience],
        variants: VariantSet,
        message: &Bound<'_, PyAny>,
        position: Option<(&Rc<ChannelState>, Numbers)>,
    ) -> PyResult<usize> {
        let namespace = match position {
            Some((channel, _)) => Some(channel.namespace.read()?),
            None => None,
        };
        let policies =
            namespace.as_deref().zip(position).map(|(namespace, (channel, _))| (&**namespace, channel.id.get()));
        let common = namespace.as_deref().and_then(|namespace| namespace.policy.limits(self.max_lag));
        let mut blocked: Vec<(&Member, usize)> = Vec::new();
        let py = message.py();
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
            let mut range = None;
            let mut reached = 0;
            // Two loops: the members of one audience, which is the rule, are walked as the slice that they are.
            for audience in audiences {
                for member in audience.members(place) {
                    let target = member.connection.get().state()?;
                    if !target.open.get() || mark.is_some_and(|mark| target.standing.reached.replace(mark) == mark) {
                        continue;
                    }
                    reached += 1;
                    if let Some((namespace, channel)) = policies {
                        let policy = member.policy.as_deref().unwrap_or(&namespace.policy);
                        if target.is_blocked() && policy.is_for_backlog(&target.standing, channel)? {
                            blocked.push((member, place));
                            if is_compressed {
                                target.has_peer_moved_on.set(true);
                            }
                            continue;
                        }
                        let limits = if member.policy.is_some() { policy.limits(self.max_lag) } else { common };
                        if let Some(limits) = limits {
                            target.standing.note(limits);
                        }
                    }
                    let range = match range {
                        Some(range) => range,
                        None => *range.insert(logs.logs[place].append(frame)),
                    };
                    if target.queue_log(range, is_compressed)? {
                        listed.push(member.connection.clone_ref(py));
                    }
                }
            }
            let payload = payload_len(frames[place / FORMS * FORMS].len(), false);
            self.unflushed.set(self.unflushed.get() + frame.len());
            add(&self.counts.bytes, (payload * reached) as u64);
            if frame.len() > self.max_lag && range.is_some() {
                logs.oversized[place] = logs.oversized[place].max(frame.len());
            }
            all += reached;
        }
        drop((logs, listed, namespace));
        if let (false, Some((channel, numbers))) = (blocked.is_empty(), position) {
            let mut publication = Blocked { channel, sequence: numbers.sequence, message, keys: Vec::new() };
            for (member, place) in blocked {
                let frame = &frames[usize::from(encoded.sources[place])];
                self.wait(&mut publication, &member.connection, member.policy.as_deref(), frame)?;
            }
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
        position: Option<(&Rc<ChannelState>, Numbers)>,
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
        let reached = state.queue(&frames, &encoded, audiences, variants, message, position)?;
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
            let position = Some((channel, numbers));
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
