//! Positions against a model that keeps everything in plain lists, and each rule by itself.

use std::collections::hash_map::RandomState;

use proptest::collection::vec;
use proptest::prelude::*;
use websocket_utils_core::positions::{Gap, Outcome, Positions};
use websocket_utils_core::publication::{LONGEST_NAME, Position, append_position};

fn publication(channel: &str, epoch: u64, sequence: u64, previous: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    append_position(&mut payload, Position { epoch, sequence, previous, channel });
    payload.extend_from_slice(b"{}");
    payload
}

fn gap(channel: &str, last: u64, next: Option<u64>) -> Gap {
    Gap { channel: channel.into(), last, next }
}

fn positions() -> Positions<RandomState> {
    Positions::new(RandomState::new())
}

// --- the rules, one by one ---

#[test]
fn chain_in_order_is_delivered_without_its_header() {
    let mut positions = positions();
    for (channel, epoch, sequence, previous) in
        [("a", 1, 7, 6), ("a", 1, 8, 7), ("b", 2, 1, 0), ("a", 1, 9, 8), ("b", 2, 5, 1)]
    {
        let payload = publication(channel, epoch, sequence, previous);
        assert_eq!(positions.read(&payload), Outcome::InOrder(b"{}"));
        assert_eq!(positions.position(channel), Some((epoch, sequence)));
        let (name, numbers) = positions.current().expect("one was read");
        assert_eq!((name, numbers.epoch, numbers.sequence, numbers.previous), (channel, epoch, sequence, previous));
    }
    assert_eq!(positions.take_gaps(), []);
}

#[test]
fn bare_payload_stands_in_no_channel() {
    let mut positions = positions();
    positions.read(&publication("a", 1, 1, 0));
    assert_eq!(positions.read(b"{}"), Outcome::Bare(b"{}"));
    assert!(positions.current().is_none());
    assert_eq!(positions.read(b"\x1e\n\x1e1"), Outcome::Bare(b"\x1e1"));
}

#[test]
fn duplicate_is_dropped_and_counted() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    for sequence in [5, 4, 1] {
        assert_eq!(positions.read(&publication("a", 1, sequence, sequence - 1)), Outcome::Dropped);
    }
    assert_eq!(positions.duplicates(), 3);
    assert_eq!(positions.position("a"), Some((1, 5)));
}

#[test]
fn broken_chain_is_a_gap_and_goes_on_from_there() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    assert_eq!(positions.read(&publication("a", 1, 8, 7)), Outcome::Broken(b"{}"));
    assert_eq!(positions.take_gaps(), [gap("a", 5, Some(8))]);
    assert_eq!(positions.read(&publication("a", 1, 9, 8)), Outcome::InOrder(b"{}"));
    // One whose predecessor is older than what was here contradicts what was here.
    assert_eq!(positions.read(&publication("a", 1, 12, 3)), Outcome::Broken(b"{}"));
    assert_eq!(positions.take_gaps(), [gap("a", 9, Some(12))]);
}

#[test]
fn other_epoch_is_a_gap_whatever_its_numbers() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    positions.lag("a", 100);
    assert_eq!(positions.read(&publication("a", 2, 6, 5)), Outcome::Broken(b"{}"));
    assert_eq!(positions.take_gaps(), [gap("a", 5, Some(6))]);
    // A lag of the epoch before excuses nothing in this one.
    assert_eq!(positions.read(&publication("a", 2, 9, 8)), Outcome::Broken(b"{}"));
}

#[test]
fn announced_lag_excuses_what_it_covers_and_no_more() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    positions.lag("a", 9);
    assert_eq!(positions.read(&publication("a", 1, 8, 7)), Outcome::InOrder(b"{}"));
    assert_eq!(positions.read(&publication("a", 1, 10, 9)), Outcome::InOrder(b"{}"));
    assert_eq!(positions.read(&publication("a", 1, 12, 11)), Outcome::Broken(b"{}"));
    positions.lag("unknown", 9);
    assert_eq!(positions.position("unknown"), None);
}

#[test]
fn missing_predecessor_is_no_lag_where_none_was_announced() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    assert_eq!(positions.read(&publication("a", 1, 8, 0)), Outcome::Broken(b"{}"));
}

#[test]
fn what_is_no_position_is_malformed_and_changes_nothing() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    let long = [b"\x1e1 6 5 ".as_slice(), &vec![b'a'; LONGEST_NAME + 1], b"\n"].concat();
    for payload in
        [b"\x1e".as_slice(), b"\x1e1 6 5 a", b"\x1e1 6 a\n", b"\x1e1 6 5 \n", b"\x1e1 5 5 a\n", b"\x1e1 0 0 a\n", &long]
    {
        assert_eq!(positions.read(payload), Outcome::Malformed, "{payload:?}");
        assert_eq!(positions.follow(payload, true), Outcome::Malformed, "{payload:?}");
    }
    assert_eq!(positions.position("a"), Some((1, 5)));
}

#[test]
fn follower_takes_the_next_one_alone() {
    let mut positions = positions();
    positions.set("a", 1, 5);
    for (epoch, sequence, outcome) in [
        (1, 5, Outcome::Dropped),
        (1, 7, Outcome::Dropped),
        (2, 6, Outcome::Dropped),
        (1, 6, Outcome::InOrder(b"{}".as_slice())),
        (1, 7, Outcome::InOrder(b"{}".as_slice())),
    ] {
        assert_eq!(positions.follow(&publication("a", epoch, sequence, sequence - 1), true), outcome);
    }
    assert_eq!(positions.follow(&publication("b", 1, 1, 0), true), Outcome::Dropped);
    assert_eq!(positions.follow(b"{}", true), Outcome::Bare(b"{}"));
    assert_eq!((positions.position("a"), positions.position("b")), (Some((1, 7)), None));
    assert_eq!(positions.take_gaps(), []);
    // Not even that one where nothing is to be taken.
    assert_eq!(positions.follow(&publication("a", 1, 8, 7), false), Outcome::Dropped);
    assert_eq!(positions.position("a"), Some((1, 7)));
}

#[test]
fn forgotten_name_is_nobodys_current_and_its_place_is_taken_anew() {
    let mut positions = positions();
    positions.read(&publication("a", 1, 1, 0));
    positions.forget(&["a"], &[]);
    assert!(positions.current().is_none());
    assert_eq!(positions.read(&publication("b", 1, 4, 3)), Outcome::InOrder(b"{}"));
    assert_eq!(positions.current().map(|(name, _)| name.to_owned()), Some("b".to_owned()));
    assert_eq!(positions.len(), 1);
}

#[test]
fn patterns_cover_what_begins_with_them_once() {
    let mut positions = positions();
    for (channel, sequence) in [("prices:SOL", 1), ("prices:JUP", 2), ("trades:SOL", 3)] {
        positions.set(channel, 9, sequence);
    }
    let mut seen = Vec::new();
    positions.visit_matching(&["prices:JUP", "prices:*", "unknown"], |name, epoch, sequence| {
        seen.push((name.to_owned(), epoch, sequence));
    });
    seen.sort();
    assert_eq!(seen, [("prices:JUP".to_owned(), 9, 2), ("prices:SOL".to_owned(), 9, 1)]);
    positions.forget(&["*"], &["prices:S*", "trades:SOL"]);
    assert_eq!(positions.len(), 2);
    assert_eq!(positions.position("prices:JUP"), None);
}

#[test]
fn numbers_go_on_over_all_their_lengths() {
    let mut positions = positions();
    for first in [8, 98, 9_998, 999_999_998, u64::MAX - 4] {
        positions.set("a", 1, first);
        positions.set("b:9", u64::MAX, first);
        for sequence in first + 1..first + 4 {
            for (channel, epoch) in [("a", 1), ("b:9", u64::MAX)] {
                let payload = publication(channel, epoch, sequence, sequence - 1);
                assert_eq!(positions.read(&payload), Outcome::InOrder(b"{}"), "{sequence}");
                assert_eq!(positions.position(channel), Some((epoch, sequence)));
                assert_eq!(positions.read(&payload), Outcome::Dropped, "{sequence}");
            }
        }
    }
    // Behind the last number there is none.
    positions.set("a", 1, u64::MAX);
    assert_eq!(positions.read(&publication("a", 1, u64::MAX, u64::MAX - 1)), Outcome::Dropped);
}

#[test]
fn bytes_of_names_are_bounded() {
    let mut positions = Positions::with_bounds(RandomState::new(), 1000, 10);
    for (channel, outcome) in [
        ("aaaa", Outcome::InOrder(b"{}".as_slice())),
        ("bbbb", Outcome::InOrder(b"{}".as_slice())),
        ("cccc", Outcome::Broken(b"{}".as_slice())),
        // Longer than all that may be: known while nobody else is.
        ("dddddddddddddd", Outcome::Broken(b"{}".as_slice())),
    ] {
        assert_eq!(positions.read(&publication(channel, 1, 3, 2)), outcome);
    }
    assert_eq!(positions.take_gaps(), [gap("aaaa", 3, None), gap("bbbb", 3, None), gap("cccc", 3, None)]);
    assert_eq!(positions.len(), 1);
}

// --- against a model ---

const MOST: usize = 4;
const NAMES: [&str; 7] = ["a", "ab", "b", "bb", "c", "d:1", "d:2"];

#[derive(Debug, Clone)]
enum Step {
    Read { channel: usize, epoch: u64, sequence: u64, before: u64 },
    Next(usize),
    Set(usize, u64, u64),
    Lag(usize, u64),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let channel = 0..NAMES.len();
    prop_oneof![
        4 => channel.clone().prop_map(Step::Next),
        3 => (channel.clone(), 1u64..3, 1u64..12, 1u64..4)
            .prop_map(|(channel, epoch, sequence, before)| Step::Read { channel, epoch, sequence, before }),
        1 => (channel.clone(), 1u64..3, 0u64..8).prop_map(|(channel, epoch, sequence)| Step::Set(channel, epoch, sequence)),
        1 => (channel.clone(), 1u64..12).prop_map(|(channel, last)| Step::Lag(channel, last)),
        1 => channel.prop_map(Step::Forget),
    ]
}

/// All that is known, the longest unused first.
#[derive(Default)]
struct Model {
    known: Vec<(&'static str, u64, u64, u64)>,
    gaps: Vec<Gap>,
    duplicates: u64,
}

impl Model {
    fn place(&self, name: &str) -> Option<usize> {
        self.known.iter().position(|known| known.0 == name)
    }

    fn add(&mut self, name: &'static str, epoch: u64, last: u64) {
        if self.known.len() == MOST {
            let (oldest, _, last, _) = self.known.remove(0);
            self.gaps.push(gap(oldest, last, None));
        }
        self.known.push((name, epoch, last, 0));
    }

    /// Whether it is delivered.
    fn read(&mut self, name: &'static str, epoch: u64, sequence: u64, previous: u64) -> bool {
        let Some(place) = self.place(name) else {
            self.add(name, epoch, sequence);
            return true;
        };
        let (_, known_epoch, last, lag) = self.known.remove(place);
        if known_epoch == epoch && sequence <= last {
            self.duplicates += 1;
            self.known.push((name, epoch, last, lag));
            return false;
        }
        let is_proven = known_epoch == epoch && (previous == last || (last < previous && previous <= lag));
        if !is_proven {
            self.gaps.push(gap(name, last, Some(sequence)));
        }
        self.known.push((name, epoch, sequence, if known_epoch == epoch { lag } else { 0 }));
        true
    }
}

proptest! {
    #[test]
    fn positions_do_what_the_model_does(steps in vec(step(), 1..200)) {
        let mut positions = Positions::with_bounds(RandomState::new(), MOST, 1000);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Read { channel, epoch, sequence, before } => {
                    let previous = sequence.saturating_sub(before);
                    let payload = publication(NAMES[channel], epoch, sequence, previous);
                    let is_delivered = model.read(NAMES[channel], epoch, sequence, previous);
                    let outcome = positions.read(&payload);
                    prop_assert_eq!(matches!(outcome, Outcome::InOrder(_) | Outcome::Broken(_)), is_delivered);
                    prop_assert_eq!(matches!(outcome, Outcome::Broken(_)), !model.gaps.is_empty());
                }
                Step::Next(channel) => {
                    let (epoch, last) = positions.position(NAMES[channel]).unwrap_or((1, 0));
                    let payload = publication(NAMES[channel], epoch, last + 1, last);
                    model.read(NAMES[channel], epoch, last + 1, last);
                    positions.read(&payload);
                }
                Step::Set(channel, epoch, last) => {
                    positions.set(NAMES[channel], epoch, last);
                    match model.place(NAMES[channel]) {
                        Some(place) => model.known[place] = (NAMES[channel], epoch, last, 0),
                        None => model.add(NAMES[channel], epoch, last),
                    }
                }
                Step::Lag(channel, last) => {
                    positions.lag(NAMES[channel], last);
                    if let Some(place) = model.place(NAMES[channel]) {
                        model.known[place].3 = model.known[place].3.max(last);
                    }
                }
                Step::Forget(channel) => {
                    positions.forget(&[NAMES[channel]], &[]);
                    if let Some(place) = model.place(NAMES[channel]) {
                        model.known.remove(place);
                    }
                }
            }
            prop_assert_eq!(positions.take_gaps(), std::mem::take(&mut model.gaps));
            prop_assert_eq!(positions.duplicates(), model.duplicates);
            prop_assert_eq!(positions.len(), model.known.len());
            for name in NAMES {
                let known = model.place(name).map(|place| (model.known[place].1, model.known[place].2));
                prop_assert_eq!(positions.position(name), known);
            }
        }
    }
}

#[test]
fn thousands_of_channels_beyond_the_bound_go_one_by_one_in_the_order_of_their_last_use() {
    let mut positions = Positions::with_bounds(RandomState::new(), 3000, 1 << 20);
    for number in 0..3000 {
        positions.read(&publication(&format!("c{number}"), 1, 1, 0));
    }
    // Every other one is used again.
    for number in (0..3000).step_by(2) {
        positions.read(&publication(&format!("c{number}"), 1, 2, 1));
    }
    let expected = (1..3000).step_by(2).chain((0..3000).step_by(2));
    for (number, forgotten) in expected.enumerate() {
        positions.read(&publication(&format!("new{number}"), 1, 1, 0));
        let gaps = positions.take_gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!(&*gaps[0].channel, format!("c{forgotten}"));
    }
}
