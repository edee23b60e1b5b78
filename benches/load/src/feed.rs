//! Servers for a client under test: a saturating feed, and an echo.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use crate::args::Args;
use crate::frames::{BINARY, CLOSE, FrameReader, TEXT, push_frame};
use crate::guard::{monotonic_ns, pause};
use crate::handshake::accept_one;
use crate::payload::{CYCLE, cycle, price};
use crate::report;
use crate::sink::next_read;

/// Frames per write of a feed in blocks: 8 cycles are 63 504 bytes, nearly 64 KiB.
const BLOCK: usize = 8 * CYCLE;

/// Waits for the first frame of one client, then sends `--messages N` and a close frame, as fast as the socket takes
/// them: in blocks of nearly 64 KiB, or with `--per-write 1` one frame per write. `--frames FILE` has other frames than those
/// of the usual messages, and `--extensions TEXT` is what the server says to have negotiated for them.
pub(crate) fn feed(args: &Args) -> io::Result<()> {
    let messages = args.number("messages", 100_000)? as usize;
    let per_write = args.number("per-write", BLOCK as u64)?.max(1) as usize;
    let cycle = match args.text("frames") {
        Some(path) => read_frames(path)?,
        None => usual_frames(),
    };
    let (mut stream, rest) = accept_one(args.text("extensions"))?;
    let mut reader = FrameReader::new(1 << 16, &rest);
    if wait_for(&mut reader, &mut stream, |_| true)?.is_none() {
        return Ok(());
    }

    // Two cycles more than a write needs: a write may begin anywhere in the first.
    let mut frames = Vec::new();
    let mut edges = vec![0];
    for frame in cycle.iter().cycle().take(per_write + cycle.len()) {
        frames.extend_from_slice(frame);
        edges.push(frames.len());
    }
    stream.set_nonblocking(true)?;
    let started = monotonic_ns();
    let mut sent = 0;
    while sent < messages {
        let first = sent % cycle.len();
        let count = per_write.min(messages - sent);
        write_pausing(&mut stream, &frames[edges[first]..edges[first + count]])?;
        sent += count;
    }
    let taken = monotonic_ns() - started;
    stream.set_nonblocking(false)?;

    let mut close = Vec::new();
    push_frame(&mut close, CLOSE, &1000u16.to_be_bytes(), None);
    stream.write_all(&close)?;
    // RFC 6455 section 7.1.1: the server closes TCP first, once the peer's close frame is here.
    wait_for(&mut reader, &mut stream, |opcode| opcode == CLOSE)?;
    let price_sum: f64 = (0..messages).map(price).sum();
    report::line(&format!("{{\"messages\":{messages},\"ns\":{taken},\"price_sum\":{price_sum}}}"));
    Ok(())
}

fn usual_frames() -> Vec<Vec<u8>> {
    let payloads = cycle();
    payloads
        .iter()
        .map(|payload| {
            let mut frame = Vec::new();
            push_frame(&mut frame, TEXT, payload, None);
            frame
        })
        .collect()
}

/// Reads whole frames, each behind its length in four bytes.
fn read_frames(path: &str) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut frames = Vec::new();
    while let Some((size, tail)) = rest.split_first_chunk() {
        let Some((frame, tail)) = tail.split_at_checked(u32::from_be_bytes(*size) as usize) else { break };
        frames.push(frame.to_vec());
        rest = tail;
    }
    if frames.is_empty() || !rest.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("{path}: no frames behind their lengths")));
    }
    Ok(frames)
}

/// Sends each data frame of one client back, until it closes.
pub(crate) fn echo(_args: &Args) -> io::Result<()> {
    let (mut stream, rest) = accept_one(None)?;
    stream.set_nonblocking(true)?;
    let mut reader = FrameReader::new(1 << 20, &rest);
    let mut out = Vec::new();
    let mut echoed = 0u64;
    loop {
        out.clear();
        let mut closed = false;
        while let Some((opcode, payload)) = reader.next() {
            match opcode {
                TEXT | BINARY => {
                    push_frame(&mut out, opcode, payload, None);
                    echoed += 1;
                }
                CLOSE => {
                    push_frame(&mut out, CLOSE, payload, None);
                    closed = true;
                }
                _ => {}
            }
        }
        write_pausing(&mut stream, &out)?;
        if closed || next_read(&mut reader, &mut stream)? == 0 {
            report::line(&format!("{{\"messages\":{echoed}}}"));
            return Ok(());
        }
    }
}

/// Writes all, with a short pause where the socket is full.
fn write_pausing(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads on a blocking stream until a frame is `wanted`; `None` at the end of the stream.
fn wait_for(reader: &mut FrameReader, stream: &mut TcpStream, wanted: impl Fn(u8) -> bool) -> io::Result<Option<u8>> {
    loop {
        while let Some((opcode, _)) = reader.next() {
            if wanted(opcode) {
                return Ok(Some(opcode));
            }
        }
        if reader.fill(stream)? == Some(0) {
            return Ok(None);
        }
    }
}
