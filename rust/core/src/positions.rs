//! Where each channel stands that one end of a link receives, and what the next publication proves.
//!
//! A publication names the one before it ([`crate::publication`]). If that is the last one here, nothing is missing between
//! them. One that is not above the last was here already. Any other leaves a gap, unless the sender has said that it left
//! publications out.
//!
//! # Rules
//!
//! - Nothing is allocated for a publication of a channel that is known.
//! - Most streams alternate few channels, and number them without holes: the line that the channel would have next which
//!   followed this one the last time is compared first. Only if it is another are its numbers read and its name hashed.
//! - Channels and the bytes of their names are bounded. For a new one beyond the bound the longest unused is forgotten, and
//!   that is told as a gap of it: of what it brings next nothing is known.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::rc::Rc;

use crate::publication::{MARK, Numbers, append_number, split_name, split_numbers};

/// Channels that are known at most.
pub const MOST_CHANNELS: usize = 65_536;

/// Bytes of their names at most.
pub const MOST_NAME_BYTES: usize = 8 * 1024 * 1024;

/// Characters of three numbers, each with its space.
const LONGEST_NUMBERS: usize = 3 * 21;

/// Channels that are looked out together for being forgotten: looking is done once for all of them.
const VICTIMS: usize = 1024;

/// What a received payload is, and what is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// No publication.
    Bare(&'a [u8]),
    /// Nothing is missing before it.
    InOrder(&'a [u8]),
    /// [`Positions::take_gaps`] says what has to be told before it.
    Broken(&'a [u8]),
    /// It was here already, or is not to be followed.
    Dropped,
    /// It begins as a publication and is none.
    Malformed,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Of which channel.
    pub channel: Rc<str>,
    /// The last that was here.
    pub last: u64,
    /// The next that is here; `None` where that is unknown, for the channel was forgotten.
    pub next: Option<u64>,
}

/// Which publication was read last.
#[derive(Debug, Clone, Copy)]
pub struct Current {
    index: u32,
    generation: u32,
    numbers: Numbers,
}

#[derive(Debug)]
struct Entry {
    /// Empty while nobody has this place.
    name: Rc<str>,
    epoch: u64,
    last: u64,
    /// Up to here the sender has said what it left out.
    lag_until: u64,
    /// When it was used last, in publications.
    used: u64,
    /// Who came behind it the last time.
    follower: u32,
    /// How many have had this place before.
    generation: u32,
    /// The line of the next publication if its number is the next one; empty where there is none.
    next_line: Vec<u8>,
    /// Where the two numbers in it end.
    ends: (usize, usize),
}

impl Entry {
    /// Expects the publication behind the last one. Allocates nothing: there is room for any numbers.
    fn expect_next(&mut self) {
        self.next_line.clear();
        let Some(next) = self.last.checked_add(1) else { return };
        append_number(&mut self.next_line, self.epoch);
        self.next_line.push(b' ');
        append_number(&mut self.next_line, next);
        let sequence_end = self.next_line.len();
        self.next_line.push(b' ');
        append_number(&mut self.next_line, self.last);
        self.ends = (sequence_end, self.next_line.len());
        self.next_line.push(b' ');
        self.next_line.extend_from_slice(self.name.as_bytes());
        self.next_line.push(b'\n');
    }

    /// Whether a payload begins with that line.
    fn is_next(&self, line: &[u8]) -> bool {
        !self.next_line.is_empty() && line.starts_with(&self.next_line)
    }

    /// That one has come.
    #[inline]
    fn advance(&mut self) {
        self.last += 1;
        let (sequence_end, previous_end) = self.ends;
        if !(add_one(&mut self.next_line[..sequence_end]) && add_one(&mut self.next_line[..previous_end])) {
            self.expect_next();
        }
    }
}

/// Adds one to the number at the end of a text; false if it takes another digit.
#[inline]
fn add_one(text: &mut [u8]) -> bool {
    for digit in text.iter_mut().rev() {
        match *digit {
            b'9' => *digit = b'0',
            b'0'..=b'8' => {
                *digit += 1;
                return true;
            }
            _ => return false,
        }
    }
    false
}

/// The positions of all channels.
#[derive(Debug)]
pub struct Positions<S> {
    places: HashMap<Rc<str>, u32, S>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    most: usize,
    most_bytes: usize,
    name_bytes: usize,
    /// The channel of the last publication.
    latest: u32,
    clock: u64,
    /// The longest unused, the next one to go last, as they were when they were looked out.
    victims: Vec<(u64, u32)>,
    gaps: Vec<Gap>,
    current: Option<Current>,
    duplicates: u64,
}

impl<S: BuildHasher> Positions<S> {
    /// Knows no channel.
    pub fn new(hasher: S) -> Self {
        Self::with_bounds(hasher, MOST_CHANNELS, MOST_NAME_BYTES)
    }

    /// With bounds of one's own: channels, at least 1, and bytes of their names.
    pub fn with_bounds(hasher: S, most: usize, most_bytes: usize) -> Self {
        Self {
            places: HashMap::with_hasher(hasher),
            entries: Vec::new(),
            free: Vec::new(),
            most: most.max(1),
            most_bytes,
            name_bytes: 0,
            latest: 0,
            clock: 0,
            victims: Vec::new(),
            gaps: Vec::new(),
            current: None,
            duplicates: 0,
        }
    }

    // --- what is received ---

    /// Reads a payload and takes note of where its channel stands now.
    #[inline]
    pub fn read<'a>(&mut self, payload: &'a [u8]) -> Outcome<'a> {
        match self.split(payload) {
            Split::Bare(body) => {
                self.current = None;
                Outcome::Bare(body)
            }
            Split::Next(index, body) => {
                self.touch(index);
                let entry = &mut self.entries[index as usize];
                let numbers = Numbers { epoch: entry.epoch, sequence: entry.last + 1, previous: entry.last };
                entry.advance();
                self.current = Some(Current { index, generation: entry.generation, numbers });
                Outcome::InOrder(body)
            }
            Split::Known(numbers, index, body) => self.check(numbers, index, body),
            Split::New(numbers, name, body) => self.begin(numbers, name, body),
            Split::Malformed => Outcome::Malformed,
        }
    }

    /// Reads a payload of a connection that runs beside the one that is read: only what follows in order is taken, and only
    /// if `takes` says so; all other publications are dropped, for the other connection to bring.
    pub fn follow<'a>(&mut self, payload: &'a [u8], takes: bool) -> Outcome<'a> {
        match self.split(payload) {
            Split::Bare(body) => Outcome::Bare(body),
            Split::Next(..) if takes => self.read(payload),
            Split::Known(numbers, index, body) if takes => {
                let entry = &self.entries[index as usize];
                if entry.epoch == numbers.epoch && entry.last == numbers.previous {
                    self.check(numbers, index, body)
                } else {
                    if entry.epoch == numbers.epoch && numbers.sequence <= entry.last {
                        self.duplicates += 1;
                    }
                    Outcome::Dropped
                }
            }
            Split::Next(..) | Split::Known(..) | Split::New(..) => Outcome::Dropped,
            Split::Malformed => Outcome::Malformed,
        }
    }

    #[inline]
    fn split<'a>(&mut self, payload: &'a [u8]) -> Split<'a> {
        let Some((&MARK, rest)) = payload.split_first() else { return Split::Bare(payload) };
        if let Some((b'\n', body)) = rest.split_first() {
            return Split::Bare(body);
        }
        if let Some(latest) = self.entries.get(self.latest as usize)
            && let Some(next) = self.entries.get(latest.follower as usize)
            && !next.next_line.is_empty()
            && let Some(body) = rest.strip_prefix(&*next.next_line)
        {
            return Split::Next(latest.follower, body);
        }
        self.look_up(rest)
    }

    #[inline(never)]
    fn look_up<'a>(&mut self, line: &'a [u8]) -> Split<'a> {
        let Some((numbers, rest)) = split_numbers(line) else { return Split::Malformed };
        if numbers.previous >= numbers.sequence {
            return Split::Malformed;
        }
        let Some((name, body)) = split_name(rest) else { return Split::Malformed };
        match self.places.get(name) {
            Some(&index) if self.entries[index as usize].is_next(line) => Split::Next(index, body),
            Some(&index) => Split::Known(numbers, index, body),
            None => Split::New(numbers, name, body),
        }
    }

    #[inline(never)]
    fn check<'a>(&mut self, numbers: Numbers, index: u32, body: &'a [u8]) -> Outcome<'a> {
        self.touch(index);
        let entry = &mut self.entries[index as usize];
        if entry.epoch == numbers.epoch {
            if numbers.sequence <= entry.last {
                self.duplicates += 1;
                return Outcome::Dropped;
            }
            let (last, is_lag) = (entry.last, numbers.previous <= entry.lag_until);
            if numbers.previous == last || (numbers.previous > last && is_lag) {
                entry.last = numbers.sequence;
                entry.expect_next();
                self.current = Some(Current { index, generation: entry.generation, numbers });
                return Outcome::InOrder(body);
            }
        }
        self.break_off(numbers, index, body)
    }

    #[cold]
    fn break_off<'a>(&mut self, numbers: Numbers, index: u32, body: &'a [u8]) -> Outcome<'a> {
        let entry = &mut self.entries[index as usize];
        self.gaps.push(Gap { channel: Rc::clone(&entry.name), last: entry.last, next: Some(numbers.sequence) });
        if entry.epoch != numbers.epoch {
            entry.lag_until = 0;
        }
        entry.epoch = numbers.epoch;
        entry.last = numbers.sequence;
        entry.expect_next();
        self.current = Some(Current { index, generation: entry.generation, numbers });
        Outcome::Broken(body)
    }

    /// The first publication of a channel that is not known says where it stands; before it nothing was missed.
    #[cold]
    fn begin<'a>(&mut self, numbers: Numbers, name: &str, body: &'a [u8]) -> Outcome<'a> {
        let index = self.insert(name, numbers.epoch, numbers.sequence);
        self.touch(index);
        let generation = self.entries[index as usize].generation;
        self.current = Some(Current { index, generation, numbers });
        if self.gaps.is_empty() { Outcome::InOrder(body) } else { Outcome::Broken(body) }
    }

    #[inline]
    fn touch(&mut self, index: u32) {
        self.clock += 1;
        if let Some(latest) = self.entries.get_mut(self.latest as usize) {
            latest.follower = index;
        }
        self.latest = index;
        self.entries[index as usize].used = self.clock;
    }

    /// What has to be told now, in this order.
    pub fn take_gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }

    /// Publications that were here already.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Forgets which publication was read last, and returns that for [`Positions::restore`].
    #[inline]
    pub fn take_current(&mut self) -> Option<Current> {
        self.current.take()
    }

    /// Which publication was read last, as it was before others were read in between.
    #[inline]
    pub fn restore(&mut self, current: Option<Current>) {
        self.current = current;
    }

    /// Channel and numbers of the publication that was read last; `None` if it was none, or its channel is forgotten.
    #[must_use]
    pub fn current(&self) -> Option<(&str, Numbers)> {
        let current = self.current?;
        let entry = &self.entries[current.index as usize];
        (entry.generation == current.generation).then_some((&*entry.name, current.numbers))
    }

    // --- what is said about them ---

    /// A channel goes on behind that publication. What was said about its lag holds no longer.
    pub fn set(&mut self, channel: &str, epoch: u64, sequence: u64) {
        if let Some(&index) = self.places.get(channel) {
            let entry = &mut self.entries[index as usize];
            (entry.epoch, entry.last, entry.lag_until) = (epoch, sequence, 0);
            entry.expect_next();
        } else {
            self.insert(channel, epoch, sequence);
        }
    }

    /// The sender has left publications out, up to that one at most.
    pub fn lag(&mut self, channel: &str, last: u64) {
        if let Some(&index) = self.places.get(channel) {
            let entry = &mut self.entries[index as usize];
            entry.lag_until = entry.lag_until.max(last);
        }
    }

    /// Epoch and sequence of the last publication of a channel.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<(u64, u64)> {
        self.places.get(channel).map(|&index| self.position_at(index))
    }

    fn position_at(&self, index: u32) -> (u64, u64) {
        let entry = &self.entries[index as usize];
        (entry.epoch, entry.last)
    }

    /// Calls `visit` with name, epoch and sequence of each channel that one of these names or patterns covers, once.
    pub fn visit_matching(&self, names: &[&str], mut visit: impl FnMut(&str, u64, u64)) {
        for index in self.matching(names) {
            let (epoch, sequence) = self.position_at(index);
            visit(&self.entries[index as usize].name, epoch, sequence);
        }
    }

    fn matching(&self, names: &[&str]) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            let Some(prefix) = name.strip_suffix('*') else {
                found.extend(self.places.get(*name).copied().filter(|&index| seen.insert(index)));
                continue;
            };
            for (index, entry) in (0..).zip(&self.entries) {
                if !entry.name.is_empty() && entry.name.starts_with(prefix) && seen.insert(index) {
                    found.push(index);
                }
            }
        }
        found
    }

    /// Forgets the channels that `names` cover and `kept` do not.
    pub fn forget(&mut self, names: &[&str], kept: &[&str]) {
        let kept: HashSet<u32> = self.matching(kept).into_iter().collect();
        for index in self.matching(names) {
            if !kept.contains(&index) {
                self.remove(index);
            }
        }
    }

    /// How many channels are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    // --- who is known ---

    fn insert(&mut self, name: &str, epoch: u64, last: u64) -> u32 {
        self.make_room(name.len());
        let name: Rc<str> = name.into();
        self.name_bytes += name.len();
        self.clock += 1;
        let used = self.clock;
        let free = self.free.pop();
        let index = free.unwrap_or(self.entries.len() as u32);
        let generation = free.map_or(0, |index| self.entries[index as usize].generation);
        let mut entry = Entry {
            name: Rc::clone(&name),
            epoch,
            last,
            lag_until: 0,
            used,
            follower: index,
            generation,
            next_line: Vec::with_capacity(LONGEST_NUMBERS + name.len() + 1),
            ends: (0, 0),
        };
        entry.expect_next();
        match free {
            Some(index) => self.entries[index as usize] = entry,
            None => self.entries.push(entry),
        }
        self.places.insert(name, index);
        index
    }

    fn remove(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        self.places.remove(&entry.name);
        self.name_bytes -= entry.name.len();
        entry.name = "".into();
        entry.next_line = Vec::new();
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
    }

    fn make_room(&mut self, bytes: usize) {
        while !self.places.is_empty() && (self.places.len() >= self.most || self.name_bytes + bytes > self.most_bytes) {
            let index = self.longest_unused();
            let entry = &self.entries[index as usize];
            self.gaps.push(Gap { channel: Rc::clone(&entry.name), last: entry.last, next: None });
            self.remove(index);
        }
    }

    /// The known channel that was not used for the longest; there is one.
    fn longest_unused(&mut self) -> u32 {
        loop {
            while let Some((used, index)) = self.victims.pop() {
                let entry = &self.entries[index as usize];
                // Used since, or another one's place by now: there are others that were not used for longer.
                if entry.used == used && !entry.name.is_empty() {
                    return index;
                }
            }
            let known = (0..).zip(&self.entries).filter(|(_, entry)| !entry.name.is_empty());
            let mut every: Vec<(u64, u32)> = known.map(|(index, entry)| (entry.used, index)).collect();
            if every.len() > VICTIMS {
                every.select_nth_unstable(VICTIMS);
                every.truncate(VICTIMS);
            }
            every.sort_unstable_by(|one, other| other.cmp(one));
            every.shrink_to_fit();
            self.victims = every;
        }
    }
}

enum Split<'a> {
    Bare(&'a [u8]),
    /// The one that was expected, of the channel there.
    Next(u32, &'a [u8]),
    Known(Numbers, u32, &'a [u8]),
    New(Numbers, &'a str, &'a [u8]),
    Malformed,
}
