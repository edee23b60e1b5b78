//! libFuzzer around `websocket_utils_fuzz::codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| websocket_utils_fuzz::codec::run_msgpack(data));
