//! Channels that nobody reads: their positions are remembered, but not those of any number.

use std::collections::VecDeque;
use std::rc::Rc;

use pyo3::prelude::*;

use super::channels::{ChannelState, Channels};

/// Channels without subscribers and history of which the position is remembered. A channel takes some 300 bytes.
const IDLE_CHANNELS: usize = 65_536;

/// The same of channels that nothing was published in yet: clients make these, by subscribing.
const IDLE_EMPTY_CHANNELS: usize = 8192;

/// Channels looked at for one that is to be forgotten.
const LOOKED_AT: usize = 16;

/// Channels that may be forgotten, about those first that were not used for longest; each with its last use when it was
/// put here.
#[derive(Default)]
pub(super) struct Ring(VecDeque<(u64, Rc<ChannelState>)>);

impl Channels {
    /// Has a channel that may be idle looked at when there are too many such.
    #[inline]
    pub(super) fn note_idle(&mut self, channel: &Rc<ChannelState>) -> PyResult<()> {
        if channel.in_ring.replace(true) {
            return Ok(());
        }
        self.put_in_ring(channel);
        self.forget_idle()
    }

    fn put_in_ring(&mut self, channel: &Rc<ChannelState>) {
        let ring = if channel.sequence.get() == 0 { &mut self.empty } else { &mut self.used };
        ring.0.push_back((channel.last_used.get(), channel.clone()));
    }

    fn forget_idle(&mut self) -> PyResult<()> {
        while self.empty.0.len() > IDLE_EMPTY_CHANNELS && self.forget_one(true)? {}
        while self.used.0.len() > IDLE_CHANNELS && self.forget_one(false)? {}
        Ok(())
    }

    /// Takes one channel out of a ring, forgotten if it is idle; false if all that were looked at are held by handles.
    fn forget_one(&mut self, is_empty: bool) -> PyResult<bool> {
        let mut oldest: Option<Rc<ChannelState>> = None;
        for _ in 0..LOOKED_AT {
            let ring = if is_empty { &mut self.empty } else { &mut self.used };
            let Some((noted, channel)) = ring.0.pop_front() else { break };
            // What is kept for a time only may be gone when this is looked at again.
            if channel.audience.read()?.is_empty()
                && channel.has_history()?
                && channel.namespace.read()?.history_age.is_some()
            {
                self.put_in_ring(&channel);
                continue;
            }
            if !channel.is_idle()? {
                channel.in_ring.set(false);
                if let Some(oldest) = &oldest {
                    self.put_in_ring(oldest);
                }
                return Ok(true);
            }
            if is_empty && channel.sequence.get() > 0 {
                self.put_in_ring(&channel);
                return Ok(true);
            }
            // The three tables that hold it; whoever else does is a handle.
            if Rc::strong_count(&channel) > 3 {
                self.put_in_ring(&channel);
                continue;
            }
            let is_unused = noted == channel.last_used.get();
            if oldest.as_ref().is_none_or(|oldest| channel.last_used.get() < oldest.last_used.get()) {
                if let Some(younger) = oldest.replace(channel) {
                    self.put_in_ring(&younger);
                }
            } else {
                self.put_in_ring(&channel);
            }
            if is_unused {
                break;
            }
        }
        let Some(channel) = oldest else { return Ok(false) };
        self.by_name.remove(&*channel.name);
        self.ordered.remove(&*channel.name);
        channel.in_ring.set(false);
        Ok(true)
    }
}
