//! The different texts of a column: each is kept once and named by a number.
#![allow(clippy::inline_always, reason = "measured: 2 % of a decode into columns")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::text::hash;

/// Texts that one table of a stream keeps. With [`MAX_BYTES`] a bound for a column whose texts never come again.
const MAX_CATEGORIES: usize = 1 << 16;

/// Bytes of text that one table of a stream keeps.
const MAX_BYTES: usize = 4 << 20;

/// Slots that are looked at for one text. Texts that find no place within are kept in order instead, so that a peer that
/// makes them hash alike gains nothing.
const MAX_PROBES: usize = 16;

/// Slots of a new table, a power of two.
const FIRST_SLOTS: usize = 64;

/// A copy up to this size costs nothing next to what a batch costs anyway.
const FREE_COPY: usize = 256 << 10;

/// Texts of at most this many bytes hash alike only if they are alike, length and all: one word, times an odd number.
const ONE_TO_ONE: usize = 8;

/// Bytes that may be copied beyond free ones, before and for each row: a column of ever new texts would copy all of them
/// for each batch.
const COPY_ALLOWANCE: usize = 4 << 20;
const COPY_ALLOWANCE_FOR_ROW: usize = 256;

/// Texts by code, one behind the other as Arrow has them: text `code` lies between two neighbouring offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Categories {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl Categories {
    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True if there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text that `code` names.
    #[must_use]
    pub fn text(&self, code: i32) -> Option<&[u8]> {
        let code = usize::try_from(code).ok()?;
        let (start, end) = (self.offsets.get(code)?, self.offsets.get(code + 1)?);
        self.bytes.get(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
    }

    /// Where each text begins, and where the last one ends.
    #[must_use]
    pub fn offsets(&self) -> &[i32] {
        &self.offsets
    }

    /// The texts.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of a copy.
    fn size(&self) -> usize {
        self.bytes.len() + self.offsets.len() * size_of::<i32>()
    }

    /// Adds a text behind the others. None if offsets could not name its end.
    fn add(&mut self, text: &[u8]) -> Option<u32> {
        let code = u32::try_from(self.len()).ok().filter(|code| code.cast_signed() >= 0)?;
        let end = self.bytes.len().checked_add(text.len())?;
        self.offsets.push(i32::try_from(end).ok()?);
        self.bytes.extend_from_slice(text);
        Some(code)
    }

    /// A copy with room for more.
    fn grown(&self) -> Self {
        let mut offsets = Vec::with_capacity(self.offsets.len() * 2);
        offsets.extend_from_slice(&self.offsets);
        let mut bytes = Vec::with_capacity(self.bytes.len() * 2);
        bytes.extend_from_slice(&self.bytes);
        Self { offsets, bytes }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    /// The code plus one; 0 is an empty slot.
    number: u32,
    start: u32,
    length: u32,
}

/// Finds the code of a text without an allocation, and gives new texts new codes.
#[derive(Debug)]
pub(super) struct Table {
    /// Open addressing; at most half are taken.
    slots: Box<[Slot]>,
    /// What the hash is shifted by to give a slot: its upper bits are the mixed ones.
    shift: u32,
    taken: usize,
    /// Codes of those that found no slot near enough.
    crowded: BTreeMap<Box<[u8]>, u32>,
    /// What batches share with this table: it is copied before it grows while one does.
    categories: Arc<Categories>,
    copied: usize,
    rows: usize,
    is_full: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); FIRST_SLOTS].into(),
            shift: u64::BITS - FIRST_SLOTS.trailing_zeros(),
            taken: 0,
            crowded: BTreeMap::new(),
            categories: Arc::default(),
            copied: 0,
            rows: 0,
            is_full: false,
        }
    }
}

impl Table {
    /// The texts by code, as they are now.
    pub(super) fn shared(&self) -> Arc<Categories> {
        Arc::clone(&self.categories)
    }

    /// The bound of a stream's table is reached: the batch should end.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Ends a batch of `rows` rows: a table that is full, or cost too many copies, is begun anew.
    pub(super) fn end_batch(&mut self, rows: usize) {
        self.rows = self.rows.saturating_add(rows);
        let allowed = self.rows.saturating_mul(COPY_ALLOWANCE_FOR_ROW).saturating_add(COPY_ALLOWANCE);
        if self.is_full || self.copied > allowed {
            *self = Self::default();
        }
    }

    /// The code of a text, if it has one.
    #[inline(always)]
    pub(super) fn find(&self, text: &[u8], hash: u64) -> Option<u32> {
        // Nearly all texts lie in their first slot.
        match self.slots.get(self.home(hash)) {
            Some(slot) if self.is_text(slot, text, hash) => Some(slot.number - 1),
            Some(slot) if slot.number == 0 => None,
            _ => self.search(text, hash),
        }
    }

    #[cold]
    fn search(&self, text: &[u8], hash: u64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let home = self.home(hash);
        for step in 0..MAX_PROBES {
            let slot = self.slots.get((home + step) & mask)?;
            if slot.number == 0 {
                return None;
            }
            if self.is_text(slot, text, hash) {
                return Some(slot.number - 1);
            }
        }
        self.crowded.get(text).copied()
    }

    /// True if a slot is that of a text.
    #[inline(always)]
    fn is_text(&self, slot: &Slot, text: &[u8], hash: u64) -> bool {
        let length = text.len();
        if slot.hash != hash || slot.length as usize != length || slot.number == 0 {
            return false;
        }
        let start = slot.start as usize;
        length <= ONE_TO_ONE
            || self.categories.bytes.get(start..start + length).is_some_and(|known| is_same(known, text))
    }

    /// The code of a text, a new one for a new text. None if offsets could not name its end.
    #[inline]
    pub(super) fn code(&mut self, text: &[u8], hash: u64) -> Option<u32> {
        match self.find(text, hash) {
            Some(code) => Some(code),
            None => self.add(text, hash),
        }
    }

    #[cold]
    fn add(&mut self, text: &[u8], hash: u64) -> Option<u32> {
        if Arc::get_mut(&mut self.categories).is_none() {
            let size = self.categories.size();
            if size > FREE_COPY {
                self.copied = self.copied.saturating_add(size);
            }
            self.categories = Arc::new(self.categories.grown());
        }
        let categories = Arc::get_mut(&mut self.categories)?;
        let start = categories.bytes.len();
        let code = categories.add(text)?;
        self.is_full = categories.len() >= MAX_CATEGORIES || categories.bytes.len() >= MAX_BYTES;
        if (self.taken + 1) * 2 > self.slots.len() {
            self.rehash();
        }
        let slot = Slot { hash, number: code + 1, start: start as u32, length: text.len() as u32 };
        if self.place(slot) {
            self.taken += 1;
        } else {
            self.crowded.insert(text.into(), code);
        }
        Some(code)
    }

    /// The first slot of a hash.
    #[inline]
    const fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// Puts a slot where there is room; false if there is none near enough.
    fn place(&mut self, slot: Slot) -> bool {
        let mask = self.slots.len() - 1;
        let home = self.home(slot.hash);
        for step in 0..MAX_PROBES {
            if let Some(free) = self.slots.get_mut((home + step) & mask).filter(|slot| slot.number == 0) {
                *free = slot;
                return true;
            }
        }
        false
    }

    /// Doubles the slots. Crowded texts are placed anew, too: one is looked for only where all slots near its home are
    /// taken.
    fn rehash(&mut self) {
        let slots = vec![Slot::default(); self.slots.len() * 2].into();
        let old: Box<[Slot]> = std::mem::replace(&mut self.slots, slots);
        self.shift -= 1;
        let crowded = std::mem::take(&mut self.crowded);
        self.taken = 0;
        let categories = Arc::clone(&self.categories);
        let crowded = crowded.into_values().map(|code| code + 1);
        for number in old.iter().map(|slot| slot.number).filter(|number| *number > 0).chain(crowded) {
            let code = number.cast_signed() - 1;
            let (Some(bytes), Some(start)) =
                (categories.text(code), categories.offsets.get(code.cast_unsigned() as usize))
            else {
                continue;
            };
            let slot = Slot { hash: hash(bytes), number, start: start.cast_unsigned(), length: bytes.len() as u32 };
            if self.place(slot) {
                self.taken += 1;
            } else {
                self.crowded.insert(bytes.into(), number - 1);
            }
        }
    }
}

/// Compares two texts of one length without a call of memcmp, which costs more than the compare of a few words.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut differs = 0;
    for (word, other) in words.iter().zip(other_words) {
        differs |= u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
    }
    if differs != 0 {
        return false;
    }
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        // The last word overlaps the one before: no loop over the rest.
        (Some(last), Some(other)) => last == other,
        _ => rest.iter().zip(other_rest).fold(0, |bits, (one, other)| bits | (one ^ other)) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(table: &mut Table, text: &[u8]) -> Option<u32> {
        table.code(text, hash(text))
    }

    fn find(table: &Table, text: &[u8]) -> Option<u32> {
        table.find(text, hash(text))
    }

    fn text(number: usize) -> Vec<u8> {
        format!("symbol {number}").into_bytes()
    }

    #[test]
    fn a_text_that_comes_again_has_the_code_of_its_first_time() {
        let mut table = Table::default();
        for round in 0..2 {
            for number in 0..5_000 {
                let code = code(&mut table, &text(number));
                assert_eq!(code, Some(number as u32), "round {round}");
            }
        }
        let categories = table.shared();
        assert_eq!(categories.len(), 5_000);
        assert!((0..5_000).all(|code| categories.text(code) == Some(&text(code.cast_unsigned() as usize)[..])));
        assert_eq!(categories.text(5_000), None);
    }

    #[test]
    fn texts_of_every_length_are_told_apart() {
        let mut table = Table::default();
        let texts: Vec<Vec<u8>> =
            (0..40).flat_map(|length| [vec![b'a'; length], [&vec![b'a'; length][..], b"b"].concat()]).collect();
        let codes: Vec<Option<u32>> = texts.iter().map(|text| code(&mut table, text)).collect();
        for (text, code) in texts.iter().zip(codes) {
            assert_eq!(find(&table, text), code);
            assert_eq!(table.shared().text(code.unwrap().cast_signed()), Some(&text[..]));
        }
    }

    #[test]
    fn texts_that_hash_alike_are_all_found() {
        let mut table = Table::default();
        let alike = |number: usize| format!("text of a crowd {number}").into_bytes();
        for round in 0..2 {
            for number in 0..1_000 {
                assert_eq!(table.code(&alike(number), 42), Some(number as u32), "round {round}");
            }
        }
        assert_eq!(table.shared().len(), 1_000);
    }

    #[test]
    fn short_texts_that_hash_alike_are_alike() {
        // The inverse of each step of the hash gives the word back.
        let factor = 0x9E37_79B9_7F4A_7C15u64;
        let inverse =
            (0..6).fold(1u64, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(factor.wrapping_mul(inverse))));
        for number in 0..10_000u64 {
            let word = number.wrapping_mul(0x1234_5678_9abc_def1);
            for length in 0..=ONE_TO_ONE {
                let bytes = &word.to_le_bytes()[..length];
                let mixed = hash(bytes).wrapping_mul(inverse);
                let mixed = if length == 8 { mixed.rotate_right(26).wrapping_mul(inverse) } else { mixed };
                assert_eq!(&mixed.to_le_bytes()[..length], bytes);
                assert!(mixed.to_le_bytes()[length..].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn texts_of_true_hashes_are_found_among_crowded_ones_after_the_table_grew() {
        let mut table = Table::default();
        let texts: Vec<Vec<u8>> = (0..200).map(text).collect();
        let home = |text: &[u8]| hash(text) >> 58;
        let crowd: Vec<Vec<u8>> = (0..100_000).map(text).filter(|text| home(text) == 7).take(31).collect();
        for text in crowd.iter().chain(&texts) {
            code(&mut table, text);
        }
        for text in crowd.iter().chain(&texts) {
            let code = find(&table, text).unwrap();
            assert_eq!(table.shared().text(code.cast_signed()), Some(&text[..]));
        }
    }

    #[test]
    fn what_a_batch_shares_does_not_change() {
        let mut table = Table::default();
        code(&mut table, b"SOL");
        let first = table.shared();
        table.end_batch(1);
        assert!(Arc::ptr_eq(&first, &table.shared()), "nothing new: nothing copied");
        code(&mut table, b"USDC");
        assert_eq!((first.len(), table.shared().len()), (1, 2));
        assert_eq!(first.bytes(), b"SOL");
    }

    #[test]
    fn a_full_table_is_begun_anew_with_the_next_batch() {
        let mut table = Table::default();
        for number in 0..MAX_CATEGORIES {
            assert!(!table.is_full());
            code(&mut table, &text(number));
        }
        assert!(table.is_full());
        table.end_batch(MAX_CATEGORIES);
        assert_eq!((table.is_full(), table.shared().len()), (false, 0));
        code(&mut table, &vec![b'x'; MAX_BYTES]);
        assert!(table.is_full());
    }

    #[test]
    fn a_table_that_is_copied_too_often_is_begun_anew() {
        let mut table = Table::default();
        let mut largest = 0;
        let mut shared = Vec::new();
        for number in 0..40_000 {
            code(&mut table, &text(number));
            largest = largest.max(table.shared().len());
            shared = vec![table.shared()];
            table.end_batch(1);
        }
        assert_eq!(shared.len(), 1);
        assert!(largest < 20_000, "{largest} texts were copied for each row");
    }
}
