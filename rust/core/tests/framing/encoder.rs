//! Frames encoded in place are the frames that are appended whole.

use proptest::collection::vec;
use proptest::prelude::*;
use websocket_utils_core::encoder::{append_frame, begin_frame, finish_frame};
use websocket_utils_core::header::{frame_at, header_len};
use websocket_utils_core::opcode::Opcode;

use crate::peer::KEY;

fn in_place(head: &[u8], payload: &[u8], expected: usize, masked_guess: bool, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = head.to_vec();
    let start = begin_frame(&mut out, masked_guess, expected);
    out.extend_from_slice(payload);
    finish_frame(&mut out, start, Opcode::Text, key);
    out
}

fn appended(head: &[u8], payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = head.to_vec();
    append_frame(&mut out, Opcode::Text, true, payload, key);
    out
}

#[test]
fn wrong_guesses_of_length_and_mask_give_the_exact_frame() {
    let sizes = [0, 1, 125, 126, 127, 65535, 65536];
    for len in sizes {
        let payload: Vec<u8> = (0..=252).cycle().take(len).collect();
        for expected in sizes {
            for key in [None, Some(KEY)] {
                for masked_guess in [false, true] {
                    let frame = in_place(b"before", &payload, expected, masked_guess, key);
                    assert_eq!(frame, appended(b"before", &payload, key), "{len} bytes, {expected} expected");
                    assert_eq!(frame.len(), 6 + header_len(key.is_some(), len) + len);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn frames_in_place_are_appended_frames(
        head in vec(any::<u8>(), 0..40),
        payload in vec(any::<u8>(), 0..400),
        expected in 0_usize..70_000,
        key in any::<Option<[u8; 4]>>(),
    ) {
        prop_assert_eq!(in_place(&head, &payload, expected, key.is_some(), key), appended(&head, &payload, key));
    }
}

#[test]
#[should_panic(expected = "the frame's beginning was cut off")]
fn output_cut_below_the_frame_is_a_callers_bug() {
    let mut out = Vec::new();
    let start = begin_frame(&mut out, false, 10);
    out.clear();
    finish_frame(&mut out, start, Opcode::Text, None);
}

#[test]
fn length_of_a_written_frame_is_read_off_its_header_alone() {
    for len in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
        for key in [None, Some(KEY)] {
            for opcode in [Opcode::Text, Opcode::Binary] {
                let mut out = Vec::new();
                append_frame(&mut out, opcode, true, &vec![0x8f; len], key);
                let header = header_len(key.is_some(), len);
                assert_eq!(frame_at(&out[..header]), (out.len(), true), "{opcode:?} {len} {key:?}");
            }
        }
    }
    for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
        let mut out = Vec::new();
        append_frame(&mut out, opcode, true, b"12", Some(KEY));
        assert_eq!(frame_at(&out), (8, false));
    }
}
