//! Connections that can't take what is published: what waits for them, and for how long they have taken nothing.
//!
//! ```text
//! publish -> not blocked: a range of the log                     (the rule)
//!         -> blocked, Disconnect: a range of the log, as before
//!         -> blocked, Conflate or DropOldest: a copy, in the connection's backlog
//! flush   -> all pieces have left: the backlog, channel by channel; a notice of what was left out in front of each
//! ```
//!
//! # Rules
//!
//! - A connection is blocked from a flush that left something of it until a flush that finds nothing left, backlog included.
//! - Nothing of a channel overtakes what waits of it: while some does, all of it goes to the backlog.
//! - Our own messages and control frames never wait here: they go out in front.
//! - The backlog of a connection that is closing is dropped.

use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use websocket_utils_core::backlog::{Lag, Rule};

use super::channels::ChannelState;
use super::policy::{Key, Policy};
use super::standing::{Standing, Waiting};
use super::{Broadcaster, State, add};
use crate::clock;
use crate::codec::WireFormat;
use crate::connection::{Connection, State as ConnectionState};
use crate::outgoing::append_message;

/// Bytes that leave the backlog at once: what is handed on gets old, and can't be replaced any more.
const DRAINED_BYTES: usize = 64 * 1024;

/// What a key costs while it is remembered, and a table of them: as Python's dictionaries are.
const KEY_COST: usize = 104;
const KEYS_COST: usize = 232;

/// One publication, for those who are blocked.
pub(super) struct Blocked<'a> {
    pub(super) channel: &'a Rc<ChannelState>,
    pub(super) sequence: u64,
    pub(super) message: &'a Bound<'a, PyAny>,
    /// Keys of the message by where the function or field of each stands; `None` where that failed.
    pub(super) keys: Vec<(*const Key, Option<Py<PyAny>>)>,
}

impl State {
    /// Puts a publication into the backlog of a connection.
    #[cold]
    pub(super) fn wait(
        &self,
        blocked: &mut Blocked<'_>,
        connection: &Py<Connection>,
        own: Option<&Policy>,
        frame: &[u8],
    ) -> PyResult<()> {
        let py = blocked.message.py();
        let namespace = blocked.channel.namespace.read()?.clone();
        let policy = own.unwrap_or(&namespace.policy);
        // Who asks to have a channel conflated that the namespace conflates by some key gets it by that.
        let key = match (policy, &namespace.policy) {
            (Policy::Conflate { key: None }, Policy::Conflate { key }) | (Policy::Conflate { key }, _) => key.as_ref(),
            _ => None,
        };
        let standing = &connection.get().state()?.standing;
        let rule = policy.rule();
        let number = match key {
            Some(key) => self.number_of(py, blocked, standing, key)?,
            None => Some(0),
        };
        let channel = blocked.channel.id.get();
        let mut waiting = standing.waiting.lock()?;
        let waiting = waiting.get_or_insert_default();
        waiting.channel(blocked.channel);
        let number = number.unwrap_or_else(|| {
            waiting.keyless += 1;
            u64::MAX - waiting.keyless
        });
        let mut left_out = waiting.backlog.push(channel, rule, number, blocked.sequence, frame).left_out;
        if matches!(policy, Policy::DropOldest { .. }) {
            while waiting.bytes() > self.max_lag && waiting.backlog.drop_oldest_of(channel) {
                left_out += 1;
            }
        }
        let count = if rule == Rule::Conflate { &self.counts.conflated } else { &self.counts.dropped };
        add(count, left_out as u64);
        let most = if matches!(policy, Policy::Disconnect { .. }) { standing.most(self.max_lag) } else { self.max_lag };
        // One message always fits, whatever its size.
        if waiting.bytes() > most && waiting.backlog.len() > 1 {
            self.too_far.lock()?.push((connection.clone_ref(py), most));
        }
        standing.begin();
        if !standing.lagging.replace(true) {
            self.lagging.lock()?.push(connection.clone_ref(py));
        }
        Ok(())
    }

    /// The number of the message's key among those that wait for a connection; `None` if it has no key, which is reported.
    fn number_of(
        &self,
        py: Python<'_>,
        blocked: &mut Blocked<'_>,
        standing: &Standing,
        key: &Key,
    ) -> PyResult<Option<u64>> {
        let place: *const Key = key;
        let known = blocked.keys.iter().position(|(known, _)| *known == place);
        let at = if let Some(at) = known {
            at
        } else {
            let value = match key.of(blocked.message) {
                Ok(value) => Some(value.unbind()),
                Err(error) => self.report(py, error).map(|()| None)?,
            };
            blocked.keys.push((place, value));
            blocked.keys.len() - 1
        };
        let Some(value) = blocked.keys[at].1.as_ref().map(|value| value.clone_ref(py)) else { return Ok(None) };
        let keys = {
            let mut waiting = standing.waiting.lock()?;
            let waiting = waiting.get_or_insert_default();
            let channel = waiting.channel(blocked.channel);
            if channel.keys.is_none() {
                channel.keys = Some(PyDict::new(py).unbind());
                channel.key_bytes += KEYS_COST;
                waiting.key_bytes += KEYS_COST;
            }
            waiting.channel(blocked.channel).keys.as_ref().map(|keys| keys.clone_ref(py))
        };
        let Some(keys) = keys else { return Ok(None) };
        // Keys are compared by code that may be anybody's: nothing is borrowed.
        let number_in = || -> PyResult<(u64, bool)> {
            if let Some(number) = keys.bind(py).get_item(&value)? {
                return Ok((number.extract()?, false));
            }
            // 0 is for what has no key.
            let number = keys.bind(py).len() as u64 + 1;
            keys.bind(py).set_item(&value, number)?;
            Ok((number, true))
        };
        match number_in() {
            Ok((number, is_new)) => {
                if is_new && let Some(waiting) = &mut *standing.waiting.lock()? {
                    waiting.key_bytes += KEY_COST;
                    waiting.channel(blocked.channel).key_bytes += KEY_COST;
                }
                Ok(Some(number))
            }
            Err(error) => {
                // It can't be hashed, by whomever it is asked for.
                blocked.keys[at].1 = None;
                self.report(py, error)?;
                Ok(None)
            }
        }
    }

    /// Takes what waits of the channels that a connection has just left out of its backlog.
    pub(super) fn forget_left(&self, connection: &Bound<'_, Connection>, name: &str) -> PyResult<()> {
        let standing = &connection.get().state()?.standing;
        let concerned: Vec<(u64, Rc<ChannelState>)> = match &*standing.waiting.read()? {
            None => return Ok(()),
            Some(waiting) => {
                let channels = waiting.channels.iter().filter(|(_, channel)| match name.strip_suffix('*') {
                    Some(prefix) => channel.state.name.starts_with(prefix),
                    None => *channel.state.name == *name,
                });
                channels.map(|(id, channel)| (*id, channel.state.clone())).collect()
            }
        };
        for (id, channel) in concerned {
            if self.is_covered(connection, &channel, "")? {
                continue;
            }
            if let Some(waiting) = &mut *standing.waiting.lock()? {
                waiting.backlog.remove(id);
                waiting.leave(id);
            }
        }
        Ok(())
    }

    /// Moves the next part of a connection's backlog into its queue; false if there is none.
    fn drain(&self, py: Python<'_>, target: &ConnectionState) -> PyResult<bool> {
        let mut frames = Vec::new();
        let mut outcome = Ok(());
        {
            let mut waiting = target.standing.waiting.lock()?;
            let Some(all) = &mut *waiting else { return Ok(false) };
            while frames.len() < DRAINED_BYTES {
                let Waiting { backlog, channels, .. } = &mut **all;
                let notice = |into: &mut Vec<u8>, channel: u64, lag: Lag| {
                    let Some(channel) = channels.get(&channel) else { return };
                    if !target.variant.is_sequenced() || outcome.is_err() {
                        return;
                    }
                    outcome = append_notice(py, &channel.state.name, lag, target.format, into);
                    add(&self.counts.lag_notices, 1);
                };
                let Some(taken) = backlog.next(DRAINED_BYTES - frames.len(), &mut frames, notice) else { break };
                all.leave(taken.channel);
            }
            if all.backlog.is_empty() {
                *waiting = None;
            }
        }
        outcome?;
        target.outbox.lock()?.push_copied(&frames);
        Ok(!frames.is_empty())
    }
}

/// Bytes that wait for a connection.
fn behind(target: &ConnectionState) -> PyResult<usize> {
    Ok(target.outbox.read()?.queued() + target.standing.waiting_bytes()?)
}

/// A `LagNotice`, as a frame.
fn append_notice(py: Python<'_>, channel: &str, lag: Lag, format: WireFormat, into: &mut Vec<u8>) -> PyResult<()> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || py.import("websocket_utils.messages")?.getattr("LagNotice").map(Bound::unbind))?;
    let notice = class.bind(py).call1((channel, lag.first, lag.last, lag.count))?;
    append_message(py, &notice, format, None, 0, into)
}

impl Key {
    /// What it is of a message.
    fn of<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        match self {
            Self::Function(function) => function.bind(py).call1((message,)),
            Self::Fields(fields) => match fields.as_slice() {
                [field] => message.getattr(field.bind(py)),
                fields => {
                    let values = fields.iter().map(|field| message.getattr(field.bind(py)));
                    Ok(PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)?.into_any())
                }
            },
        }
    }
}

impl Broadcaster {
    /// Sends what waits to those who can take something again.
    pub(super) fn drain_backlogs(py: Python<'_>, state: &State) -> PyResult<()> {
        let lagging: Vec<Py<Connection>> = {
            let lagging = state.lagging.read()?;
            let mut free = Vec::new();
            for connection in &*lagging {
                let target = connection.get().state()?;
                if target.standing.waiting.read()?.is_some() {
                    free.push(connection.clone_ref(py));
                }
            }
            free
        };
        let mut outcome = Ok(());
        for connection in lagging {
            let target = connection.get().state()?;
            if !target.open.get() {
                target.standing.clear()?;
            }
            while !target.busy.get() && target.outbox.read()?.queued() == 0 && state.drain(py, target)? {
                outcome = outcome.and(target.contain(connection.bind(py).as_any(), ConnectionState::flush));
            }
        }
        outcome
    }

    /// The connections that have too much waiting in their backlogs, and how much.
    pub(super) fn take_too_far(state: &State) -> PyResult<Vec<(Py<Connection>, usize)>> {
        let candidates = std::mem::take(&mut *state.too_far.lock()?);
        let mut too_far: Vec<(Py<Connection>, usize)> = Vec::new();
        for (connection, most) in candidates {
            let behind = connection.get().state()?.standing.waiting_bytes()?;
            let is_known = too_far.iter().any(|(known, _)| known.is(&connection));
            if behind > most && !is_known {
                too_far.push((connection, behind));
            }
        }
        Ok(too_far)
    }

    /// Reports the connections that are blocked for longer than some policy of what waits for them allows.
    pub(super) fn check_ages(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state.get()?;
        let now = clock::monotonic_ns();
        let mut too_old = Vec::new();
        for connection in &*state.lagging.read()? {
            let target = connection.get().state()?;
            let since = target.standing.since.get();
            if target.open.get() && since > 0 && now.saturating_sub(since) > target.standing.age.get() {
                too_old.push((connection.clone_ref(slf.py()), behind(target)?));
            }
        }
        for (connection, behind) in too_old {
            state.on_lag.call1(slf.py(), (connection, behind, intern!(slf.py(), "age")))?;
        }
        Ok(())
    }
}

impl State {
    /// The blocked connections, those first for which most waits: (connection, bytes, nanoseconds).
    pub(super) fn slowest(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<(Py<Connection>, usize, u64)>> {
        let now = clock::monotonic_ns();
        let mut all = Vec::new();
        let lagging = self.lagging.read()?;
        for connection in &*lagging {
            let target = connection.get().state()?;
            let since = target.standing.since.get();
            all.push((connection, behind(target)?, if since == 0 { 0 } else { now.saturating_sub(since) }));
        }
        all.sort_by_key(|(_, bytes, age)| std::cmp::Reverse((*bytes, *age)));
        Ok(all.into_iter().take(limit).map(|(connection, bytes, age)| (connection.clone_ref(py), bytes, age)).collect())
    }

    /// Bytes in all backlogs.
    pub(super) fn backlog_bytes(&self) -> PyResult<usize> {
        let mut all = 0;
        for connection in &*self.lagging.read()? {
            all += connection.get().state()?.standing.waiting_bytes()?;
        }
        Ok(all)
    }
}
