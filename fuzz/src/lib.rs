//! What the core promises of any input, as functions of bytes: `make fuzz` looks for bytes that break it.
//!
//! The first bytes of an input choose the settings, so that the fuzzer searches these too; the rest is what a peer sends.

pub mod codec;
pub mod decoder;
pub mod deflate;
pub mod handshake;
pub mod protobuf;
pub mod publication;
pub mod pubsub;
pub mod seeds;
mod stream;
