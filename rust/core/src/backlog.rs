//! What waits for one subscriber that is slower than its channels.
//!
//! ```text
//! line:      ticks ------------> prices ------------------------> depth        the channel that has waited longest first
//! waiting:   [7][9]              [40 SOL][44 BTC][45 ETH]         [1000][1001]...[1063]
//! left out:  8                   38..=43, five                    1..=999, all of them
//! ```
//!
//! # Rules
//!
//! - A channel keeps its place in the line whatever is published in it: a busy one can't starve the others.
//! - In a channel, sequences ascend. A value that replaces another goes to the end.
//! - Each publication that was pushed is handed out, or stands in one notice, or goes with [`Backlog::remove`].
//! - A notice comes in front of what is handed out next of its channel, and a channel that waits has something to hand out.
//! - The frame of what was left out is freed at once.
//! - Nothing here looks at a limit in bytes: its owner does, after each push.
//!
//! Each frame has memory of its own. One buffer for all, closed up when half of it is dead, was measured beside it (130 bytes
//! a frame, 1 to 1 000 channels and keys): a quarter slower to replace a value and more than twice as slow to fill, some 30 ns faster
//! where thousands are dropped and handed out in turns, and it held 1.3 times the memory.

mod slab;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use self::slab::{List, Slab};

/// Publications of one channel up to which the one with a key is searched for from the end; beyond, there is an index.
const SEARCHED: usize = 4;

/// Slots that are kept when nothing waits any more: enough for a client that lags behind in a few channels now and then.
const KEPT_SLOTS: usize = 16;

/// Which publications wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The newest one of each key.
    Conflate,
    /// All, or the newest `most` (at least one).
    DropOldest {
        /// How many of the channel may wait; `None`: as many as the owner lets.
        most: Option<usize>,
    },
}

/// What a push did to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Publications that it replaced or dropped.
    pub left_out: usize,
}

/// Publications of a channel that were left out since the last notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Sequence of the first.
    pub first: u64,
    /// Sequence of the last. Some in between may be handed out.
    pub last: u64,
    /// How many.
    pub count: u64,
}

/// What [`Backlog::next`] handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Number of the channel.
    pub channel: u64,
    /// Publications of it.
    pub publications: usize,
    /// Whether a notice came before them.
    pub is_noticed: bool,
}

#[derive(Debug, Default)]
struct Publication {
    key: u64,
    sequence: u64,
    frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Waiting {
    channel: u64,
    publications: List,
    left_out: Option<Lag>,
    /// Whether what was left out may be newer than what waits: such a channel is handed out whole, for a second notice
    /// could only repeat a part of the first.
    is_whole: bool,
    is_indexed: bool,
}

/// Mixes numbers that count up, as those of channels and keys do: nobody chooses them to collide.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByNumber<Key> = HashMap<Key, u32, BuildHasherDefault<NumberHasher>>;

/// What a publication costs beside its frame: its slot, and a place in the index.
pub const PUBLICATION_COST: usize = Slab::<Publication>::COST + 2 * size_of::<((u64, u64), u32)>();

/// What a channel that waits costs.
pub const CHANNEL_COST: usize = Slab::<Waiting>::COST + 2 * size_of::<(u64, u32)>();

/// The publications that wait for one subscriber. It allocates with the first, and gives memory back with the last.
#[derive(Debug, Default)]
pub struct Backlog {
    publications: Slab<Publication>,
    waiting: Slab<Waiting>,
    line: List,
    places: ByNumber<u64>,
    /// Places of the newest publication of a key, by channel and key, in channels with many.
    index: ByNumber<(u64, u64)>,
    len: usize,
    bytes: usize,
}

impl Backlog {
    /// Nothing waits; it allocates with the first push.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publications that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of what waits: frames, and what it costs to remember them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something of `channel` waits: then the next of it has to wait too, or it would overtake.
    #[must_use]
    pub fn has(&self, channel: u64) -> bool {
        self.places.contains_key(&channel)
    }

    /// Adds a publication of `channel`, the newest of it.
    ///
    /// `channel` is a number that is never used again for another one; `key` tells what is conflated within it.
    pub fn push(&mut self, channel: u64, rule: Rule, key: u64, sequence: u64, frame: &[u8]) -> Pushed {
        let slot = self.place_of(channel);
        match rule {
            Rule::Conflate => {
                self.waiting.get_mut(slot).is_whole = true;
                if let Some(place) = self.find(slot, key) {
                    self.replace(slot, place, sequence, frame);
                    return Pushed { left_out: 1 };
                }
                self.append(slot, key, sequence, frame, Vec::new());
                Pushed { left_out: 0 }
            }
            Rule::DropOldest { most } => {
                let most = most.unwrap_or(usize::MAX).max(1);
                let (mut left_out, mut memory) = (0, Vec::new());
                while self.waiting.get(slot).publications.len() >= most {
                    memory = self.drop_first(slot);
                    left_out += 1;
                }
                self.append(slot, key, sequence, frame, memory);
                Pushed { left_out }
            }
        }
    }

    /// Leaves out the oldest publication of `channel`; false if it is the only one, or there is none.
    pub fn drop_oldest_of(&mut self, channel: u64) -> bool {
        let Some(&slot) = self.places.get(&channel) else { return false };
        let has_more = self.waiting.get(slot).publications.len() > 1;
        if has_more {
            self.drop_first(slot);
        }
        has_more
    }

    /// Forgets `channel` and what was left out of it; returns how many of its publications waited.
    pub fn remove(&mut self, channel: u64) -> usize {
        let Some(&slot) = self.places.get(&channel) else { return 0 };
        let mut removed = 0;
        while self.take_first(slot).is_some() {
            removed += 1;
        }
        self.leave(slot);
        removed
    }

    /// Hands out the channel that has waited longest: appends its frames to `into`, in order of their sequences.
    ///
    /// `notice` is called before them if others were left out. From `most` bytes on, the rest of a channel of which only the
    /// oldest are dropped stays first in line. One publication is handed out at least; `None` if nothing waits.
    pub fn next(
        &mut self,
        most: usize,
        into: &mut Vec<u8>,
        mut notice: impl FnMut(&mut Vec<u8>, u64, Lag),
    ) -> Option<Taken> {
        let slot = self.line.first()?;
        let Waiting { channel, is_whole, ref mut left_out, .. } = *self.waiting.get_mut(slot);
        let left_out = left_out.take();
        let start = into.len();
        if let Some(lag) = left_out {
            notice(into, channel, lag);
        }
        let mut publications = 0;
        while let Some(publication) = self.take_first(slot) {
            into.extend_from_slice(&publication.frame);
            publications += 1;
            if into.len() - start >= most && !is_whole {
                break;
            }
        }
        if self.waiting.get(slot).publications.len() == 0 {
            self.leave(slot);
        }
        Some(Taken { channel, publications, is_noticed: left_out.is_some() })
    }

    /// The slot of a channel, which joins the line if nothing of it waits.
    fn place_of(&mut self, channel: u64) -> u32 {
        *self.places.entry(channel).or_insert_with(|| {
            self.bytes += CHANNEL_COST;
            self.waiting.push(&mut self.line, Waiting { channel, ..Waiting::default() })
        })
    }

    /// Ends the waiting of a channel of which nothing waits any more.
    fn leave(&mut self, slot: u32) {
        let waiting = self.waiting.remove(&mut self.line, slot);
        self.places.remove(&waiting.channel);
        self.bytes -= CHANNEL_COST;
        if self.line.len() == 0 && self.publications.capacity().max(self.waiting.capacity()) > KEPT_SLOTS {
            *self = Self::default();
        }
    }

    /// The newest publication of `key`.
    fn find(&mut self, slot: u32, key: u64) -> Option<u32> {
        let waiting = self.waiting.get_mut(slot);
        let list = waiting.publications;
        if list.len() <= SEARCHED && !waiting.is_indexed {
            return self.publications.backwards(&list).find(|&place| self.publications.get(place).key == key);
        }
        let channel = waiting.channel;
        if !std::mem::replace(&mut waiting.is_indexed, true) {
            for place in self.publications.backwards(&list) {
                self.index.entry((channel, self.publications.get(place).key)).or_insert(place);
            }
        }
        self.index.get(&(channel, key)).copied()
    }

    /// `memory` is what the frame is written into.
    fn append(&mut self, slot: u32, key: u64, sequence: u64, frame: &[u8], mut memory: Vec<u8>) {
        fill(&mut memory, frame);
        let waiting = self.waiting.get_mut(slot);
        let publication = Publication { key, sequence, frame: memory };
        let place = self.publications.push(&mut waiting.publications, publication);
        if waiting.is_indexed {
            self.index.insert((waiting.channel, key), place);
        }
        self.len += 1;
        self.bytes += frame.len() + PUBLICATION_COST;
    }

    fn replace(&mut self, slot: u32, place: u32, sequence: u64, frame: &[u8]) {
        let waiting = self.waiting.get_mut(slot);
        let publication = self.publications.get_mut(place);
        let replaced = std::mem::replace(&mut publication.sequence, sequence);
        self.bytes = self.bytes + frame.len() - publication.frame.len();
        fill(&mut publication.frame, frame);
        self.publications.move_to_end(&mut waiting.publications, place);
        waiting.leave_out(replaced);
    }

    /// Returns the memory of its frame.
    fn drop_first(&mut self, slot: u32) -> Vec<u8> {
        let Some(publication) = self.take_first(slot) else { return Vec::new() };
        self.waiting.get_mut(slot).leave_out(publication.sequence);
        publication.frame
    }

    fn take_first(&mut self, slot: u32) -> Option<Publication> {
        let waiting = self.waiting.get_mut(slot);
        let place = waiting.publications.first()?;
        let publication = self.publications.remove(&mut waiting.publications, place);
        if waiting.is_indexed && self.index.get(&(waiting.channel, publication.key)) == Some(&place) {
            self.index.remove(&(waiting.channel, publication.key));
        }
        self.len -= 1;
        self.bytes -= publication.frame.len() + PUBLICATION_COST;
        Some(publication)
    }
}

/// Makes `memory` hold `frame` and little more. Frames of a channel are much alike in size: what one held fits the next.
fn fill(memory: &mut Vec<u8>, frame: &[u8]) {
    memory.clear();
    memory.reserve_exact(frame.len());
    memory.extend_from_slice(frame);
    memory.shrink_to(2 * frame.len());
}

impl Waiting {
    fn leave_out(&mut self, sequence: u64) {
        let lag = self.left_out.get_or_insert(Lag { first: sequence, last: sequence, count: 0 });
        lag.first = lag.first.min(sequence);
        lag.last = lag.last.max(sequence);
        lag.count += 1;
    }
}
