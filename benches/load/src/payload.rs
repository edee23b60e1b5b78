//! The messages of the benches: a cycle of 64 different `PriceUpdate`s of 122 bytes each.
//!
//! `benches/_payload.py` builds the same ones; `sink` and `sinks` compare what arrives with these, byte by byte.

/// Bytes of each message.
const SIZE: usize = 122;
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

/// The messages inside of what a broker made of them: each begins with its type, and all have one size.
pub(crate) fn embedded(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    const KEY: &[u8] = b"{\"type\":\"PriceUpdate\"";
    let mut rest = frame;
    std::iter::from_fn(move || {
        let start = rest.windows(KEY.len()).position(|part| part == KEY)?;
        let (message, tail) = rest[start..].split_at_checked(SIZE)?;
        rest = tail;
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::{CYCLE, SIZE, TIME_BASE, cycle, embedded, price, send_time};

    #[test]
    fn every_message_has_the_size_of_the_issue() {
        assert!(cycle().iter().all(|message| message.len() == SIZE));
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

    #[test]
    fn messages_are_found_inside_of_frames_of_a_broker() {
        let messages = cycle();
        let mut frame = b"{\"connect\":{}}\n".to_vec();
        for message in &messages {
            frame.extend_from_slice(b"{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":");
            frame.extend_from_slice(message);
            frame.extend_from_slice(b"}}}\n");
        }
        assert!(embedded(&frame).eq(messages.iter().map(Vec::as_slice)));
        assert_eq!(embedded(b"{}").count(), 0);
        assert_eq!(embedded(&messages[0][..SIZE - 1]).count(), 0);
    }
}
