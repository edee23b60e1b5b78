//! The end of the buffer that a message is written to.

use std::marker::PhantomData;

use websocket_utils_core::codec::Append;

/// Bytes that are made room for at once: most messages fit, so that they ask once.
const STEP: usize = 256;

/// Appends to a vector without telling it of every byte: its length is set when the cursor is dropped.
pub(super) struct Cursor<'a> {
    start: *mut u8,
    end: *mut u8,
    limit: *mut u8,
    vector: *mut Vec<u8>,
    lent: PhantomData<&'a mut Vec<u8>>,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn new(vector: &'a mut Vec<u8>) -> Self {
        vector.reserve(STEP);
        let mut cursor = Self {
            start: std::ptr::null_mut(),
            end: std::ptr::null_mut(),
            limit: std::ptr::null_mut(),
            vector,
            lent: PhantomData,
        };
        cursor.look_at_vector();
        cursor
    }

    #[inline]
    fn look_at_vector(&mut self) {
        // SAFETY: the vector is lent to the cursor for its life; length and capacity lie within its allocation.
        unsafe {
            let vector = &mut *self.vector;
            self.start = vector.as_mut_ptr();
            self.end = self.start.add(vector.len());
            self.limit = self.start.add(vector.capacity());
        }
    }

    /// Makes room for `length` more bytes.
    #[inline]
    pub(super) fn reserve(&mut self, length: usize) {
        if self.limit as usize - (self.end as usize) < length {
            self.grow(length);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, length: usize) {
        // SAFETY: as in `look_at_vector`, and everything before `end` has been written.
        unsafe {
            let vector = &mut *self.vector;
            vector.set_len(self.end.offset_from_unsigned(self.start));
            vector.reserve(length.max(STEP));
        }
        self.look_at_vector();
    }

    /// Appends the first `length` bytes of a padded piece.
    ///
    /// # Safety
    /// `length` is `N` at most.
    #[inline]
    pub(super) unsafe fn append_padded<const N: usize>(&mut self, piece: &[u8; N], length: usize) {
        debug_assert!(length <= N);
        self.reserve(N);
        // SAFETY: there is room for all of the piece.
        unsafe {
            self.end.cast::<[u8; N]>().write(*piece);
            self.end = self.end.add(length);
        }
    }

    /// What has been written from `start` on, to be corrected.
    pub(super) fn written_from(&mut self, start: usize) -> &mut [u8] {
        let length = self.length();
        // SAFETY: everything before `end` has been written.
        unsafe { &mut std::slice::from_raw_parts_mut(self.start, length)[start..] }
    }
}

impl Drop for Cursor<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `grow`.
        unsafe { (*self.vector).set_len(self.end.offset_from_unsigned(self.start)) }
    }
}

impl Append for Cursor<'_> {
    #[inline]
    fn append_word(&mut self, word: u64, length: usize) {
        // SAFETY: the length is bounded.
        unsafe { self.append_padded(&word.to_le_bytes(), length.min(8)) }
    }

    #[inline]
    fn append_byte_and_word(&mut self, byte: u8, word: u64) {
        self.reserve(9);
        // SAFETY: there is room for both.
        unsafe {
            self.end.write(byte);
            self.end.add(1).cast::<[u8; 8]>().write(word.to_le_bytes());
            self.end = self.end.add(9);
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: there is room for the bytes, which lie elsewhere: nobody else can see this memory.
        unsafe {
            self.end.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.end = self.end.add(bytes.len());
        }
    }

    #[inline]
    fn length(&self) -> usize {
        // SAFETY: both lie within the vector's allocation, `end` not before `start`.
        unsafe { self.end.offset_from_unsigned(self.start) }
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        if length < self.length() {
            // SAFETY: a place before `end`.
            self.end = unsafe { self.start.add(length) };
        }
    }
}
