//! Bare WebSocket load generator and sink.
fn main() {}
