//! Results: JSON lines for the harness and a latency histogram.

use std::io::{Write, stdout};

/// Prints one line and flushes it; a harness that is gone is no error worth a message.
pub(crate) fn line(json: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{json}").and_then(|()| out.flush());
}

/// Buckets per power of two: a percentile is right to 1/64, 1.6 %.
const STEPS: u64 = 64;

/// Histogram of nanoseconds with a constant relative error.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; (STEPS * 64) as usize], count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// The upper edge of the bucket that holds the value at `per_mille` of all values.
    fn percentile(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index as u64).min(self.max);
            }
        }
        0
    }

    pub(crate) fn json(&self) -> String {
        format!(
            "{{\"count\":{},\"p50\":{},\"p90\":{},\"p99\":{},\"p999\":{},\"max\":{}}}",
            self.count,
            self.percentile(500),
            self.percentile(900),
            self.percentile(990),
            self.percentile(999),
            self.max
        )
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = u64::from(value.ilog2());
    let shift = power - u64::from(STEPS.trailing_zeros());
    ((shift + 1) * STEPS + (value >> shift) - STEPS) as usize
}

fn upper_edge(index: u64) -> u64 {
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::{Histogram, bucket, upper_edge};

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..10_000).chain([1 << 20, (1 << 20) + 12_345, 1 << 40]) {
            let index = bucket(value) as u64;
            assert!(value <= upper_edge(index));
            assert!(index == 0 || value > upper_edge(index - 1));
        }
    }

    #[test]
    fn percentiles_of_a_hundred_values() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|value| histogram.record(value * 10));
        assert!((500..=508).contains(&histogram.percentile(500)));
        assert!((990..=1000).contains(&histogram.percentile(990)));
        assert_eq!(histogram.percentile(1000), 1000);
    }
}
