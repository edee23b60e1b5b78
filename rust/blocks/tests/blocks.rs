//! Blocks keep their bytes, their alignment and their distance, whatever becomes of them.

use std::alloc::Layout;

use websocket_utils_blocks::{BIG, BigBlocks, MOST_SPARE};

#[global_allocator]
static ALLOCATOR: BigBlocks = BigBlocks;

/// The one spare block is the whole process's: all in one test.
#[test]
fn blocks_keep_their_bytes_through_every_change_of_size() {
    let pattern = |length: usize| (0..length).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    let mut sizes =
        vec![1, BIG - 1, BIG, BIG + 1, 3 * BIG, MOST_SPARE, MOST_SPARE + BIG, BIG + 1, BIG - 1, 100, 4 * BIG];
    sizes.extend(sizes.clone());
    let mut grown: Vec<u8> = Vec::new();
    for length in sizes {
        grown.truncate(length);
        grown.shrink_to_fit();
        let from = grown.len();
        grown.reserve_exact(length - from);
        grown.extend((from..length).map(|at| (at % 251) as u8));
        assert_eq!(grown, pattern(length));
        // A used spare block is no zeroed one.
        let dirty = vec![0xff_u8; length];
        drop(dirty);
        assert!(vec![0_u8; length].iter().all(|byte| *byte == 0));
        let others: Vec<Vec<u8>> = (0..3).map(|_| pattern(length)).collect();
        assert!(others.iter().all(|other| *other == grown));
    }
}

#[test]
fn large_alignments_are_kept() {
    for align in [1, 16, 64, 128, 4096] {
        let layout = Layout::from_size_align(2 * BIG, align).expect("a layout");
        // SAFETY: the layout has a size, and the block is given back with it.
        unsafe {
            let block = std::alloc::alloc(layout);
            assert_eq!(block.addr() % align, 0);
            std::alloc::dealloc(block, layout);
        }
    }
}

#[test]
fn threads_never_share_a_block() {
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            scope.spawn(move || {
                for round in 0..200 {
                    let mut block = vec![number; BIG + round * 1000];
                    block.resize(block.len() + 70_000, number);
                    assert!(block.iter().all(|byte| *byte == number));
                }
            });
        }
    });
}
