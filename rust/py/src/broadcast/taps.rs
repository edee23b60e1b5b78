//! Those inside the process who hear what is published: a recorder, a bus.

use pyo3::prelude::*;

use super::channels::ChannelState;
use super::publishing::Numbers;
use super::{Broadcaster, State};

/// Hears of each publication in one channel, or in those that begin with a prefix.
pub(super) struct Tap {
    token: u64,
    name: Box<str>,
    is_prefix: bool,
    pub(super) callback: Py<PyAny>,
}

impl Tap {
    fn matches(&self, channel: &str) -> bool {
        if self.is_prefix { channel.starts_with(&*self.name) } else { channel == &*self.name }
    }
}

impl State {
    /// Has `callback` called with what is published in `pattern` from now on; returns what ends that.
    pub(super) fn add_tap(&self, pattern: &str, callback: Py<PyAny>) -> PyResult<u64> {
        let mut taps = self.taps.lock()?;
        let token = taps.last().map_or(1, |tap| tap.token + 1);
        let prefix = pattern.strip_suffix('*');
        taps.push(Tap { token, name: prefix.unwrap_or(pattern).into(), is_prefix: prefix.is_some(), callback });
        self.has_taps.set(true);
        Ok(token)
    }

    pub(super) fn remove_tap(&self, token: u64) -> PyResult<bool> {
        let mut taps = self.taps.lock()?;
        let before = taps.len();
        taps.retain(|tap| tap.token != token);
        self.has_taps.set(!taps.is_empty());
        Ok(taps.len() < before)
    }
}

impl Broadcaster {
    /// Tells those who listen of a publication. Nothing is borrowed: they may publish, tap and untap.
    #[cold]
    pub(super) fn tell_taps(
        py: Python<'_>,
        state: &State,
        channel: &ChannelState,
        numbers: Numbers,
        message: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let callbacks: Vec<Py<PyAny>> = {
            let taps = state.taps.read()?;
            taps.iter().filter(|tap| tap.matches(&channel.name)).map(|tap| tap.callback.clone_ref(py)).collect()
        };
        let Numbers { epoch, sequence, previous } = numbers;
        for callback in callbacks {
            if let Err(error) = callback.call1(py, (&*channel.name, epoch, sequence, previous, message)) {
                state.report(py, error)?;
            }
        }
        Ok(())
    }
}
