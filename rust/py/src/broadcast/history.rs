//! What a channel keeps of its publications, for those who come back.

use std::collections::VecDeque;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::policy::Namespace;
use super::publishing::Numbers;
use super::variant::FORMATS;

/// What one publication costs beside its frames.
const OVERHEAD: usize = 128;

/// One publication.
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) previous: u64,
    /// When it was published, in monotonic nanoseconds.
    time: u64,
    pub(super) message: Py<PyAny>,
    /// Its bare, plain frame in each format that somebody read when it was published, or has asked for since.
    frames: [Option<Box<[u8]>>; FORMATS.len()],
}

impl Entry {
    fn size(&self) -> usize {
        OVERHEAD + self.frames.iter().flatten().map(|frame| frame.len()).sum::<usize>()
    }

    pub(super) fn frame(&self, format: usize) -> Option<&[u8]> {
        self.frames[format].as_deref()
    }
}

/// The latest publications of a channel, oldest first.
#[derive(Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// What has come (and gone, if negative) in one step: messages, bytes.
pub(super) type Change = (isize, isize);

impl History {
    /// Adds a publication; the oldest go where there are too many.
    pub(super) fn push(
        &mut self,
        namespace: &Namespace,
        numbers: Numbers,
        now: u64,
        message: Py<PyAny>,
        frames: [Option<Box<[u8]>>; FORMATS.len()],
    ) -> Change {
        let before = self.extent();
        let entry = Entry { sequence: numbers.sequence, previous: numbers.previous, time: now, message, frames };
        self.bytes += entry.size();
        self.entries.push_back(entry);
        self.cut(namespace, now);
        self.change(before)
    }

    /// Forgets what is too old, too much or too many.
    pub(super) fn trim(&mut self, namespace: &Namespace, now: u64) -> Change {
        let before = self.extent();
        self.cut(namespace, now);
        self.change(before)
    }

    fn cut(&mut self, namespace: &Namespace, now: u64) {
        while let Some(oldest) = self.entries.front() {
            let is_over = self.entries.len() > namespace.history
                || (self.bytes > namespace.history_size && self.entries.len() > 1)
                || namespace.history_age.is_some_and(|age| now.saturating_sub(oldest.time) > age);
            if !is_over {
                break;
            }
            self.bytes -= oldest.size();
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) -> Change {
        let before = self.extent();
        *self = Self::default();
        self.change(before)
    }

    /// Keeps the frame of a publication in one more format.
    pub(super) fn keep_frame(&mut self, sequence: u64, format: usize, frame: &[u8]) -> Change {
        let before = self.extent();
        if let Ok(place) = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence) {
            let kept = &mut self.entries[place].frames[format];
            if kept.is_none() {
                *kept = Some(frame.into());
                self.bytes += frame.len();
            }
        }
        self.change(before)
    }

    /// The publications behind `sequence`, if that is all of them: the first has it before itself, and the last is `last`.
    pub(super) fn behind(&self, sequence: u64, last: u64) -> Option<impl Iterator<Item = &Entry>> {
        let start = self.entries.partition_point(|entry| entry.sequence <= sequence);
        let mut before = sequence;
        for entry in self.entries.range(start..) {
            if entry.previous != before {
                return None;
            }
            before = entry.sequence;
        }
        (before == last).then(|| self.entries.range(start..))
    }

    pub(super) fn latest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn extent(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    fn change(&self, (messages, bytes): (usize, usize)) -> Change {
        (self.entries.len().cast_signed() - messages.cast_signed(), self.bytes.cast_signed() - bytes.cast_signed())
    }

    /// For the collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.entries.iter().try_for_each(|entry| visit.call(&entry.message))
    }
}
