//! Memory of big blocks: each has a mapping of its own, which goes back to the system when it is freed.
//!
//! malloc keeps blocks that were freed in the middle of its heap, and raises its own threshold for mappings with the first
//! big block that is freed: a server whose 200 clients had each sent 1 MiB kept 100 to 240 KiB for each of them, with every
//! buffer given back (`memory_after_message` in docs/BENCHMARKS.md). Here nothing is kept but one spare block, so that a
//! stream of big messages finds its pages mapped. A block grows by moving its pages, not its bytes.
//!
//! ```text
//!  mapping   [length|............................]
//!            ^ page   ^ the block: HEADER bytes behind
//! ```
//!
//! A crate of its own, because an extension module can't be linked into a test. For the extension's Rust code it is the
//! global allocator; Python's objects are Python's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes from which on a block has its own mapping: malloc's own first threshold.
pub const BIG: usize = 128 * 1024;

const PAGE: usize = 4096;

/// The largest mapping that is kept as the spare one: the largest message by default fits twice.
pub const MOST_SPARE: usize = 2 * 1024 * 1024;

/// What stands in front of a block: a cache line, so that blocks are aligned to one.
#[repr(C, align(64))]
struct Mapping {
    /// Bytes of the whole mapping.
    length: usize,
}

const HEADER: usize = size_of::<Mapping>();

/// A freed mapping; null when there is none. Who swaps it out owns it.
static SPARE: AtomicPtr<Mapping> = AtomicPtr::new(ptr::null_mut());

/// The allocator: `System` for all but big blocks.
#[derive(Debug, Clone, Copy)]
pub struct BigBlocks;

/// Where a block comes from follows from its layout alone, so that freeing it finds the same way back.
const fn is_big(size: usize, align: usize) -> bool {
    size >= BIG && align <= HEADER
}

/// The length of a mapping that holds a block; layouts are smaller than half the address space.
const fn mapping_length(size: usize) -> usize {
    (size + HEADER + PAGE - 1) & !(PAGE - 1)
}

/// A block of `size` bytes, and whether it is all zeros; null where there is no memory.
fn map(size: usize) -> (*mut u8, bool) {
    let needed = mapping_length(size);
    let spare = SPARE.swap(ptr::null_mut(), Ordering::Acquire);
    if !spare.is_null() {
        // SAFETY: the swap made us the spare mapping's only owner.
        let grown = unsafe { grow(spare, needed) };
        if !grown.is_null() {
            return (grown, false);
        }
        // SAFETY: as above; it could not be grown and is of no use.
        unsafe { unmap(spare) };
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new private mapping touches no other memory.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), needed, protection, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return (ptr::null_mut(), false);
    }
    // SAFETY: the mapping is new, at least a page long, and aligned to one.
    (unsafe { block_of(mapping.cast(), needed) }, true)
}

/// Takes down a mapping's length; returns its block.
///
/// # Safety
/// `mapping` is a mapping of `length` bytes that nobody else uses.
unsafe fn block_of(mapping: *mut Mapping, length: usize) -> *mut u8 {
    // SAFETY: the caller's word; the header fits every mapping.
    unsafe {
        mapping.write(Mapping { length });
        mapping.add(1).cast()
    }
}

/// The mapping of a block.
///
/// # Safety
/// `block` was made by [`map`] or [`grow`], and is not freed.
unsafe fn mapping_of(block: *mut u8) -> *mut Mapping {
    // SAFETY: the caller's word: the header is in front.
    unsafe { block.sub(HEADER).cast() }
}

/// The block of a mapping that is at least `needed` bytes long, made longer if it is not; null, and the mapping as it was,
/// where there is no memory.
///
/// # Safety
/// `mapping` is one of ours and nobody else uses it.
unsafe fn grow(mapping: *mut Mapping, needed: usize) -> *mut u8 {
    // SAFETY: the caller's word.
    unsafe { if (*mapping).length >= needed { mapping.add(1).cast() } else { resize(mapping, needed) } }
}

/// The block of a mapping that is made `length` bytes long; null, and the mapping as it was, where there is no memory.
///
/// # Safety
/// `mapping` is one of ours and nobody else uses it.
unsafe fn resize(mapping: *mut Mapping, length: usize) -> *mut u8 {
    // SAFETY: the caller's word; `mremap` is given the whole mapping.
    unsafe {
        let moved = libc::mremap(mapping.cast(), (*mapping).length, length, libc::MREMAP_MAYMOVE);
        if moved == libc::MAP_FAILED { ptr::null_mut() } else { block_of(moved.cast(), length) }
    }
}

/// Gives a mapping back to the system.
///
/// # Safety
/// `mapping` is one of ours and nobody uses it any more.
unsafe fn unmap(mapping: *mut Mapping) {
    // SAFETY: the caller's word.
    unsafe {
        libc::munmap(mapping.cast(), (*mapping).length);
    }
}

/// Frees a block: its mapping is the spare one now, if it is not too large; the one that was goes.
///
/// # Safety
/// `block` was made by [`map`] or [`grow`] and nobody uses it any more.
unsafe fn free(block: *mut u8) {
    // SAFETY: the caller's word; what is swapped out is ours alone.
    unsafe {
        let mut mapping = mapping_of(block);
        if (*mapping).length <= MOST_SPARE {
            mapping = SPARE.swap(mapping, Ordering::AcqRel);
        }
        if !mapping.is_null() {
            unmap(mapping);
        }
    }
}

// SAFETY: blocks come from `System` or are mappings of their own, by their layout alone; both live until they are freed, are as
// large and as aligned as the layout asks, and overlap nothing.
unsafe impl GlobalAlloc for BigBlocks {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_big(layout.size(), layout.align()) {
            return map(layout.size()).0;
        }
        // SAFETY: the caller's layout, passed on.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_big(layout.size(), layout.align()) {
            // SAFETY: the caller's layout, passed on.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let (block, is_zero) = map(layout.size());
        if !block.is_null() && !is_zero {
            // SAFETY: the block is new, and that large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what was allocated with this layout.
        unsafe { if is_big(layout.size(), layout.align()) { free(block) } else { System.dealloc(block, layout) } }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let align = layout.align();
        match (is_big(layout.size(), align), is_big(new_size, align)) {
            // SAFETY: the caller's block and layout, passed on.
            (false, false) => unsafe { System.realloc(block, layout, new_size) },
            // SAFETY: by its layout the block is one of ours, and the caller's.
            (true, true) => unsafe {
                let (mapping, needed) = (mapping_of(block), mapping_length(new_size));
                // Less than half is asked to remain: what a spare mapping has beyond its first block is not meant.
                if new_size < layout.size() / 2 { resize(mapping, needed) } else { grow(mapping, needed) }
            },
            // SAFETY: the caller promises that the new size makes a layout; both blocks hold the lesser size, and the new
            // one is apart from the old.
            _ => unsafe {
                let moved = self.alloc(Layout::from_size_align_unchecked(new_size, align));
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}
