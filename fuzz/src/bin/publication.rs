//! libFuzzer around `websocket_utils_fuzz::publication`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| websocket_utils_fuzz::publication::run(data));
