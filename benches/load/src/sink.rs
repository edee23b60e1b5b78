//! Receivers that count and check: one client of ours, or many connections to a server under test.

use std::fs;
use std::io::{self, BufRead, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::args::Args;
use crate::clients::{self, connect_all};
use crate::frames::{BINARY, CLOSE, FrameReader, TEXT, push_frame};
use crate::guard::{monotonic_ns, pause, raise_descriptor_limit, shared_progress, wait_readable};
use crate::handshake::accept_one;
use crate::payload::{CYCLE, cycle, embedded, send_time};
use crate::ready::Ready;
use crate::report::{self, Histogram};

/// How long a reader looks at an empty socket again and again before it waits for bytes.
const PATIENCE_NS: u64 = 2_000_000;
/// How long it waits at most before it looks again.
const WAIT_MS: i32 = 50;
/// Read buffer of each of many connections: small enough that those of ten stay in the cache.
const SINK_BUFFER: usize = 1 << 16;
/// More connections than that have smaller ones.
const FEW: u64 = 100;

/// What a receiver expects in each message, and what it found.
struct Checker {
    expected: Vec<Vec<u8>>,
    /// Set: payloads carry their send time, the first `skip` of each connection are not recorded.
    latency: Option<(Histogram, u64)>,
    /// Set: payloads are compressed. Those of the first connection are kept, up to a cycle, for who can inflate them; those
    /// of all others must be the same.
    record: Option<Vec<Vec<u8>>>,
    /// Set: each frame holds any number of messages, each inside of something else.
    is_embedded: bool,
    wrong: u64,
}

impl Checker {
    fn new(args: &Args) -> io::Result<Self> {
        let latency = match args.text("latency") {
            Some(_) => Some((Histogram::new(), args.number("skip", 0)?)),
            None => None,
        };
        let record = args.text("record").map(|_| Vec::new());
        Ok(Self { expected: cycle(), latency, record, is_embedded: args.text("embedded").is_some(), wrong: 0 })
    }

    fn check(&mut self, index: u64, payload: &[u8], now: u64) {
        if let Some(record) = &mut self.record {
            match record.get(index as usize) {
                Some(first) => self.wrong += u64::from(first != payload),
                None if index < CYCLE as u64 => record.push(payload.to_vec()),
                None => {}
            }
            return;
        }
        match &mut self.latency {
            None => {
                if payload != self.expected[index as usize % CYCLE] {
                    self.wrong += 1;
                }
            }
            Some((histogram, skip)) => match send_time(payload) {
                Some(sent) if index >= *skip => histogram.record(now.saturating_sub(sent)),
                Some(_) => {}
                None => self.wrong += 1,
            },
        }
    }

    /// Checks what one frame brought a connection that has `index` messages; returns how many messages that is.
    fn check_frame(&mut self, index: u64, payload: &[u8], now: u64) -> u64 {
        if !self.is_embedded {
            self.check(index, payload, now);
            return 1;
        }
        let mut found = 0;
        for message in embedded(payload) {
            self.check(index + found, message, now);
            found += 1;
        }
        found
    }

    fn latency_json(&self) -> String {
        self.latency.as_ref().map_or(String::from("null"), |(histogram, _)| histogram.json())
    }
}

/// One connection that counts.
struct Counter {
    stream: TcpStream,
    reader: FrameReader,
    messages: u64,
    bytes: u64,
    open: bool,
}

impl Counter {
    fn new((stream, rest): (TcpStream, Vec<u8>), buffer: usize) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let reader = FrameReader::new(buffer, &rest);
        Ok(Self { stream, reader, messages: 0, bytes: 0, open: true })
    }

    /// Reads once and takes all whole frames; true when bytes came.
    fn turn(&mut self, checker: &mut Checker) -> io::Result<bool> {
        let Some(read) = self.reader.fill(&mut self.stream)? else {
            return Ok(false);
        };
        self.open = read > 0;
        self.bytes += read as u64;
        let now = monotonic_ns();
        while let Some((opcode, payload)) = self.reader.next() {
            match opcode {
                TEXT | BINARY => self.messages += checker.check_frame(self.messages, payload, now),
                CLOSE => self.open = false,
                _ => {}
            }
        }
        Ok(true)
    }
}

/// Counts the messages of one client until `--messages N` are here, reports, and stays until the client closes.
pub(crate) fn sink(args: &Args) -> io::Result<()> {
    let mut checker = Checker::new(args)?;
    let counter = Counter::new(accept_one(None)?, 1 << 18)?;
    count(&mut [counter], args.number("messages", 0)?, &mut checker, None, None)
}

/// Connects `--clients C` to `--port P` and counts `--messages N` on each of them. With `--record FILE` they are compressed:
/// compared with each other here, and written there, each behind its length in four bytes. With `--embedded 1` messages are
/// looked for in what frames bring.
pub(crate) fn sinks(args: &Args) -> io::Result<()> {
    raise_descriptor_limit();
    let mut checker = Checker::new(args)?;
    let progress = args.text("progress").map(shared_progress).transpose()?;
    let buffer = if args.number("clients", 1)? > FEW { SINK_BUFFER / 4 } else { SINK_BUFFER };
    let mut counters = connect_all(args, |_| args.text("hello").map(str::to_owned))?
        .into_iter()
        .map(|connected| Counter::new((connected.stream, connected.rest), buffer))
        .collect::<io::Result<Vec<_>>>()?;
    report::line(&format!("{{\"connected\":{}}}", counters.len()));
    count(&mut counters, args.number("messages", 0)?, &mut checker, progress, args.text("record"))
}

/// Holds `--clients C` connections to `--port P` open until a line or the end of stdin. With `--message-bytes N` each of them
/// sends one message of that size first; with `--channel NAME` each subscribes to it, with `--own 1` to one of its own, and
/// waits for the answer where the server agreed to `--subprotocol NAME`.
pub(crate) fn idle(args: &Args) -> io::Result<()> {
    raise_descriptor_limit();
    let is_own = args.text("own").is_some();
    let first = args.number("first", 0)?;
    let mut connections = connect_all(args, |place| {
        let channel = args.text("channel")?;
        Some(clients::subscribe(&[if is_own { format!("{channel}{}", first + place) } else { channel.to_owned() }]))
    })?;
    if args.text("channel").is_some() {
        for connected in connections.iter_mut().filter(|connected| connected.has_subprotocol) {
            let mut reader = FrameReader::new(4096, &connected.rest);
            while reader.next().is_none() {
                if reader.fill(&mut connected.stream)? == Some(0) {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    let size = args.number("message-bytes", 0)? as usize;
    if size > 0 {
        let mut frame = Vec::new();
        push_frame(&mut frame, BINARY, &vec![b'x'; size], Some([1, 2, 3, 4]));
        for connected in &mut connections {
            connected.stream.write_all(&frame)?;
        }
    }
    report::line(&format!("{{\"connected\":{}}}", connections.len()));
    io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

fn count(
    counters: &mut [Counter],
    messages: u64,
    checker: &mut Checker,
    progress: Option<&AtomicU64>,
    record: Option<&str>,
) -> io::Result<()> {
    let (mut first, mut last) = (0, 0);
    let mut quiet_since = monotonic_ns();
    // Of many, those that have something are asked for; a few are quicker looked at.
    let mut ready = if counters.len() as u64 > FEW {
        Some(Ready::new(counters.iter().map(|counter| &counter.stream))?)
    } else {
        None
    };
    loop {
        let mut busy = false;
        match &mut ready {
            Some(ready) => {
                let mut ended = Vec::new();
                for &place in ready.wait(0) {
                    busy |= counters[place].turn(checker)?;
                    if !counters[place].open {
                        ended.push(place);
                    }
                }
                for place in ended {
                    ready.forget(&counters[place].stream);
                }
            }
            None => {
                for counter in counters.iter_mut().filter(|counter| counter.open) {
                    busy |= counter.turn(checker)?;
                }
            }
        }
        let open = counters.iter().filter(|counter| counter.open);
        let slowest = open.map(|counter| counter.messages).min().unwrap_or(u64::MAX);
        if busy {
            quiet_since = monotonic_ns();
            // Brokers say something of their own first.
            if first == 0 && counters.iter().any(|counter| counter.messages > 0) {
                first = quiet_since;
            }
            last = quiet_since;
            if let Some(progress) = progress {
                progress.store(slowest, Ordering::Release);
            }
        }
        if slowest == u64::MAX || slowest >= messages {
            break;
        }
        if !busy {
            if monotonic_ns() - quiet_since > PATIENCE_NS {
                wait_readable(&counters[0].stream, WAIT_MS);
            } else {
                pause();
            }
        }
    }
    let total: u64 = counters.iter().map(|counter| counter.messages).sum();
    let bytes: u64 = counters.iter().map(|counter| counter.bytes).sum();
    let fewest = counters.iter().map(|counter| counter.messages).min();
    if let (Some(path), Some(payloads)) = (record, &checker.record) {
        let mut file = Vec::new();
        for payload in payloads {
            file.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            file.extend_from_slice(payload);
        }
        fs::write(path, file)?;
    }
    report::line(&format!(
        "{{\"messages\":{total},\"least\":{},\"bytes\":{bytes},\"ns\":{},\"wrong\":{},\"latency\":{}}}",
        fewest.unwrap_or(0),
        last - first,
        checker.wrong,
        checker.latency_json()
    ));
    // The process under test ends the connections: leaving first would give it errors to handle in its last turns.
    while counters.iter().any(|counter| counter.open) {
        for counter in counters.iter_mut().filter(|counter| counter.open) {
            wait_readable(&counter.stream, WAIT_MS);
            counter.turn(checker)?;
        }
    }
    Ok(())
}

/// Reads once on a non-blocking stream, polling first and sleeping later; 0 at the end.
pub(crate) fn next_read(reader: &mut FrameReader, stream: &mut TcpStream) -> io::Result<usize> {
    let since = monotonic_ns();
    loop {
        if let Some(read) = reader.fill(stream)? {
            return Ok(read);
        }
        if monotonic_ns() - since > PATIENCE_NS {
            wait_readable(stream, WAIT_MS);
        }
    }
}
