//! Many connections to a server under test: opened one by one, read as they become readable.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::args::Args;
use crate::frames::{BINARY, CLOSE, FrameReader, TEXT, push_frame};
use crate::guard::{monotonic_ns, pause};
use crate::handshake::{Connected, Offer, connect};
use crate::ready::Ready;

/// How long connections are looked at again and again before a sleep in the kernel: longer than messages are apart. A
/// sleeper costs its server a wake-up.
const PATIENCE_NS: u64 = 200_000_000;
const WAIT_MS: i32 = 10;

/// Connects `--clients C` to `--port P`; each of them sends what `hello` has for its number.
pub(crate) fn connect_all(args: &Args, hello: impl Fn(u64) -> Option<String>) -> io::Result<Vec<Connected>> {
    let port = args.number("port", 0)? as u16;
    let offer =
        Offer { path: args.text("path"), extensions: args.text("extensions"), subprotocol: args.text("subprotocol") };
    let mut connections = Vec::new();
    for place in 0..args.number("clients", 1)? {
        let mut connected = connect(port, offer)?;
        if let Some(text) = hello(place) {
            let mut frame = Vec::new();
            push_frame(&mut frame, TEXT, text.as_bytes(), Some([1, 2, 3, 4]));
            connected.stream.write_all(&frame)?;
        }
        connections.push(connected);
    }
    Ok(connections)
}

/// The message that subscribes to `channels`.
pub(crate) fn subscribe(channels: &[String]) -> String {
    format!("{{\"type\":\"Subscribe\",\"channels\":[\"{}\"]}}", channels.join("\",\""))
}

/// What is done with what comes.
pub(crate) trait Taker {
    /// Takes a message of the connection at `place`, and the time of the read that brought it.
    fn take(&mut self, place: usize, payload: &[u8], now: u64);

    /// Whether that was all; asked for after each look at the connections.
    fn is_done(&mut self) -> bool;
}

/// Nobody: what comes is of no interest.
struct Nobody;

impl Taker for Nobody {
    fn take(&mut self, _: usize, _: &[u8], _: u64) {}

    fn is_done(&mut self) -> bool {
        false
    }
}

/// A connection that is read.
struct Client {
    stream: TcpStream,
    reader: FrameReader,
    is_open: bool,
}

/// All connections.
pub(crate) struct Clients {
    each: Vec<Client>,
    ready: Ready,
    open: usize,
}

impl Clients {
    /// Takes over connections; a frame must fit in `buffer` bytes.
    pub(crate) fn new(connections: Vec<Connected>, buffer: usize) -> io::Result<Self> {
        let ready = Ready::new(connections.iter().map(|connected| &connected.stream))?;
        let each = connections
            .into_iter()
            .map(|Connected { stream, rest, .. }| {
                stream.set_nonblocking(true)?;
                Ok(Client { stream, reader: FrameReader::new(buffer, &rest), is_open: true })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { open: each.len(), each, ready })
    }

    /// Leaves the connection at `place` alone: what comes for it stays in the kernel.
    pub(crate) fn stall(&mut self, place: usize) {
        self.ready.forget(&self.each[place].stream);
        self.open -= 1;
    }

    /// Reads a connection that was left alone, alone, until `take` says that it was the last message, or its end: false.
    pub(crate) fn read_stalled(&mut self, place: usize, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let client = &mut self.each[place];
        client.stream.set_nonblocking(false)?;
        loop {
            while let Some((opcode, payload)) = client.reader.next() {
                if matches!(opcode, TEXT | BINARY) && take(payload) {
                    return Ok(true);
                }
            }
            if client.reader.fill(&mut client.stream)? == Some(0) {
                return Ok(false);
            }
        }
    }

    /// Reads until `taker` has all, or nobody is left.
    pub(crate) fn read(&mut self, taker: &mut impl Taker) -> io::Result<()> {
        let mut quiet_since = monotonic_ns();
        while self.open > 0 && !taker.is_done() {
            let waits = monotonic_ns() - quiet_since > PATIENCE_NS;
            let mut is_busy = false;
            let mut ended = Vec::new();
            for &place in self.ready.wait(if waits { WAIT_MS } else { 0 }) {
                let client = &mut self.each[place];
                let Some(read) = client.reader.fill(&mut client.stream)? else { continue };
                let now = monotonic_ns();
                is_busy = true;
                client.is_open &= read > 0;
                while let Some((opcode, payload)) = client.reader.next() {
                    match opcode {
                        TEXT | BINARY => taker.take(place, payload, now),
                        CLOSE => client.is_open = false,
                        _ => {}
                    }
                }
                if !client.is_open {
                    ended.push(place);
                }
            }
            for place in ended {
                self.ready.forget(&self.each[place].stream);
                self.open -= 1;
            }
            if is_busy {
                quiet_since = monotonic_ns();
            } else if !waits {
                pause();
            }
        }
        Ok(())
    }

    /// Reads until the process under test has ended all connections: leaving first would give it errors to handle.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        self.read(&mut Nobody)
    }
}
