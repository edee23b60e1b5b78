//! Every seed, and every finding that became one, keeps what its target asserts: on a stable compiler, with every test run.

use websocket_utils_fuzz::{codec, decoder, deflate, handshake, protobuf, publication, pubsub, seeds};

fn give_seeds(target: &str, run: fn(&[u8])) {
    let seeds = seeds::of(target).expect("seeds can be read");
    assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
    for (_, seed) in seeds {
        run(&seed);
        // With every setting, whatever the seed chose.
        let behind = seed.get(2..).unwrap_or_default();
        for settings in 0..=255 {
            for cut in [0, 1, 7] {
                run(&[&[settings, cut], behind].concat());
            }
        }
    }
}

#[test]
fn decoder_holds_for_its_seeds() {
    give_seeds("decoder", decoder::run);
}

#[test]
fn deflate_holds_for_its_seeds() {
    give_seeds("deflate", deflate::run);
}

#[test]
fn handshake_holds_for_its_seeds() {
    give_seeds("handshake", handshake::run);
}

#[test]
fn json_holds_for_its_seeds() {
    give_seeds("json", codec::run_json);
}

#[test]
fn msgpack_holds_for_its_seeds() {
    give_seeds("msgpack", codec::run_msgpack);
}

#[test]
fn protobuf_holds_for_its_seeds() {
    give_seeds("protobuf", protobuf::run);
}

#[test]
fn publication_holds_for_its_seeds() {
    give_seeds("publication", publication::run);
}

#[test]
fn pubsub_holds_for_its_seeds() {
    give_seeds("pubsub", pubsub::run);
}
