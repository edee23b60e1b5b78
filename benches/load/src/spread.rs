//! How far apart the first and the last of many connections get the same message.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use crate::args::Args;
use crate::clients::{Clients, Taker, connect_all};
use crate::guard::raise_descriptor_limit;
use crate::payload::send_time;
use crate::report;

/// Room for one small message and more: thousands of buffers are to stay in the cache.
const BUFFER: usize = 1024;

/// What is known of one message.
#[derive(Clone, Copy, Default)]
struct Arrival {
    /// When it was due, as it says itself.
    due: u64,
    first: u64,
    last: u64,
    count: usize,
}

/// The arrivals of all messages.
struct Arrivals {
    /// Of each message.
    times: Vec<Arrival>,
    /// Messages of each connection.
    received: Vec<usize>,
    /// How many messages each connection is to get for now, and how many connections lack some.
    expected: usize,
    missing: usize,
    wrong: u64,
}

impl Arrivals {
    fn expect(&mut self, expected: usize) {
        self.expected = expected;
        self.missing = self.received.iter().filter(|&&received| received < expected).count();
    }

    fn list(&self, value: impl Fn(&Arrival) -> u64) -> String {
        let timed = &self.times[..self.times.len() - 1];
        timed.iter().map(|arrival| value(arrival).to_string()).collect::<Vec<_>>().join(",")
    }
}

impl Taker for Arrivals {
    fn take(&mut self, place: usize, payload: &[u8], now: u64) {
        let number = self.received[place];
        self.received[place] += 1;
        self.missing -= usize::from(self.received[place] == self.expected);
        match (self.times.get_mut(number), send_time(payload)) {
            (Some(arrival), Some(due)) if arrival.count == 0 || arrival.due == due => {
                let first = if arrival.count == 0 { now } else { arrival.first };
                *arrival = Arrival { due, first, last: now, count: arrival.count + 1 };
            }
            _ => self.wrong += 1,
        }
    }

    fn is_done(&mut self) -> bool {
        self.missing == 0
    }
}

/// Connects `--clients C` to `--port P` and times `--messages N`. One more message follows them, which is not timed but
/// left in the kernel for `--rest-ms M`: how long it takes to read all of it is this program's own part of a time.
pub(crate) fn spread(args: &Args) -> io::Result<()> {
    raise_descriptor_limit();
    let messages = args.number("messages", 1)? as usize;
    let rest = args.number("rest-ms", 0)?;
    let connections = connect_all(args, |_| None)?;
    let count = connections.len();
    let mut clients = Clients::new(connections, BUFFER)?;
    report::line(&format!("{{\"connected\":{count}}}"));

    let mut found = Arrivals {
        times: vec![Arrival::default(); messages + 1],
        received: vec![0; count],
        expected: 0,
        missing: 0,
        wrong: 0,
    };
    found.expect(messages);
    clients.read(&mut found)?;
    sleep(Duration::from_millis(rest));
    found.expect(messages + 1);
    clients.read(&mut found)?;

    let own = found.times[messages];
    report::line(&format!(
        "{{\"messages\":{},\"least\":{},\"wrong\":{},\"spread_ns\":[{}],\"late_ns\":[{}],\"own_ns\":{}}}",
        found.received.iter().sum::<usize>(),
        found.received.iter().min().unwrap_or(&0),
        found.wrong,
        found.list(|arrival| arrival.last - arrival.first),
        found.list(|arrival| arrival.last.saturating_sub(arrival.due)),
        own.last - own.first,
    ));
    clients.drain()
}
