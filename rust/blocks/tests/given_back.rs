//! What is freed is the system's again, whatever stands between: alone in its process, whose memory is measured.

use std::fs;

use websocket_utils_blocks::{BIG, BigBlocks, MOST_SPARE};

#[global_allocator]
static ALLOCATOR: BigBlocks = BigBlocks;

/// Bytes of resident memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: usize = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("a number of pages");
    pages * 4096
}

#[test]
fn memory_of_big_blocks_is_given_back() {
    // malloc learns from the first big block that is freed, and would take the others from its heap.
    drop(vec![1_u8; 8 * BIG]);
    let before = resident();
    let (mut big, mut small) = (Vec::new(), Vec::new());
    for number in 0..200 {
        big.push(vec![1_u8; 2 * BIG]);
        small.push(Box::new(number));
    }
    assert!(resident() > before + 150 * 2 * BIG, "they are used");
    drop(big);
    let kept = resident().saturating_sub(before);
    assert!(kept <= MOST_SPARE, "{kept} bytes kept");
    assert_eq!(small.len(), 200);

    // In the same test: two at once would measure each other.
    let mut block = vec![1_u8; 512 * BIG];
    let before = resident();
    block.truncate(BIG);
    block.shrink_to_fit();
    assert!(resident() + 500 * BIG < before);
    assert!(block.iter().all(|byte| *byte == 1));
}
