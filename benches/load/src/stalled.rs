//! Connections to one channel, of which one may not read: what that is to the others, and what it gets in the end.

use std::io::{self, BufRead};

use crate::args::Args;
use crate::clients::{Clients, Taker, connect_all, subscribe};
use crate::guard::raise_descriptor_limit;
use crate::payload::send_time;
use crate::report::{self, Histogram};

/// Room for a message of those that fill a socket; where no such message comes, no memory is taken for it.
const BUFFER: usize = 1 << 17;

/// The latencies of all who read.
struct Latencies {
    histogram: Histogram,
    /// Messages of each connection that are not timed.
    skip: u64,
    expected: u64,
    missing: usize,
    received: Vec<u64>,
    last_due: u64,
    wrong: u64,
}

impl Taker for Latencies {
    fn take(&mut self, place: usize, payload: &[u8], now: u64) {
        let Some(due) = send_time(payload) else {
            self.wrong += 1;
            return;
        };
        let number = self.received[place];
        self.received[place] += 1;
        self.missing -= usize::from(self.received[place] == self.expected);
        self.last_due = self.last_due.max(due);
        if number >= self.skip {
            self.histogram.record(now.saturating_sub(due));
        }
    }

    fn is_done(&mut self) -> bool {
        self.missing == 0
    }
}

/// Connects `--clients C` to `--port P`, all subscribed to `--channel NAME`, and times `--messages N` of each but the first
/// `--skip S`. With `--stall NAME` the first connection is subscribed to that channel too and not read; a line on stdin, after
/// the first result, has it read: until the message that was the last one of the others, or until its end.
pub(crate) fn stalled(args: &Args) -> io::Result<()> {
    raise_descriptor_limit();
    let channel = args.text("channel").unwrap_or_default().to_owned();
    let fill = args.text("stall");
    let connections = connect_all(args, |place| {
        let filling = (place == 0).then_some(fill).flatten().map(str::to_owned);
        Some(subscribe(&[Some(channel.clone()), filling].into_iter().flatten().collect::<Vec<_>>()))
    })?;
    let count = connections.len();
    let mut clients = Clients::new(connections, BUFFER)?;
    let reading = count - usize::from(fill.is_some());
    if fill.is_some() {
        clients.stall(0);
    }
    report::line(&format!("{{\"connected\":{count}}}"));

    let mut found = Latencies {
        histogram: Histogram::new(),
        skip: args.number("skip", 0)?,
        expected: args.number("messages", 1)?,
        missing: reading,
        received: vec![0; count],
        last_due: 0,
        wrong: 0,
    };
    clients.read(&mut found)?;
    report::line(&format!(
        "{{\"messages\":{},\"least\":{},\"wrong\":{},\"latency\":{}}}",
        found.received.iter().sum::<u64>(),
        found.received[count - reading..].iter().min().unwrap_or(&0),
        found.wrong,
        found.histogram.json(),
    ));
    if fill.is_some() {
        io::stdin().lock().read_line(&mut String::new())?;
        let mut messages = 0;
        let has_last = clients.read_stalled(0, |payload| {
            let due = send_time(payload);
            messages += u64::from(due.is_some());
            due == Some(found.last_due)
        })?;
        report::line(&format!("{{\"messages\":{messages},\"has_last\":{has_last}}}"));
    }
    clients.drain()
}
