//! Frames in and out of a trusted stream (RFC 6455 section 5.2).

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// Text frame.
pub(crate) const TEXT: u8 = 0x1;
/// Binary frame.
pub(crate) const BINARY: u8 = 0x2;
/// Close frame.
pub(crate) const CLOSE: u8 = 0x8;

/// Length field that says: the length follows in two bytes, or in eight.
const LENGTH_16: u8 = 0x7E;
const LENGTH_64: u8 = 0x7F;

/// Appends one whole frame to `out`: unmasked, as a server sends it, or masked with `mask`.
pub(crate) fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    out.push(0x80 | opcode);
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    if payload.len() < 126 {
        out.push(mask_bit | payload.len() as u8);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        out.push(mask_bit | LENGTH_16);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(mask_bit | LENGTH_64);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    match mask {
        None => out.extend_from_slice(payload),
        Some(mask) => {
            out.extend_from_slice(&mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        }
    }
}

/// Bytes read from a stream, cut into frames.
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// A reader of `capacity` bytes that has `rest` already; a frame must fit in it.
    pub(crate) fn new(capacity: usize, rest: &[u8]) -> Self {
        let mut buffer = vec![0; capacity.max(rest.len())];
        buffer[..rest.len()].copy_from_slice(rest);
        Self { buffer, start: 0, end: rest.len() }
    }

    /// Reads once. `Ok(None)`: a non-blocking stream has nothing now. `Ok(Some(0))`: the end.
    pub(crate) fn fill(&mut self, stream: &mut impl Read) -> io::Result<Option<usize>> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match stream.read(&mut self.buffer[self.end..]) {
            Ok(read) => {
                self.end += read;
                Ok(Some(read))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            // A process under test that ends with unread bytes resets the connection: its end all the same.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame: opcode and unmasked payload. `None`: more bytes are needed.
    pub(crate) fn next(&mut self) -> Option<(u8, &[u8])> {
        let (opcode, mask, payload) = self.next_range()?;
        self.start = payload.end;
        let payload = &mut self.buffer[payload];
        if let Some(mask) = mask {
            unmask(payload, mask);
        }
        Some((opcode, payload))
    }

    fn next_range(&self) -> Option<(u8, Option<[u8; 4]>, Range<usize>)> {
        let bytes = &self.buffer[self.start..self.end];
        let [first, second] = *bytes.first_chunk()?;
        let (length, mut header) = match second & 0x7F {
            LENGTH_16 => (usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
            LENGTH_64 => (u64::from_be_bytes(*bytes[2..].first_chunk()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(*bytes.get(header..)?.first_chunk()?);
            header += 4;
        }
        if bytes.len() - header.min(bytes.len()) < length {
            return None;
        }
        let start = self.start + header;
        Some((first & 0x0F, mask, start..start + length))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::{BINARY, FrameReader, TEXT, push_frame};

    #[test]
    fn frames_of_every_length_form_come_back_at_any_read_size() {
        let payloads: Vec<Vec<u8>> = [0usize, 1, 7, 125, 126, 65_535, 65_536]
            .iter()
            .map(|&size| (0..size).map(|place| place as u8).collect())
            .collect();
        for step in [1, 3, 4096] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let mut wire = Vec::new();
                for payload in &payloads {
                    push_frame(&mut wire, BINARY, payload, mask);
                }
                let mut reader = FrameReader::new(1 << 17, &[]);
                let mut seen = Vec::new();
                for mut chunk in wire.chunks(step) {
                    while !chunk.is_empty() {
                        reader.fill(&mut chunk).unwrap();
                    }
                    while let Some((opcode, payload)) = reader.next() {
                        assert_eq!(opcode, BINARY);
                        seen.push(payload.to_vec());
                    }
                }
                assert!(seen == payloads);
            }
        }
    }

    #[test]
    fn masked_frame_of_the_rfc_6455_example() {
        let mut wire = Vec::new();
        push_frame(&mut wire, TEXT, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(wire, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
