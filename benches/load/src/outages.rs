//! Servers whose connections do not last. What a client under test makes of it is measured on the machine's clock.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::args::Args;
use crate::frames::{CLOSE, FrameReader, TEXT, push_frame};
use crate::guard::{monotonic_ns, reset, sleep_until, wait_readable};
use crate::handshake::{accept, listen};
use crate::report;

/// Nanoseconds between two messages of a stream.
const SPACING_NS: u64 = 1_000_000;
/// How long the client's close frame is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the killer of a pair looks whether both are up.
const LOOK_NS: u64 = 1_000_000;

/// Streams a message each millisecond, the first one right behind the handshake, and resets each connection after
/// `--live-us`; connection number `--drops` lasts until the client leaves. Each message says the number of its
/// connection.
///
/// Reports when each connection was reset.
pub(crate) fn drops(args: &Args) -> io::Result<()> {
    let drops = args.number("drops", 100)?;
    let live_ns = 1000 * args.number("live-us", 100_000)?;
    let (listener, port) = listen()?;
    report::line(&format!("{{\"port\":{port}}}"));
    let mut dropped = Vec::new();
    for connection in 0..=drops {
        let (mut stream, _) = accept(&listener, None)?;
        let begin = monotonic_ns();
        let end = if connection == drops { u64::MAX } else { begin + live_ns };
        let mut due = begin;
        let mut sequence = 0;
        while due < end {
            sleep_until(due);
            let sent = send_text(&mut stream, &format!("{{\"connection\":{connection},\"sequence\":{sequence}}}"));
            if connection == drops && sent.is_err() {
                break;
            }
            sent?;
            sequence += 1;
            due += SPACING_NS;
        }
        if connection < drops {
            sleep_until(end);
            dropped.push(monotonic_ns());
            reset(stream);
        }
    }
    report::line(&format!("{{\"dropped\":{dropped:?}}}"));
    Ok(())
}

/// One of two servers, as the one that kills them sees it.
struct Leg {
    /// When its connection was opened; 0: it has none.
    open_since: AtomicU64,
    /// When it is to die; 0: it lives on.
    dies_at: AtomicU64,
    /// When it died last.
    died_at: AtomicU64,
}

/// Two servers of one stream: message number n is due n milliseconds after the start, at both. They die by turns, the
/// first one first, at a random moment after both were up for `--live-us`, `--kills` times. A server that has died is
/// up again at once.
///
/// Reports when they died.
pub(crate) fn pair(args: &Args) -> io::Result<()> {
    let kills = args.number("kills", 50)?;
    let live_ns = 1000 * args.number("live-us", 50_000)?;
    let mut random = args.number("seed", 1)? | 1;
    let (first, first_port) = listen()?;
    let (second, second_port) = listen()?;
    report::line(&format!("{{\"ports\":[{first_port},{second_port}]}}"));
    let legs =
        [const { Leg { open_since: AtomicU64::new(0), dies_at: AtomicU64::new(0), died_at: AtomicU64::new(0) } }; 2];
    let is_over = AtomicBool::new(false);
    let begin = monotonic_ns();
    let mut killed = Vec::new();
    thread::scope(|scope| {
        let servers = [(first, 0), (second, 1)].map(|(listener, number)| {
            let (legs, is_over) = (&legs, &is_over);
            scope.spawn(move || {
                // The client listens to the server that is there first: the first one.
                while number == 1 && legs[0].open_since.load(Ordering::Acquire) == 0 {
                    sleep_until(monotonic_ns() + LOOK_NS);
                }
                serve_leg(&listener, &legs[number], begin, is_over)
            })
        });
        for kill in 0..kills {
            let victim = &legs[kill as usize % 2];
            // A few bits of xorshift: so much of chance as a moment needs.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let extra_ns = random % (10 * SPACING_NS);
            while !legs.iter().all(|leg| is_up(leg, live_ns)) {
                sleep_until(monotonic_ns() + LOOK_NS);
            }
            victim.dies_at.store(monotonic_ns() + extra_ns, Ordering::Release);
            while victim.dies_at.load(Ordering::Acquire) != 0 {
                sleep_until(monotonic_ns() + LOOK_NS);
            }
            killed.push(victim.died_at.load(Ordering::Acquire));
        }
        is_over.store(true, Ordering::Release);
        servers.into_iter().try_for_each(|server| server.join().map_err(|_| io::Error::other("a server panicked"))?)
    })?;
    report::line(&format!("{{\"killed\":{killed:?}}}"));
    Ok(())
}

fn is_up(leg: &Leg, live_ns: u64) -> bool {
    let since = leg.open_since.load(Ordering::Acquire);
    since != 0 && monotonic_ns() >= since + live_ns
}

/// Serves one connection after the other, until the client leaves when all is over.
fn serve_leg(listener: &TcpListener, leg: &Leg, begin: u64, is_over: &AtomicBool) -> io::Result<()> {
    loop {
        let (mut stream, _) = accept(listener, None)?;
        leg.open_since.store(monotonic_ns(), Ordering::Release);
        let mut number = (monotonic_ns() - begin) / SPACING_NS + 1;
        loop {
            let due = begin + number * SPACING_NS;
            let dies_at = leg.dies_at.load(Ordering::Acquire);
            if dies_at != 0 && dies_at <= due {
                sleep_until(dies_at);
                leg.open_since.store(0, Ordering::Release);
                leg.died_at.store(monotonic_ns(), Ordering::Release);
                reset(stream);
                leg.dies_at.store(0, Ordering::Release);
                break;
            }
            sleep_until(due);
            let text = format!("{{\"type\":\"Tick\",\"channel\":\"ticks\",\"sequence\":{number},\"due_ns\":{due}}}");
            if let Err(error) = send_text(&mut stream, &text) {
                return if is_over.load(Ordering::Acquire) { Ok(()) } else { Err(error) };
            }
            number += 1;
        }
    }
}

/// Completes handshakes for `--seconds` and ends each connection at once: with `--code` by a close frame, without it by
/// the end of TCP alone. Reports how many there were.
pub(crate) fn flaps(args: &Args) -> io::Result<()> {
    let seconds = args.number("seconds", 1)?;
    let code = args.number("code", 0)? as u16;
    let (listener, port) = listen()?;
    report::line(&format!("{{\"port\":{port}}}"));
    let mut dials = 0;
    // Counted from the first dial on.
    let mut end = u64::MAX;
    while monotonic_ns() < end {
        if end != u64::MAX {
            let left_ms = end.saturating_sub(monotonic_ns()) / 1_000_000 + 1;
            wait_readable(&listener, left_ms as i32);
            listener.set_nonblocking(true)?;
        }
        let accepted = accept_flapping(&listener, code);
        listener.set_nonblocking(false)?;
        match accepted {
            Ok(()) => dials += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if end == u64::MAX {
            end = monotonic_ns() + seconds * 1_000_000_000;
        }
    }
    report::line(&format!("{{\"dials\":{dials}}}"));
    Ok(())
}

fn accept_flapping(listener: &TcpListener, code: u16) -> io::Result<()> {
    let (mut stream, rest) = accept(listener, None)?;
    if code == 0 {
        return Ok(());
    }
    let mut frame = Vec::new();
    push_frame(&mut frame, CLOSE, &code.to_be_bytes(), None);
    stream.write_all(&frame)?;
    // The client's close frame, then the end of TCP (RFC 6455 section 7.1.1).
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = FrameReader::new(1 << 12, &rest);
    while !matches!(reader.next(), Some((CLOSE, _))) {
        if !matches!(reader.fill(&mut stream)?, Some(read) if read > 0) {
            break;
        }
    }
    Ok(())
}

fn send_text(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let mut frame = Vec::new();
    push_frame(&mut frame, TEXT, text.as_bytes(), None);
    stream.write_all(&frame)
}
