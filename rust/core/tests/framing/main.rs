//! The framing of the core through its public surface: bytes in, events out; messages in, bytes out.

mod close;
mod control;
mod encoder;
mod errors;
mod golden;
mod messages;
mod peer;
mod sending;
mod splits;
