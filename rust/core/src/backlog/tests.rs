use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LATEST: Rule = Rule::Conflate;
const ALL: Rule = Rule::DropOldest { most: None };

const fn newest(most: usize) -> Rule {
    Rule::DropOldest { most: Some(most) }
}

/// Everything that is handed out, as text: notices in brackets.
fn drained(backlog: &mut Backlog, most: usize) -> String {
    let mut out = Vec::new();
    while backlog.next(most, &mut out, write_notice).is_some() {}
    String::from_utf8(out).unwrap()
}

fn write_notice(out: &mut Vec<u8>, channel: u64, lag: Lag) {
    out.extend_from_slice(format!("[{channel}: {}..{} {}]", lag.first, lag.last, lag.count).as_bytes());
}

#[test]
fn value_of_a_key_replaces_the_one_before_and_is_told_once() {
    let mut backlog = Backlog::new();
    assert_eq!(backlog.push(1, LATEST, 0, 10, b"a"), Pushed { left_out: 0 });
    assert_eq!(backlog.push(1, LATEST, 1, 11, b"b"), Pushed { left_out: 0 });
    assert_eq!(backlog.push(1, LATEST, 0, 12, b"c"), Pushed { left_out: 1 });
    assert_eq!(backlog.push(1, LATEST, 0, 13, b"d"), Pushed { left_out: 1 });
    assert_eq!(backlog.len(), 2);
    assert_eq!(drained(&mut backlog, usize::MAX), "[1: 10..12 2]bd");
    assert!(backlog.is_empty());
    backlog.push(1, LATEST, 0, 14, b"e");
    assert_eq!(drained(&mut backlog, usize::MAX), "e");
}

#[test]
fn oldest_beyond_the_most_are_dropped_and_at_least_one_stays() {
    let mut backlog = Backlog::new();
    let dropped: Vec<_> = (1..=5).map(|sequence| backlog.push(1, newest(3), 0, sequence, b"x").left_out).collect();
    assert_eq!(dropped, [0, 0, 0, 1, 1]);
    assert_eq!(drained(&mut backlog, usize::MAX), "[1: 1..2 2]xxx");
    backlog.push(2, newest(0), 0, 1, b"y");
    backlog.push(2, newest(0), 0, 2, b"z");
    assert_eq!(drained(&mut backlog, usize::MAX), "[2: 1..1 1]z");
    backlog.push(3, ALL, 0, 1, b"a");
    backlog.push(3, ALL, 0, 2, b"b");
    assert!(backlog.drop_oldest_of(3));
    assert!(!backlog.drop_oldest_of(3), "one always stays");
    assert!(!backlog.drop_oldest_of(4));
    assert_eq!(drained(&mut backlog, usize::MAX), "[3: 1..1 1]b");
}

#[test]
fn busy_channel_keeps_its_place_and_does_not_starve_the_others() {
    let mut backlog = Backlog::new();
    backlog.push(1, LATEST, 0, 1, b"a");
    backlog.push(2, LATEST, 0, 1, b"b");
    let mut out = Vec::new();
    for sequence in 2..100 {
        backlog.push(1, LATEST, 0, sequence, b"a");
    }
    assert_eq!(backlog.next(1, &mut out, |_, _, _| {}), Some(Taken { channel: 1, publications: 1, is_noticed: true }));
    backlog.push(1, LATEST, 0, 100, b"a");
    assert_eq!(backlog.next(1, &mut out, |_, _, _| {}), Some(Taken { channel: 2, publications: 1, is_noticed: false }));
}

#[test]
fn long_channel_is_handed_out_in_parts_with_one_notice_and_stays_first_in_line() {
    let mut backlog = Backlog::new();
    for sequence in 1..=6 {
        backlog.push(1, newest(5), 0, sequence, format!("{sequence} ").as_bytes());
    }
    backlog.push(2, ALL, 0, 1, b"other");
    let mut out = Vec::new();
    let taken = backlog.next(14, &mut out, write_notice).unwrap();
    assert_eq!((taken.channel, taken.publications, taken.is_noticed), (1, 2, true));
    assert_eq!(out, b"[1: 1..1 1]2 3 ");
    let taken = backlog.next(1, &mut out, write_notice).unwrap();
    assert_eq!((taken.channel, taken.publications, taken.is_noticed), (1, 1, false));
    for sequence in 7..=10 {
        backlog.push(1, newest(5), 0, sequence, format!("{sequence} ").as_bytes());
    }
    assert_eq!(drained(&mut backlog, 1), "[1: 5..5 1]6 7 8 9 10 other");
}

#[test]
fn conflated_channel_is_handed_out_whole() {
    let mut backlog = Backlog::new();
    for sequence in 1..=20 {
        backlog.push(1, LATEST, sequence % 10, sequence, b"x");
    }
    let mut out = Vec::new();
    assert_eq!(backlog.next(1, &mut out, |_, _, _| {}).unwrap().publications, 10);
    assert!(backlog.is_empty());
}

#[test]
fn removed_channel_is_forgotten_with_what_was_left_out() {
    let mut backlog = Backlog::new();
    for sequence in 1..=4 {
        backlog.push(1, newest(2), 0, sequence, b"x");
    }
    backlog.push(2, ALL, 0, 1, b"y");
    assert_eq!(backlog.remove(1), 2);
    assert_eq!(backlog.remove(1), 0);
    assert!(!backlog.has(1) && backlog.has(2));
    assert_eq!(backlog.bytes(), 1 + PUBLICATION_COST + CHANNEL_COST);
    backlog.push(1, ALL, 0, 5, b"z");
    assert_eq!(drained(&mut backlog, usize::MAX), "yz");
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn memory_of_replaced_frames_is_used_again_and_all_is_given_back_at_the_end() {
    let mut backlog = Backlog::new();
    for sequence in 0..100_000 {
        let frame = vec![7; if sequence % 1_000 == 0 { 100_000 } else { 100 }];
        backlog.push(sequence % 20, LATEST, 0, sequence, &frame);
    }
    assert_eq!(backlog.len(), 20);
    assert!(backlog.publications.capacity() <= 32);
    let mut out = Vec::new();
    while backlog.next(usize::MAX, &mut out, |_, _, _| {}).is_some() {}
    assert_eq!(out.len(), 20 * 100);
    for place in 0..20 {
        backlog.push(place, LATEST, 0, 0, &vec![7; 100_000]);
        backlog.push(place, LATEST, 0, 1, &[7; 100]);
    }
    let held: usize = (0..20).map(|place| backlog.publications.get(place).frame.capacity()).sum();
    assert!(held <= 20 * 200, "{held}");
    (0..20).for_each(|channel| assert_eq!(backlog.remove(channel), 1));
    assert_eq!((backlog.publications.capacity(), backlog.places.capacity(), backlog.index.capacity()), (0, 0, 0));
}

#[test]
fn index_is_used_from_five_keys_on_and_left_empty() {
    let mut backlog = Backlog::new();
    for sequence in 1..=30_000 {
        backlog.push(1, LATEST, sequence % 1_000, sequence, b"x");
    }
    assert_eq!((backlog.len(), backlog.index.len()), (1_000, 1_000));
    backlog.push(2, ALL, 0, 1, b"keeps the memory");
    assert_eq!(backlog.remove(1), 1_000);
    assert!(backlog.index.is_empty());
}

/// What a [`Backlog`] does, said in the plainest way.
#[derive(Default)]
struct Model {
    line: Vec<u64>,
    waiting: BTreeMap<u64, ModelChannel>,
}

#[derive(Default)]
struct ModelChannel {
    publications: Vec<(u64, u64, Vec<u8>)>,
    left_out: Vec<u64>,
    is_whole: bool,
}

impl Model {
    fn push(&mut self, channel: u64, rule: Rule, key: u64, sequence: u64, frame: &[u8]) -> usize {
        if !self.waiting.contains_key(&channel) {
            self.line.push(channel);
        }
        let entry = self.waiting.entry(channel).or_default();
        let before = entry.left_out.len();
        if rule == Rule::Conflate {
            entry.is_whole = true;
            if let Some(found) = entry.publications.iter().rposition(|publication| publication.0 == key) {
                entry.left_out.push(entry.publications.remove(found).1);
            }
        }
        entry.publications.push((key, sequence, frame.to_vec()));
        if let Rule::DropOldest { most: Some(most) } = rule {
            while entry.publications.len() > most.max(1) {
                entry.left_out.push(entry.publications.remove(0).1);
            }
        }
        entry.left_out.len() - before
    }

    fn drop_oldest_of(&mut self, channel: u64) -> bool {
        let Some(entry) = self.waiting.get_mut(&channel) else { return false };
        let has_more = entry.publications.len() > 1;
        if has_more {
            entry.left_out.push(entry.publications.remove(0).1);
        }
        has_more
    }

    fn remove(&mut self, channel: u64) -> usize {
        self.line.retain(|&waiting| waiting != channel);
        self.waiting.remove(&channel).map_or(0, |entry| entry.publications.len())
    }

    /// The channel, its notice, and the frames.
    fn next(&mut self, most: usize) -> Option<(u64, Option<Lag>, Vec<Vec<u8>>)> {
        let channel = *self.line.first()?;
        let entry = self.waiting.get_mut(&channel).unwrap();
        entry.left_out.sort_unstable();
        let lag = entry.left_out.first().map(|&first| Lag {
            first,
            last: *entry.left_out.last().unwrap(),
            count: entry.left_out.len() as u64,
        });
        entry.left_out.clear();
        let mut frames = Vec::new();
        let mut size = 0;
        while !entry.publications.is_empty() && (frames.is_empty() || entry.is_whole || size < most) {
            let frame = entry.publications.remove(0).2;
            size += frame.len();
            frames.push(frame);
        }
        if entry.publications.is_empty() {
            self.remove(channel);
        }
        Some((channel, lag, frames))
    }

    fn bytes(&self) -> usize {
        self.waiting
            .values()
            .map(|entry| {
                let frames: usize = entry.publications.iter().map(|publication| publication.2.len()).sum();
                CHANNEL_COST + frames + entry.publications.len() * PUBLICATION_COST
            })
            .sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { channel: u64, rule: Rule, key: u64, size: usize },
    Next { most: usize },
    Remove { channel: u64 },
    DropOldest { channel: u64 },
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop_oneof![3 => Just(LATEST), 1 => Just(ALL), 2 => (0usize..8).prop_map(newest)]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (0u64..5, any_rule(), 0u64..12, 0usize..40).prop_map(|(channel, rule, key, size)| Step::Push { channel, rule, key, size }),
        2 => (0usize..200).prop_map(|most| Step::Next { most }),
        1 => (0u64..6).prop_map(|channel| Step::Remove { channel }),
        1 => (0u64..6).prop_map(|channel| Step::DropOldest { channel }),
    ]
}

/// Fates of the publications of one channel.
#[derive(Default)]
struct Account {
    pushed: u64,
    handed_out: u64,
    left_out: u64,
    noticed: u64,
    removed: u64,
    newest: u64,
}

impl Account {
    fn hand_out(&mut self, frames: &[u8]) {
        let mut rest = frames;
        while !rest.is_empty() {
            let (header, behind) = rest.split_at(16);
            let sequence = u64::from_le_bytes(header[..8].try_into().unwrap());
            let padding = u64::from_le_bytes(header[8..].try_into().unwrap()) as usize;
            assert!(sequence > self.newest, "sequences ascend");
            self.newest = sequence;
            self.handed_out += 1;
            rest = &behind[padding..];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_steps_do_what_the_model_does_and_lose_nothing(
        steps in proptest::collection::vec(any_step(), 0..150),
        one_rule_each in any::<bool>(),
    ) {
        let (mut backlog, mut model) = (Backlog::new(), Model::default());
        let mut accounts: BTreeMap<u64, Account> = BTreeMap::new();
        let drains = std::iter::repeat_n(Step::Next { most: 100 }, 400);
        for step in steps.into_iter().chain(drains) {
            match step {
                Step::Push { channel, rule, key, size } => {
                    let rule = if one_rule_each { [LATEST, ALL, newest(3), newest(1), LATEST][channel as usize] } else { rule };
                    let account = accounts.entry(channel).or_default();
                    account.pushed += 1;
                    let sequence = account.pushed;
                    let frame =
                        [&sequence.to_le_bytes()[..], &(size as u64).to_le_bytes(), &vec![b'.'; size]].concat();
                    let pushed = backlog.push(channel, rule, key, sequence, &frame);
                    account.left_out += pushed.left_out as u64;
                    prop_assert_eq!(pushed.left_out, model.push(channel, rule, key, sequence, &frame));
                }
                Step::Next { most } => {
                    let (mut out, mut notice) = (Vec::new(), None);
                    let taken = backlog.next(most, &mut out, |_, channel, lag| notice = Some((channel, lag)));
                    let expected = model.next(most);
                    prop_assert_eq!(taken.is_some(), expected.is_some());
                    let (Some(taken), Some((channel, lag, frames))) = (taken, expected) else { continue };
                    prop_assert_eq!(taken.channel, channel);
                    prop_assert_eq!(notice, lag.map(|lag| (channel, lag)));
                    prop_assert_eq!((taken.publications, taken.is_noticed), (frames.len(), lag.is_some()));
                    prop_assert_eq!(&out, &frames.concat());
                    let account = accounts.get_mut(&channel).unwrap();
                    account.noticed += lag.map_or(0, |lag| lag.count);
                    account.hand_out(&out);
                }
                Step::Remove { channel } => {
                    let removed = backlog.remove(channel);
                    prop_assert_eq!(removed, model.remove(channel));
                    if let Some(account) = accounts.get_mut(&channel) {
                        account.removed += removed as u64;
                        // What was left out goes untold with the rest.
                        account.noticed = account.left_out;
                    }
                }
                Step::DropOldest { channel } => {
                    let dropped = backlog.drop_oldest_of(channel);
                    prop_assert_eq!(dropped, model.drop_oldest_of(channel));
                    if dropped {
                        accounts.get_mut(&channel).unwrap().left_out += 1;
                    }
                }
            }
            prop_assert_eq!(backlog.bytes(), model.bytes());
            prop_assert_eq!(backlog.len(), model.waiting.values().map(|entry| entry.publications.len()).sum::<usize>());
            (0..6).for_each(|channel| assert_eq!(backlog.has(channel), model.waiting.contains_key(&channel)));
        }
        prop_assert!(backlog.is_empty() && backlog.bytes() == 0 && backlog.index.is_empty());
        for account in accounts.values() {
            prop_assert_eq!(account.handed_out + account.left_out + account.removed, account.pushed);
            prop_assert_eq!(account.noticed, account.left_out);
        }
    }
}
