//! WebSocket protocol core without I/O: bytes in, events out; messages in, bytes out.
//!
//! Nothing here knows a socket, a clock, a source of randomness, a thread or Python. Masking keys and
//! time are arguments. [`connection::Connection`] is the entry point; [`codec`] turns payloads into
//! typed values through sinks; `log` holds broadcast frames for many cursors, `backlog` what waits for one that is too slow.
#![deny(missing_docs)]

mod assembler;
pub mod backlog;
pub mod close;
pub mod codec;
pub mod connection;
mod decoder;
pub mod deflate;
pub mod encoder;
pub mod envelope;
pub mod error;
pub mod handshake;
pub mod header;
mod inflater;
pub mod limits;
pub mod log;
pub mod mask;
pub mod opcode;
pub mod positions;
pub mod publication;
pub mod pubsub;
pub mod utf8;
