//! Inflating written plainly after RFC 1951: an oracle that shares nothing with zlib, and sees every distance.

/// What a raw stream, read to the end of its bytes, inflates to, and the greatest distance in it.
pub(crate) fn inflate(stream: &[u8]) -> (Vec<u8>, usize) {
    let mut reader = Reader { stream, at: 0 };
    let (mut out, mut greatest) = (Vec::new(), 0);
    while reader.at < stream.len() * 8 {
        assert_eq!(reader.bits(1), 0, "no final block is written");
        match reader.bits(2) {
            0 => {
                reader.at = reader.at.next_multiple_of(8);
                let (len, complement) = (reader.bits(16), reader.bits(16));
                assert_eq!(len, complement ^ 0xffff);
                out.extend((0..len).map(|_| reader.bits(8) as u8));
            }
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|symbol| match symbol {
                        144..=255 => 9,
                        256..=279 => 7,
                        _ => 8,
                    })
                    .collect();
                reader.codes(&Code::new(&lengths), &Code::new(&[5; 30]), &mut out, &mut greatest);
            }
            2 => {
                let (literals, distances) = reader.dynamic_codes();
                reader.codes(&literals, &distances, &mut out, &mut greatest);
            }
            _ => panic!("reserved block type"),
        }
    }
    (out, greatest)
}

struct Reader<'a> {
    stream: &'a [u8],
    /// In bits.
    at: usize,
}

/// Symbols by the length of their codes, in the codes' order (RFC 1951 section 3.2.2).
struct Code {
    by_length: [Vec<usize>; 16],
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut by_length: [Vec<usize>; 16] = Default::default();
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            by_length[usize::from(*length)].push(symbol);
        }
        Self { by_length }
    }
}

impl Reader<'_> {
    fn bits(&mut self, count: usize) -> usize {
        let bits = (0..count).fold(0, |bits, index| {
            let at = self.at + index;
            bits | usize::from(self.stream[at / 8] >> (at % 8) & 1) << index
        });
        self.at += count;
        bits
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let (mut value, mut first) = (0, 0);
        for symbols in &code.by_length[1..] {
            value = value << 1 | self.bits(1);
            first <<= 1;
            if value - first < symbols.len() {
                return symbols[value - first];
            }
            first += symbols.len();
        }
        panic!("no such code");
    }

    fn dynamic_codes(&mut self) -> (Code, Code) {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances, lengths) = (self.bits(5) + 257, self.bits(5) + 1, self.bits(4) + 4);
        let mut of_lengths = [0; 19];
        for place in &ORDER[..lengths] {
            of_lengths[*place] = self.bits(3) as u8;
        }
        let of_lengths = Code::new(&of_lengths);
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match self.symbol(&of_lengths) {
                16 => (lengths[lengths.len() - 1], 3 + self.bits(2)),
                17 => (0, 3 + self.bits(3)),
                18 => (0, 11 + self.bits(7)),
                length => (length as u8, 1),
            };
            lengths.extend(std::iter::repeat_n(length, times));
        }
        (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]))
    }

    fn codes(&mut self, literals: &Code, distances: &Code, out: &mut Vec<u8>, greatest: &mut usize) {
        loop {
            let symbol = self.symbol(literals);
            let length = match symbol {
                0..=255 => {
                    out.push(symbol as u8);
                    continue;
                }
                256 => return,
                257..=264 => symbol - 254,
                265..=284 => {
                    let extra = (symbol - 261) / 4;
                    (((symbol - 265) % 4 + 4) << extra) + 3 + self.bits(extra)
                }
                _ => 258,
            };
            let distance = match self.symbol(distances) {
                symbol @ 0..=3 => symbol + 1,
                symbol => {
                    let extra = symbol / 2 - 1;
                    ((symbol % 2 + 2) << extra) + 1 + self.bits(extra)
                }
            };
            *greatest = distance.max(*greatest);
            for _ in 0..length {
                out.push(out[out.len() - distance]);
            }
        }
    }
}
