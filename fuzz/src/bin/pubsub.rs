//! libFuzzer around `websocket_utils_fuzz::pubsub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| websocket_utils_fuzz::pubsub::run(data));
