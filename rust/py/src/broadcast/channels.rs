//! Channels by name, the patterns that match them, and what is remembered of those that nobody reads.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound::{Included, Unbounded};
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTraverseError, PyVisit};
use websocket_utils_core::publication::EpochText;

use super::audience::Audience;
use super::history::History;
use super::idle::Ring;
use super::policy::Namespace;
use crate::loop_bound::Guarded;

/// What a channel is between two publications.
pub(super) struct ChannelState {
    pub(super) name: Box<str>,
    /// A number that no other channel, and no other epoch of this one, has had.
    pub(super) id: Cell<u64>,
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
    pub(super) in_ring: Cell<bool>,
}

impl ChannelState {
    /// Begins an epoch, with a new number.
    pub(super) fn restart(&self, epoch: u64, id: u64) {
        self.id.set(id);
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
    pub(super) fn is_idle(&self) -> PyResult<bool> {
        Ok(self.audience.read()?.is_empty() && !self.has_history()?)
    }

    pub(super) fn has_history(&self) -> PyResult<bool> {
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
pub(super) struct ByName(Rc<ChannelState>);

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

pub(super) struct Channels {
    pub(super) by_name: HashSet<ByName>,
    /// For patterns: the names that begin so.
    pub(super) ordered: BTreeSet<ByName>,
    patterns: HashMap<Box<str>, Rc<Pattern>>,
    /// How many patterns of each length there are: a name is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
    /// Changes with the set of patterns.
    generation: u64,
    namespaces: HashMap<Box<str>, Rc<Namespace>>,
    undeclared: Rc<Namespace>,
    pub(super) used: Ring,
    pub(super) empty: Ring,
    next_epoch: u64,
    last_id: u64,
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
            last_id: 0,
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
            id: Cell::new(self.take_id()),
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

    /// A number for a channel or an epoch of it.
    pub(super) fn take_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// What holds for a channel or pattern of that name.
    pub(super) fn namespace(&self, name: &str) -> &Rc<Namespace> {
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

/// By the one rule for names, which is Python's: what can't be subscribed to can't be published to either.
///
/// # Errors
/// `ValueError` if that is no channel's name.
fn check_name(name: &str) -> PyResult<()> {
    static RULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Python::attach(|py| {
        let rule = RULE.get_or_try_init(py, || {
            py.import("websocket_utils.namespaces")?.getattr("name_fault").map(Bound::unbind)
        })?;
        let fault = rule.bind(py).call1((name,))?;
        if fault.is_none() {
            return Ok(());
        }
        Err(PyValueError::new_err(format!("{name:?} is no channel's name: {fault}")))
    })
}
