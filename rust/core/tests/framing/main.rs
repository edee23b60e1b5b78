//! The framing of the core through its public surface: bytes in, events out; messages in, bytes out.

mod close;
mod control;
mod deflate;
mod encoder;
mod errors;
mod golden;
mod hostile_deflate;
mod messages;
mod peer;
mod puff;
mod sending;
mod splits;
