//! Bytes a connection has still to write, in order: its own frames and ranges of the broadcast log.
//!
//! ```text
//! pieces:  Own(48) | Log[900..1420) | Own(6) | Log[1420..9000)
//!            |            |             |
//!            own: [....48....][6]       the log keeps its bytes: a laggard costs 24 bytes a range here
//! ```
//!
//! It counts the messages among its own frames. While all of them leave at once, which is the rule, a count is all there is;
//! what leaves in part is walked frame by frame, each frame once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use websocket_utils_core::header::frame_at;
use websocket_utils_core::log::{Log, LogRange};

use crate::outgoing::FLUSH_BYTES;
use crate::socket::MAX_SLICES;

/// Memory for own frames that is kept after they left, enough for what most turns send; more is given back, for a server
/// may hold thousands of idle connections.
const KEPT_CAPACITY: usize = 4 * 1024;

/// Memory for own frames once [`KEPT_CAPACITY`] is too little: a flush takes the bytes away soon after they are so many.
const BURST_CAPACITY: usize = FLUSH_BYTES + KEPT_CAPACITY;

thread_local! {
    /// The memory of the last burst that has left, for the next one of any connection: given back and asked for anew with
    /// each flush it would be cold, which costs a tight loop of sends a tenth of its time.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Pieces that are remembered without memory being given back: some KiB.
const KEPT_PIECES: usize = 64;

#[derive(Debug)]
enum Piece {
    Own(usize),
    /// Frames of the log that were copied into `own`: none of our messages.
    Copied(usize),
    Log(LogRange),
}

/// What is queued for one peer. It does no I/O and knows no policy: the connection does.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Own frames, finished; bytes before `own_start` have left.
    pub(crate) own: Vec<u8>,
    own_start: usize,
    /// Bytes of `own` that stand in `pieces`.
    own_listed: usize,
    pieces: VecDeque<Piece>,
    queued: usize,
    /// Those of them that are publications, in the log or copied.
    published: usize,
    /// Own messages of which some bytes wait.
    messages: u64,
    /// What waits of the frame of our own that has left in part, and whether it is a message's.
    begun: Option<(usize, bool)>,
}

impl Outbox {
    /// Bytes queued.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes queued that are publications: none of our own messages or control frames.
    #[inline]
    pub(crate) fn published(&self) -> usize {
        self.published
    }

    /// Own messages of which some bytes are queued.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the first of them has left in part.
    pub(crate) fn has_begun_message(&self) -> bool {
        matches!(self.begun, Some((_, true)))
    }

    /// Makes room for a frame of about `expected` bytes: beyond what is kept at once for a whole turn, so that a tight
    /// loop pays for growth once a flush.
    #[inline]
    pub(crate) fn make_room(&mut self, expected: usize) {
        if self.own.capacity() - self.own.len() < expected && self.own.capacity() < BURST_CAPACITY {
            self.grow(expected);
        }
    }

    #[cold]
    fn grow(&mut self, expected: usize) {
        let len = self.own.len();
        if len + expected <= KEPT_CAPACITY {
            return;
        }
        let mut roomy = SPARE.take();
        roomy.reserve_exact((len + expected).max(BURST_CAPACITY));
        roomy.extend_from_slice(&self.own);
        self.own = roomy;
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.own.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Lists the frames that were appended to `own` since the last call.
    #[inline]
    pub(crate) fn commit_own(&mut self) {
        let added = self.own.len() - self.own_start - self.own_listed;
        if added == 0 {
            return;
        }
        self.own_listed += added;
        self.queued += added;
        match self.pieces.back_mut() {
            Some(Piece::Own(length)) => *length += added,
            _ => self.pieces.push_back(Piece::Own(added)),
        }
    }

    /// The same for one frame that is a message.
    #[inline]
    pub(crate) fn commit_message(&mut self) {
        self.messages += 1;
        self.commit_own();
    }

    /// Takes back what was appended to `own` since the last `commit_own`.
    pub(crate) fn discard_uncommitted(&mut self) {
        self.own.truncate(self.own_start + self.own_listed);
        self.give_back();
    }

    /// Gives memory back that one big frame took, which has left or is refused, while others wait.
    fn give_back(&mut self) {
        let needed = self.own.len();
        if self.own.capacity() > BURST_CAPACITY.max(4 * needed) {
            self.own.shrink_to(BURST_CAPACITY.max(needed));
        }
    }

    /// Queues a range of the log; merges with the range before when they touch.
    #[inline]
    pub(crate) fn push_log(&mut self, range: LogRange) {
        self.queued += range.len();
        self.published += range.len();
        match self.pieces.back_mut() {
            Some(Piece::Log(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push_back(Piece::Log(range)),
        }
    }

    /// Queues frames of publications that are in no log.
    pub(crate) fn push_copied(&mut self, frames: &[u8]) {
        debug_assert_eq!(self.own.len(), self.own_start + self.own_listed, "a frame of our own is under way");
        self.own.extend_from_slice(frames);
        self.own_listed += frames.len();
        self.queued += frames.len();
        self.published += frames.len();
        match self.pieces.back_mut() {
            Some(Piece::Copied(length)) => *length += frames.len(),
            _ => self.pieces.push_back(Piece::Copied(frames.len())),
        }
    }

    /// The oldest log position still wanted, if any.
    pub(crate) fn oldest_log_position(&self) -> Option<u64> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Log(range) => Some(range.start),
            Piece::Own(_) | Piece::Copied(_) => None,
        })
    }

    /// Copies what is still wanted of `log`: nothing of it is wanted any more. Nothing is given up, and nothing changes places.
    #[cold]
    pub(crate) fn copy_log(&mut self, log: &Log) {
        let mut own = Vec::with_capacity(self.own.len() - self.own_start - self.own_listed + self.queued);
        let mut own_at = self.own_start;
        for piece in &mut self.pieces {
            match piece {
                Piece::Own(length) | Piece::Copied(length) => {
                    own.extend_from_slice(&self.own[own_at..own_at + *length]);
                    own_at += *length;
                }
                Piece::Log(range) => {
                    log.slices(*range).for_each(|slice| own.extend_from_slice(slice));
                    *piece = Piece::Copied(range.len());
                }
            }
        }
        self.own_listed = own.len();
        own.extend_from_slice(&self.own[own_at..]);
        self.own = own;
        self.own_start = 0;
    }

    /// Adds the front of the queue as slices for one write, at most `MAX_SLICES`.
    pub(crate) fn front<'a>(&'a self, log: Option<&'a Log>, slices: &mut Vec<IoSlice<'a>>) {
        let mut own_at = self.own_start;
        let most = slices.len() + MAX_SLICES;
        for piece in &self.pieces {
            if slices.len() >= most {
                return;
            }
            match piece {
                Piece::Own(length) | Piece::Copied(length) => {
                    slices.push(IoSlice::new(&self.own[own_at..own_at + length]));
                    own_at += length;
                }
                Piece::Log(range) => {
                    let room = most - slices.len();
                    slices.extend(log.into_iter().flat_map(|log| log.slices(*range)).take(room).map(IoSlice::new));
                }
            }
        }
    }

    /// Removes the first `count` bytes: they have left.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.queued -= count;
        if self.queued > 0 {
            self.count_off(count);
        } else {
            self.messages = 0;
            self.begun = None;
        }
        while count > 0 {
            match self.pieces.front_mut() {
                Some(Piece::Own(length)) => {
                    let gone = count.min(*length);
                    *length -= gone;
                    self.own_start += gone;
                    self.own_listed -= gone;
                    count -= gone;
                    if *length == 0 {
                        self.pieces.pop_front();
                    }
                }
                Some(Piece::Copied(length)) => {
                    let gone = count.min(*length);
                    *length -= gone;
                    self.own_start += gone;
                    self.own_listed -= gone;
                    self.published -= gone;
                    count -= gone;
                    if *length == 0 {
                        self.pieces.pop_front();
                    }
                }
                Some(Piece::Log(range)) => {
                    let gone = count.min(range.len());
                    range.start += gone as u64;
                    self.published -= gone;
                    count -= gone;
                    if range.is_empty() {
                        self.pieces.pop_front();
                    }
                }
                None => break,
            }
        }
        self.reclaim();
    }

    /// Takes the messages off the count that end within the first `count` bytes, before these are removed.
    #[cold]
    fn count_off(&mut self, mut count: usize) {
        let mut own_at = self.own_start;
        for piece in &self.pieces {
            let (length, is_own) = match piece {
                Piece::Own(length) => (*length, true),
                Piece::Copied(length) => (*length, false),
                Piece::Log(range) => {
                    count = count.saturating_sub(range.len());
                    continue;
                }
            };
            let end = own_at + count.min(length);
            count -= end - own_at;
            while is_own && own_at < end {
                let (waits, is_message) = self.begun.take().unwrap_or_else(|| frame_at(&self.own[own_at..]));
                let gone = waits.min(end - own_at);
                own_at += gone;
                if gone < waits {
                    self.begun = Some((waits - gone, is_message));
                } else {
                    self.messages -= u64::from(is_message);
                }
            }
            own_at = end;
            if count == 0 {
                return;
            }
        }
    }

    /// Forgets everything; the connection is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn reclaim(&mut self) {
        if self.own_listed == 0 && self.own.len() == self.own_start {
            self.own_start = 0;
            self.own.clear();
            match self.own.capacity() {
                ..=KEPT_CAPACITY => {}
                BURST_CAPACITY => SPARE.set(std::mem::replace(&mut self.own, Vec::with_capacity(KEPT_CAPACITY))),
                _ => self.own = Vec::new(),
            }
            if self.pieces.capacity() > KEPT_PIECES {
                self.pieces.shrink_to(KEPT_PIECES);
            }
        } else if self.own_start > KEPT_CAPACITY && self.own_start > self.own.len() / 2 {
            // More than half is gone: moving the rest costs less than what was written since the last move.
            self.own.drain(..self.own_start);
            self.own_start = 0;
            self.give_back();
        }
    }
}
