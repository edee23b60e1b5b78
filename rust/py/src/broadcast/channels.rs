//! Channels by name, the patterns that match them, and what is remembered of those that nobody reads.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::ops::Bound::{Included, Unbounded};
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use websocket_utils_core::publication::EpochText;

use super::audience::Audience;
use super::history::History;
use super::policy::Namespace;
use crate::loop_bound::Guarded;

/// Channels without subscribers and history of which the position is remembered. A channel takes some 300 bytes.
const IDLE_CHANNELS: usize = 65_536;

/// The same of channels that nothing was published in yet: clients make these, by subscribing.
const IDLE_EMPTY_CHANNELS: usize = 8192;

/// Channels looked at for one that is to be forgotten.
const LOOKED_AT: usize = 16;

/// Characters of a name.
const MAX_NAME: usize = 256;

/// What a channel is between two publications.
pub(super) struct ChannelState {
    pub(super) name: Box<str>,
    pub(super) namespace: Guarded<Rc<Namespace>>,
    pub(super) epoch: Cell<u64>,
    /// What the positions of this epoch begin with.
    pub(super) epoch_text: Cell<EpochText>,
    /// Of the last publication; 0 before the first.
    pub(super) sequence: Cell<u64>,
    pub(super) audience: Guarded<Audience>,
    matching: Guarded<Matching>,
    /// `None` before the first publication that is kept.
    pub(super) history: Guarded<Option<Box<History>>>,
    /// Count of the broadcaster's publications at the last use.
    pub(super) last_used: Cell<u64>,
    /// It stands in a ring of those that may be forgotten.
    in_ring: Cell<bool>,
}

impl ChannelState {
    /// Begins an epoch.
    pub(super) fn restart(&self, epoch: u64) {
        self.epoch.set(epoch);
        self.epoch_text.set(EpochText::new(epoch));
        self.sequence.set(0);
    }

    /// The text of this epoch, or of the one that is about to begin.
    #[inline]
    pub(super) fn epoch_text(&self, epoch: u64) -> EpochText {
        if epoch == self.epoch.get() { self.epoch_text.get() } else { EpochText::new(epoch) }
    }

    /// Whether nobody reads it and nothing is kept of it.
    fn is_idle(&self) -> PyResult<bool> {
        Ok(self.audience.read()?.is_empty() && !self.has_history()?)
    }

    fn has_history(&self) -> PyResult<bool> {
        Ok(self.history.read()?.as_ref().is_some_and(|history| !history.is_empty()))
    }

    /// For the collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(audience) = self.audience.read() {
            audience.traverse(visit)?;
        }
        if let Ok(history) = self.history.read()
            && let Some(history) = &*history
        {
            history.traverse(visit)?;
        }
        Ok(())
    }
}

/// The patterns that match a channel, as of some generation of all patterns.
struct Matching {
    generation: u64,
    patterns: Vec<Rc<Pattern>>,
}

/// Those who want every channel whose name begins so.
pub(super) struct Pattern {
    pub(super) prefix: Box<str>,
    pub(super) audience: Guarded<Audience>,
}

/// Hashed, ordered and found by the channel's name.
struct ByName(Rc<ChannelState>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.name.hash(hasher);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

/// Channels that may be forgotten, about those first that were not used for longest; each with its last use when it was
/// put here.
#[derive(Default)]
struct Ring(VecDeque<(u64, Rc<ChannelState>)>);

pub(super) struct Channels {
    by_name: HashSet<ByName>,
    /// For patterns: the names that begin so.
    ordered: BTreeSet<ByName>,
    patterns: HashMap<Box<str>, Rc<Pattern>>,
    /// How many patterns of each length there are: a name is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
    /// Changes with the set of patterns.
    generation: u64,
    namespaces: HashMap<Box<str>, Rc<Namespace>>,
    undeclared: Rc<Namespace>,
    used: Ring,
    empty: Ring,
    next_epoch: u64,
}

impl Channels {
    pub(super) fn new(first_epoch: u64) -> Self {
        Self {
            by_name: HashSet::new(),
            ordered: BTreeSet::new(),
            patterns: HashMap::new(),
            lengths: BTreeMap::new(),
            generation: 0,
            namespaces: HashMap::new(),
            undeclared: Rc::new(Namespace::undeclared()),
            used: Ring::default(),
            empty: Ring::default(),
            next_epoch: first_epoch,
        }
    }

    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<&Rc<ChannelState>> {
        self.by_name.get(name).map(|ByName(channel)| channel)
    }

    /// The channel of that name, made if there is none; `now` is the count of publications. Whoever asks gives it a
    /// subscriber, or sees to it that it can be forgotten ([`Self::note_idle`]).
    ///
    /// # Errors
    /// `ValueError` if that is no name.
    pub(super) fn find_or_make(&mut self, name: &str, now: u64) -> PyResult<Rc<ChannelState>> {
        if let Some(channel) = self.find(name) {
            return Ok(channel.clone());
        }
        check_name(name)?;
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let channel = Rc::new(ChannelState {
            name: name.into(),
            namespace: Guarded::new(self.namespace(name).clone()),
            epoch: Cell::new(epoch),
            epoch_text: Cell::new(EpochText::new(epoch)),
            sequence: Cell::new(0),
            audience: Guarded::default(),
            history: Guarded::default(),
            matching: Guarded::new(Matching { generation: u64::MAX, patterns: Vec::new() }),
            last_used: Cell::new(now),
            in_ring: Cell::new(false),
        });
        self.by_name.insert(ByName(channel.clone()));
        self.ordered.insert(ByName(channel.clone()));
        Ok(channel)
    }

    fn namespace(&self, name: &str) -> &Rc<Namespace> {
        let namespace = name.split_once(':').map_or(name, |(namespace, _)| namespace);
        self.namespaces.get(namespace).unwrap_or(&self.undeclared)
    }

    /// Says what holds for a namespace, also for its channels that there are; returns these, and some more.
    pub(super) fn declare(&mut self, name: &str, namespace: Namespace) -> PyResult<Vec<Rc<ChannelState>>> {
        self.namespaces.insert(name.into(), Rc::new(namespace));
        let concerned: Vec<_> = self.with_prefix(name).cloned().collect();
        for channel in &concerned {
            *channel.namespace.lock()? = self.namespace(&channel.name).clone();
        }
        Ok(concerned)
    }

    /// The channels whose names begin so.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Rc<ChannelState>> {
        let from = self.ordered.range::<str, _>((Included(prefix), Unbounded));
        from.map(|ByName(channel)| channel).take_while(move |channel| channel.name.starts_with(prefix))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<ChannelState>> {
        self.by_name.iter().map(|ByName(channel)| channel)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    // --- patterns ---

    pub(super) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    pub(super) fn pattern(&self, prefix: &str) -> Option<&Rc<Pattern>> {
        self.patterns.get(prefix)
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &Rc<Pattern>> {
        self.patterns.values()
    }

    pub(super) fn find_or_make_pattern(&mut self, prefix: &str) -> PyResult<Rc<Pattern>> {
        if let Some(pattern) = self.patterns.get(prefix) {
            return Ok(pattern.clone());
        }
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let pattern = Rc::new(Pattern { prefix: prefix.into(), audience: Guarded::default() });
        self.patterns.insert(prefix.into(), pattern.clone());
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.generation += 1;
        Ok(pattern)
    }

    /// Forgets a pattern that nobody wants any more.
    pub(super) fn remove_pattern(&mut self, prefix: &str) {
        if self.patterns.remove(prefix).is_none() {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
        self.generation += 1;
    }

    /// The patterns that match `channel`: looked for again only when the set of all patterns has changed.
    #[inline]
    pub(super) fn matching<'a>(&self, channel: &'a ChannelState) -> PyResult<std::cell::Ref<'a, [Rc<Pattern>]>> {
        if channel.matching.read()?.generation != self.generation {
            self.refresh(channel)?;
        }
        Ok(std::cell::Ref::map(channel.matching.read()?, |matching| matching.patterns.as_slice()))
    }

    #[cold]
    fn refresh(&self, channel: &ChannelState) -> PyResult<()> {
        let name = &channel.name;
        let prefixes = self.lengths.range(..=name.len()).filter_map(|(&length, _)| name.get(..length));
        let patterns = prefixes.filter_map(|prefix| self.patterns.get(prefix).cloned()).collect();
        *channel.matching.lock()? = Matching { generation: self.generation, patterns };
        Ok(())
    }

    // --- what is forgotten ---

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

    // --- for the collector ---

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Rc<Namespace>> {
        self.namespaces.values()
    }

    /// Forgets all members and messages, also of channels that handles hold.
    pub(super) fn clear(&mut self) {
        for channel in self.iter() {
            if let Ok(mut audience) = channel.audience.lock() {
                *audience = Audience::default();
            }
            if let Ok(mut history) = channel.history.lock() {
                *history = None;
            }
        }
        for pattern in self.patterns() {
            if let Ok(mut audience) = pattern.audience.lock() {
                *audience = Audience::default();
            }
        }
        *self = Self::new(self.next_epoch);
    }
}

/// # Errors
/// `ValueError` if that is no channel's name.
fn check_name(name: &str) -> PyResult<()> {
    let count = name.chars().count();
    if (1..=MAX_NAME).contains(&count) && !name.chars().any(|character| character.is_control() || character == '*') {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{name:?} is no channel's name: it has 1 to {MAX_NAME} characters, none of them a control character or '*'"
    )))
}
