//! Where a subscription goes on: what is missing is sent out of the history, or the latest publication is.
//!
//! ```text
//! subscribe -> audience; position of each channel; frames set aside   (in one step: nothing is published between)
//! Python    -> the acknowledgement, which names the positions
//! replay    -> the frames, behind it
//! ```

use std::collections::HashMap;
use std::rc::Rc;

use pyo3::prelude::*;
use websocket_utils_core::encoder::append_frame;

use super::channels::ChannelState;
use super::history::{Change, Entry, History};
use super::variant::{FORMATS, Variant};
use super::{Broadcaster, State, add};
use crate::clock;
use crate::connection::{Connection, State as ConnectionState};
use crate::outgoing::{PlainFrame, append_message};

/// Where one channel goes on for a subscriber.
#[derive(Clone, Copy)]
pub(super) struct GoesOn {
    epoch: u64,
    /// Of the publication before the next one to come.
    sequence: u64,
    /// Nothing is missing behind the position that the subscriber named.
    is_recovered: bool,
}

/// The same as Python gets it: (channel, epoch, sequence, recovered).
pub(super) type GoesOnTuple = (String, u64, u64, bool);

/// Frames for one connection that wait until it is told what they are, and what it is to be told.
#[derive(Default)]
pub(crate) struct Aside {
    frames: Vec<u8>,
    publications: usize,
    told: HashMap<Box<str>, GoesOn>,
}

impl ChannelState {
    /// Where it stands, without anything out of the history.
    fn stands(&self, is_recovered: bool) -> GoesOn {
        GoesOn { epoch: self.epoch.get(), sequence: self.sequence.get(), is_recovered }
    }
}

impl State {
    pub(super) fn note_history(&self, (messages, bytes): Change) {
        let (all, size) = (&self.counts.history_messages, &self.counts.history_bytes);
        all.set(all.get().wrapping_add_signed(messages as i64));
        size.set(size.get().wrapping_add_signed(bytes as i64));
    }

    /// Has a channel's history forget what is too old.
    pub(super) fn trim_history(&self, channel: &ChannelState) -> PyResult<()> {
        if let Some(history) = &mut *channel.history.lock()? {
            self.note_history(history.trim(&*channel.namespace.read()?, clock::monotonic_ns()));
        }
        Ok(())
    }

    /// Decides where `channel` goes on for a connection that was at `position` of it, or that is new to it (`None`), and
    /// sets aside what it is to get.
    pub(super) fn go_on(
        &self,
        connection: &Bound<'_, Connection>,
        channel: &Rc<ChannelState>,
        position: Option<(u64, u64)>,
        is_covered: bool,
    ) -> PyResult<GoesOn> {
        let target = connection.get().state()?;
        if let Some(told) = target.standing.aside.read()?.as_ref().and_then(|aside| aside.told.get(&channel.name)) {
            return Ok(*told);
        }
        self.trim_history(channel)?;
        let outcome = self.choose(connection.py(), target, channel, position, is_covered)?;
        target.standing.aside.lock()?.get_or_insert_default().told.insert(channel.name.clone(), outcome);
        if position.is_some() {
            let counts = &self.counts;
            add(if outcome.is_recovered { &counts.recovered } else { &counts.unrecovered }, 1);
        }
        Ok(outcome)
    }

    fn choose(
        &self,
        py: Python<'_>,
        target: &ConnectionState,
        channel: &ChannelState,
        position: Option<(u64, u64)>,
        is_covered: bool,
    ) -> PyResult<GoesOn> {
        let (epoch, last) = (channel.epoch.get(), channel.sequence.get());
        if let Some((given, sequence)) = position
            && given == epoch
            && sequence <= last
        {
            if sequence == last {
                return Ok(channel.stands(true));
            }
            let range = |history: &History| -> Option<Vec<u64>> {
                Some(history.behind(sequence, last)?.map(|entry| entry.sequence).collect())
            };
            let missing = channel.history.read()?.as_deref().and_then(range);
            if let Some(missing) = missing
                && self.set_aside(py, target, channel, &missing)?
            {
                return Ok(GoesOn { epoch, sequence, is_recovered: true });
            }
        }
        let has_snapshot = channel.namespace.read()?.snapshot && (position.is_some() || !is_covered);
        let latest = match &*channel.history.read()? {
            Some(history) if has_snapshot => history.latest().map(|latest| (latest.sequence, latest.previous)),
            _ => None,
        };
        if let Some((sequence, previous)) = latest
            && self.set_aside(py, target, channel, &[sequence])?
        {
            return Ok(GoesOn { epoch, sequence: previous, is_recovered: false });
        }
        Ok(channel.stands(false))
    }

    /// Sets the frames of these publications aside for a connection; false if they are too many bytes, or one has no form
    /// in its codec.
    fn set_aside(
        &self,
        py: Python<'_>,
        target: &ConnectionState,
        channel: &ChannelState,
        sequences: &[u64],
    ) -> PyResult<bool> {
        let format = target.variant.format();
        if !self.encode_missing(py, channel, sequences, format)? {
            return Ok(false);
        }
        let history = channel.history.read()?;
        let Some(history) = &*history else { return Ok(false) };
        let mut aside = target.standing.aside.lock()?;
        let aside = aside.get_or_insert_default();
        let before = aside.frames.len();
        let waiting = target.outbox.read()?.published();
        let mut count = 0;
        for entry in history.iter().filter(|entry| sequences.binary_search(&entry.sequence).is_ok()) {
            let Some(frame) = entry.frame(format) else { break };
            append_for(&mut aside.frames, target.variant, channel, entry, frame);
            count += 1;
            // One message always fits where nothing waits, whatever its size.
            let is_alone = count == 1 && before == 0 && waiting == 0;
            if waiting + aside.frames.len() > self.max_lag && !is_alone {
                break;
            }
            if count == sequences.len() {
                aside.publications += count;
                return Ok(true);
            }
        }
        aside.frames.truncate(before);
        Ok(false)
    }

    /// Encodes those publications that nobody has read in this format yet; false if one has no form in it.
    fn encode_missing(
        &self,
        py: Python<'_>,
        channel: &ChannelState,
        sequences: &[u64],
        format: usize,
    ) -> PyResult<bool> {
        let missing: Vec<(u64, Py<PyAny>)> = match &*channel.history.read()? {
            None => Vec::new(),
            Some(history) => {
                let wanted = history.iter().filter(|entry| sequences.binary_search(&entry.sequence).is_ok());
                let missing = wanted.filter(|entry| entry.frame(format).is_none());
                missing.map(|entry| (entry.sequence, entry.message.clone_ref(py))).collect()
            }
        };
        let mut frame = Vec::new();
        for (sequence, message) in missing {
            frame.clear();
            if let Err(error) = append_message(py, message.bind(py), FORMATS[format], None, 0, &mut frame) {
                self.report(py, error)?;
                return Ok(false);
            }
            if let Some(history) = &mut *channel.history.lock()? {
                self.note_history(history.keep_frame(sequence, format, &frame));
            }
        }
        Ok(true)
    }
}

/// Appends what a connection of this variant gets of a publication; never compressed.
fn append_for(out: &mut Vec<u8>, variant: Variant, channel: &ChannelState, entry: &Entry, frame: &[u8]) {
    if !variant.is_sequenced() {
        out.extend_from_slice(frame);
        return;
    }
    let plain = PlainFrame::new(frame);
    let mut payload = Vec::with_capacity(64 + channel.name.len() + plain.payload.len());
    channel.epoch_text.get().append_position(&mut payload, entry.sequence, entry.previous, &channel.name);
    payload.extend_from_slice(plain.payload);
    append_frame(out, plain.opcode, true, &payload, None);
}

impl Broadcaster {
    /// Subscribes a connection, and says where each channel goes on. `positions` are what it has of them; `None` is a first
    /// subscription.
    pub(super) fn subscribe(
        &self,
        connection: &Bound<'_, Connection>,
        name: &str,
        policy: Option<super::policy::Policy>,
        positions: Option<Vec<(String, u64, u64)>>,
    ) -> PyResult<(bool, Vec<GoesOnTuple>)> {
        let state = self.state.get()?;
        let is_new = state.enter(connection, name, policy)?;
        let is_pattern = name.ends_with('*');
        let given = positions.map(|positions| {
            positions
                .into_iter()
                .map(|(channel, epoch, sequence)| (channel, (epoch, sequence)))
                .collect::<HashMap<_, _>>()
        });
        let mut all = Vec::new();
        for channel in state.channels_of(name)? {
            let position = given.as_ref().and_then(|given| match given.get(&*channel.name) {
                Some(position) => Some(*position),
                // It came to be while the subscriber was away, or was quiet until then.
                None => is_pattern.then(|| (channel.epoch.get(), 0)),
            });
            let outcome = if is_new || position.is_some() {
                let is_covered = position.is_none() && state.is_covered(connection, &channel, name)?;
                state.go_on(connection, &channel, position, is_covered)?
            } else {
                channel.stands(false)
            };
            all.push((channel.name.to_string(), outcome.epoch, outcome.sequence, outcome.is_recovered));
        }
        Ok((is_new, all))
    }

    /// Queues what was set aside for a connection; returns how many publications that is.
    pub(super) fn replay(slf: &Bound<'_, Self>, connection: &Bound<'_, Connection>) -> PyResult<usize> {
        let state = slf.get().state.get()?;
        let target = connection.get().state()?;
        let Some(aside) = target.standing.aside.lock()?.take() else { return Ok(0) };
        if aside.publications == 0 || !target.open.get() {
            return Ok(0);
        }
        target.outbox.lock()?.push_copied(&aside.frames);
        if !target.standing.listed.replace(true) {
            state.listed.lock()?.push(connection.clone().unbind());
        }
        Self::schedule_flush(slf)?;
        Ok(aside.publications)
    }
}
