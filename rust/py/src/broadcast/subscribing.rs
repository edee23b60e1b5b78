//! Who is subscribed to what.

use std::rc::Rc;

use pyo3::prelude::*;

use super::channels::ChannelState;
use super::policy::Policy;
use super::{State, add};
use crate::connection::Connection;
use crate::socket;

/// Bytes that the kernel holds unsent for who gets the latest of something, or not all of it.
const UNSENT_BYTES: i32 = 128 * 1024;

impl State {
    /// Subscribes a connection to a channel, or to those that begin with a prefix; returns whether that is new.
    pub(super) fn enter(
        &self,
        connection: &Bound<'_, Connection>,
        name: &str,
        policy: Option<Policy>,
    ) -> PyResult<bool> {
        let target = connection.get().state()?;
        let (py, variant) = (connection.py(), target.variant);
        let (connection, policy) = (connection.as_unbound(), policy.map(Rc::new));
        let mut channels = self.channels.lock()?;
        let is_new = if let Some(prefix) = name.strip_suffix('*') {
            channels.find_or_make_pattern(prefix)?.audience.lock()?.add(py, connection, variant, policy.clone())
        } else {
            let channel = channels.find_or_make(name, self.counts.published.get())?;
            channel.audience.lock()?.add(py, connection, variant, policy.clone())
        };
        add(&self.counts.subscriptions, u64::from(is_new));
        let policy = policy.as_deref().unwrap_or(&channels.namespace(name.trim_end_matches('*')).policy);
        if !matches!(policy, Policy::Disconnect { .. }) {
            // What the kernel has can't be left out any more.
            socket::limit_unsent(target.descriptor.get(), UNSENT_BYTES);
        }
        Ok(is_new)
    }

    /// Ends a subscription. False when there is none.
    pub(super) fn leave(&self, connection: &Bound<'_, Connection>, name: &str) -> PyResult<bool> {
        let has_left = self.leave_audience(connection.as_unbound(), name)?;
        if has_left {
            self.forget_left(connection, name)?;
        }
        Ok(has_left)
    }

    fn leave_audience(&self, connection: &Py<Connection>, name: &str) -> PyResult<bool> {
        let variant = connection.get().state()?.variant;
        let mut channels = self.channels.lock()?;
        let has_left = if let Some(prefix) = name.strip_suffix('*') {
            let Some(pattern) = channels.pattern(prefix).cloned() else { return Ok(false) };
            let mut audience = pattern.audience.lock()?;
            let has_left = audience.remove(connection, variant);
            if audience.is_empty() {
                channels.remove_pattern(prefix);
            }
            has_left
        } else {
            let Some(channel) = channels.find(name).cloned() else { return Ok(false) };
            let mut audience = channel.audience.lock()?;
            let has_left = audience.remove(connection, variant);
            let is_empty = audience.is_empty();
            drop(audience);
            if has_left && is_empty {
                channel.last_used.set(self.counts.published.get());
                channels.note_idle(&channel)?;
            }
            has_left
        };
        if has_left {
            self.counts.subscriptions.set(self.counts.subscriptions.get() - 1);
        }
        Ok(has_left)
    }

    /// Whether a connection gets a channel by another subscription than `name`.
    pub(super) fn is_covered(
        &self,
        connection: &Bound<'_, Connection>,
        channel: &ChannelState,
        name: &str,
    ) -> PyResult<bool> {
        let variant = connection.get().state()?.variant;
        let connection = connection.as_unbound();
        if *channel.name != *name && channel.audience.read()?.contains(connection, variant) {
            return Ok(true);
        }
        let prefix = name.strip_suffix('*');
        for pattern in &*self.channels.read()?.matching(channel)? {
            if Some(&*pattern.prefix) != prefix && pattern.audience.read()?.contains(connection, variant) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Subscriptions that match a channel.
    pub(super) fn subscribers(&self, channel: &ChannelState) -> PyResult<usize> {
        let mut all = channel.audience.read()?.len();
        for pattern in &*self.channels.read()?.matching(channel)? {
            all += pattern.audience.read()?.len();
        }
        Ok(all)
    }

    /// The channels that a name or pattern means now.
    pub(super) fn channels_of(&self, name: &str) -> PyResult<Vec<Rc<ChannelState>>> {
        let channels = self.channels.read()?;
        Ok(match name.strip_suffix('*') {
            Some(prefix) => channels.with_prefix(prefix).cloned().collect(),
            None => channels.find(name).cloned().into_iter().collect(),
        })
    }
}
