//! The opening handshake of the core through its public surface: heads in, verdicts out.

mod deflate;
mod properties;
mod reader;
mod requests;
mod responses;
