//! Bare WebSocket load generator and sink for the end-to-end benches.
//!
//! The process on the other side of a bench is this program and never a library under test: what is measured must not
//! depend on the speed of a competitor's client, nor on our own. It speaks just enough of RFC 6455 for that, and trusts
//! its peer in everything but the payloads, which it checks one by one.
//!
//! Each mode prints JSON lines on stdout: first what the harness needs to go on (`port` or `connected`), at the end the
//! result. A run is bounded by `--timeout` and by the life of the process that started it.
//!
//! | mode    | role   | does                                                                          |
//! |---------|--------|-------------------------------------------------------------------------------|
//! | `feed`  | server | waits for one frame, then sends N messages as fast as the socket takes them     |
//! | `sink`  | server | counts and checks the N messages of one client                                |
//! | `echo`  | server | sends each message back                                                       |
//! | `sinks` | client | C connections that each count and check N messages                            |
//! | `spread` | client | C connections: when the first and the last of them has each of N messages     |
//! | `channels` | client | C connections with a hundred channels each, on which each counts every one  |
//! | `stalled` | client | C connections to one channel, of which the first may not read              |
//! | `idle`  | client | C connections that are held open until a line or the end of stdin             |
//! | `drops` | server | streams a message each millisecond, and resets each connection after a while  |
//! | `pair`  | server | two servers of one numbered stream, of which one dies at a time               |
//! | `flaps` | server | completes each handshake, and ends the connection at once                     |

mod args;
mod channels;
mod clients;
mod feed;
mod frames;
mod guard;
mod handshake;
mod outages;
mod payload;
mod ready;
mod report;
mod sha1;
mod sink;
mod spread;
mod stalled;

use std::io::{self, ErrorKind};

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_default();
    let args = args::Args::parse(words)?;
    guard::bound_life(args.number("timeout", 60)?);
    if let Some(core) = args.optional("core") {
        guard::pin(core);
    }
    match mode.as_str() {
        "feed" => feed::feed(&args),
        "echo" => feed::echo(&args),
        "sink" => sink::sink(&args),
        "sinks" => sink::sinks(&args),
        "spread" => spread::spread(&args),
        "channels" => channels::channels(&args),
        "stalled" => stalled::stalled(&args),
        "idle" => sink::idle(&args),
        "drops" => outages::drops(&args),
        "pair" => outages::pair(&args),
        "flaps" => outages::flaps(&args),
        other => Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!(
                "unknown mode {other:?}: one of feed, echo, sink, sinks, spread, channels, stalled, idle, drops, pair, flaps"
            ),
        )),
    }
}
