//! Both readers have the same answer to anything.

use proptest::prelude::*;

use super::super::peek_tag;
use super::*;

#[test]
fn every_cut_of_a_message_has_the_same_answer_from_both_readers() {
    let input = [
        length(2047, b"Thing"),
        int(INT, 1 << 62),
        length(TEXT, b"text"),
        length(INTS, b"\x01\xff\x01"),
        length(NESTED, &[int(BOOL, 1), length(TEXTS, b"a")].concat()),
        length(MAP, b"\x0a\x01a\x10\x05"),
        length(ROWS, &length(1, &[7; 16])),
        length(EITHER, &length(1, &int(1, 5))),
        int(BOUNDED, 3),
    ]
    .concat();
    assert!(read(&plan(), &input).is_ok());
    let whole = (0..=input.len()).filter(|cut| read(&plan(), &input[..*cut]).is_ok()).count();
    assert_eq!(whole, 10, "between fields");
    for place in 0..input.len() {
        for bit in 0..8 {
            let mut other = input.clone();
            other[place] ^= 1 << bit;
            let _ = read(&plan(), &other);
        }
    }
}

fn any_field(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let number = prop_oneof![4 => 1..25_u32, 1 => Just(2047), 1 => Just(UNKNOWN)];
    let scalar =
        (number.clone(), 0..5_u32, any::<u64>(), 0..64_u32).prop_map(|(number, wire, value, shift)| match wire {
            0 => int(number, value >> shift),
            1 => [&*write::key(number, 1), &value.to_le_bytes()].concat(),
            2 => length(number, &value.to_le_bytes()[..(shift % 8) as usize]),
            3 => length(number, [&b"Thing"[..], b"thing", b"buy", b""][(shift % 4) as usize]),
            _ => [&*write::key(number, 5), &value.to_le_bytes()[..4]].concat(),
        });
    if depth == 0 {
        return scalar.boxed();
    }
    let inner = || proptest::collection::vec(any_field(depth - 1), 0..5).prop_map(|fields| fields.concat());
    let nested = (number.clone(), inner()).prop_map(|(number, inner)| length(number, &inner));
    let group =
        (number, inner()).prop_map(|(number, inner)| [write::key(number, 3), inner, write::key(number, 4)].concat());
    prop_oneof![4 => scalar, 4 => nested, 1 => group].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_readers_agree_on_any_fields(
        fields in proptest::collection::vec(any_field(3), 0..12),
        cut in any::<prop::sample::Index>(),
        flip in proptest::option::of((any::<prop::sample::Index>(), 0..8_u32)),
        is_cut in prop::bool::weighted(0.2),
    ) {
        let mut input = fields.concat();
        if let Some((place, bit)) = flip && !input.is_empty() {
            let place = place.index(input.len());
            input[place] ^= 1 << bit;
        }
        if is_cut {
            input.truncate(cut.index(input.len() + 1));
        }
        let _ = read(&plan(), &input);
        let _ = peek_tag(&input);
    }

    #[test]
    fn both_readers_agree_on_any_bytes(input in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&plan(), &input);
        let _ = peek_tag(&input);
    }
}
