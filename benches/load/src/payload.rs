//! The messages of the benches: a cycle of 64 different `PriceUpdate`s of 122 bytes each.
//!
//! `benches/_payload.py` builds the same ones; `sink` and `sinks` compare what arrives with these, byte by byte.

/// Length of the cycle.
pub(crate) const CYCLE: usize = 64;
/// What is added to a send time so that it has the 16 digits of the other messages' timestamps.
pub(crate) const TIME_BASE: u64 = 1_000_000_000_000_000;

const MARKETS: [(&str, &str); 8] = [
    ("SOL", "USDC"),
    ("BTC", "USDT"),
    ("ETH", "USDC"),
    ("JUP", "USDT"),
    ("RAY", "USDC"),
    ("WIF", "USDT"),
    ("JTO", "USDC"),
    ("HNT", "USDT"),
];

/// Price of the message at place `index`: eight characters, and exact in binary, so that sums of it are exact too.
pub(crate) fn price(index: usize) -> f64 {
    let index = (index % CYCLE) as u32;
    100.0 + f64::from(index) + f64::from((2 * index + 1) % 16) / 16.0
}

/// JSON text of the message at place `index`.
pub(crate) fn message(index: usize) -> Vec<u8> {
    let index = index % CYCLE;
    let (input, output) = MARKETS[index % MARKETS.len()];
    format!(
        "{{\"type\":\"PriceUpdate\",\"input_mint\":\"{input}\",\"output_mint\":\"{output}\",\"price\":{},\"volume\":{},\"timestamp\":{}}}",
        price(index),
        1000 + 37 * index,
        1_718_035_200_000_000 + 1001 * index as u64
    )
    .into_bytes()
}

/// All messages of the cycle.
pub(crate) fn cycle() -> Vec<Vec<u8>> {
    (0..CYCLE).map(message).collect()
}

/// When a message with a send time in its `timestamp` was sent, in nanoseconds of the monotonic clock.
pub(crate) fn send_time(payload: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"timestamp\":";
    let start = payload.windows(KEY.len()).rposition(|part| part == KEY)? + KEY.len();
    let digits = payload[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.fold(0u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    value.checked_sub(TIME_BASE)
}

#[cfg(test)]
mod tests {
    use super::{CYCLE, TIME_BASE, cycle, price, send_time};

    #[test]
    fn every_message_has_the_size_of_the_issue() {
        assert!(cycle().iter().all(|message| message.len() == 122));
    }

    #[test]
    fn prices_sum_exactly_and_differ() {
        let prices: Vec<f64> = (0..CYCLE).map(price).collect();
        assert!(prices.iter().all(|price| (price * 16.0).fract().abs() < f64::EPSILON));
        assert!(prices.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn send_time_is_read_behind_the_base() {
        let payload = format!("{{\"price\":1.5,\"timestamp\":{}}}", TIME_BASE + 42);
        assert_eq!(send_time(payload.as_bytes()), Some(42));
        assert_eq!(send_time(b"{}"), None);
    }
}
