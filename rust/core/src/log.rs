//! The broadcast log: finished frames written once, read by many cursors.
//!
//! # Theory of operation
//!
//! [`Log`] is one endless byte stream of finished, unmasked frames. A position is the count of bytes appended before
//! it, so positions only grow and are never reused. A reader holds [`LogRange`]s: stretches of the stream that it has
//! still to write to its peer. Neighbouring ranges merge, so a reader of everything holds exactly one, however far it
//! lags behind.
//!
//! ```text
//! segments:   [ base ........ ][ base ........ ][ base ... head )
//! reader A:                          [-------------------)          one range: it takes every frame
//! reader B:         [--)  [----)         [--)                       several: it takes some channels
//!             ^ trim(oldest start of all readers)
//! ```
//!
//! # Rules
//!
//! - A frame never straddles two segments, and a segment's bytes never move once written.
//! - The log knows nothing of readers: its owner calls [`Log::trim`] with the oldest start that is still wanted.
//! - When all is trimmed the newest segment is written again from its start, so a server whose clients keep up works in
//!   the same few cache-hot KiB for ever.

use std::collections::VecDeque;

/// Bytes a segment holds unless one frame is larger: big enough that a laggard crosses few of them, small enough that
/// one laggard pins little (256 KiB fits an L2 cache).
pub const SEGMENT_CAPACITY: usize = 256 * 1024;

/// A stretch `[start, end)` of the log, in stream positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Position of the first byte.
    pub start: u64,
    /// Position behind the last byte.
    pub end: u64,
}

impl LogRange {
    /// Bytes in the range.
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether no byte is left in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

#[derive(Debug)]
struct Segment {
    base: u64,
    bytes: Vec<u8>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }
}

/// An append-only stream of frames, kept from the oldest wanted position to the head.
#[derive(Debug, Default)]
pub struct Log {
    segments: VecDeque<Segment>,
    head: u64,
}

impl Log {
    /// An empty log; it allocates with the first frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Position behind the last appended byte.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes of memory held, whether written or free.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.capacity()).sum()
    }

    /// Appends one finished frame and returns where it lies.
    pub fn append(&mut self, frame: &[u8]) -> LogRange {
        let start = self.head;
        let fits =
            self.segments.back().is_some_and(|segment| segment.bytes.capacity() - segment.bytes.len() >= frame.len());
        if !fits {
            // A fresh segment rather than a grown one: growing would move bytes and copy them all.
            self.segments
                .push_back(Segment { base: start, bytes: Vec::with_capacity(SEGMENT_CAPACITY.max(frame.len())) });
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes.extend_from_slice(frame);
        }
        self.head += frame.len() as u64;
        LogRange { start, end: self.head }
    }

    /// The bytes of `range`, as one slice for each segment it touches.
    ///
    /// Positions that were trimmed yield nothing: the caller keeps its ranges behind the trim position.
    pub fn slices(&self, range: LogRange) -> impl Iterator<Item = &[u8]> {
        let first = self.segments.partition_point(|segment| segment.end() <= range.start);
        self.segments.range(first..).take_while(move |segment| segment.base < range.end).map(move |segment| {
            let from = range.start.saturating_sub(segment.base) as usize;
            let to = (range.end.min(segment.end()) - segment.base) as usize;
            &segment.bytes[from..to]
        })
    }

    /// Frees all segments that lie wholly before `oldest`, the smallest position any reader still wants.
    pub fn trim(&mut self, oldest: u64) {
        while self.segments.len() > 1 && self.segments[0].end() <= oldest {
            self.segments.pop_front();
        }
        if let [segment] = self.segments.make_contiguous()
            && segment.end() <= oldest
        {
            if segment.bytes.capacity() > SEGMENT_CAPACITY {
                // One huge message must not pin its size for ever.
                self.segments.clear();
            } else {
                segment.base = self.head;
                segment.bytes.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &Log, range: LogRange) -> Vec<u8> {
        log.slices(range).flatten().copied().collect()
    }

    #[test]
    fn frames_are_read_back_where_append_said() {
        let mut log = Log::new();
        let a = log.append(b"alpha");
        let b = log.append(b"beta");
        assert_eq!((a.start, a.end, b.start, b.end), (0, 5, 5, 9));
        assert_eq!(read(&log, a), b"alpha");
        assert_eq!(read(&log, b), b"beta");
        assert_eq!(read(&log, LogRange { start: 3, end: 7 }), b"habe");
    }

    #[test]
    fn a_range_over_many_segments_is_whole_and_in_order() {
        let mut log = Log::new();
        let mut expected = Vec::new();
        for value in 0..40u8 {
            let frame = vec![value; 60_000];
            log.append(&frame);
            expected.extend_from_slice(&frame);
        }
        assert!(log.segments.len() > 5);
        for (start, end) in [(0, expected.len()), (1, 59_999), (59_999, 700_001), (expected.len() - 1, expected.len())]
        {
            let range = LogRange { start: start as u64, end: end as u64 };
            assert_eq!(read(&log, range), &expected[start..end]);
        }
    }

    #[test]
    fn trim_frees_what_no_reader_wants_and_keeps_the_rest() {
        let mut log = Log::new();
        let ranges: Vec<_> = (0..40u8).map(|value| log.append(&vec![value; 60_000])).collect();
        log.trim(ranges[30].start);
        assert!(log.capacity() <= 4 * SEGMENT_CAPACITY);
        assert_eq!(read(&log, ranges[30]), vec![30; 60_000]);
        assert_eq!(read(&log, ranges[39]), vec![39; 60_000]);
    }

    #[test]
    fn a_log_whose_readers_keep_up_stays_in_one_segment() {
        let mut log = Log::new();
        for _ in 0..100_000 {
            let range = log.append(&[7; 130]);
            assert_eq!(range.len(), 130);
            log.trim(log.head());
        }
        assert_eq!(log.capacity(), SEGMENT_CAPACITY);
        assert_eq!(log.head(), 13_000_000);
    }

    #[test]
    fn a_huge_frame_is_freed_once_read() {
        let mut log = Log::new();
        let range = log.append(&vec![1; 16 << 20]);
        assert_eq!(read(&log, range).len(), 16 << 20);
        log.trim(log.head());
        assert_eq!(log.capacity(), 0);
        let next = log.append(b"next");
        assert_eq!(read(&log, next), b"next");
    }

    #[test]
    fn an_empty_range_has_no_slices() {
        let mut log = Log::new();
        let range = log.append(b"x");
        let empty = LogRange { start: range.end, end: range.end };
        assert!(empty.is_empty());
        assert_eq!(log.slices(empty).count(), 0);
    }
}
