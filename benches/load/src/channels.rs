//! Many channels with few subscribers each: every delivery is checked, its channel, its order and its connection.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::args::Args;
use crate::clients::{Clients, Taker, connect_all, subscribe};
use crate::guard::{raise_descriptor_limit, shared_progress};
use crate::payload::{cycle, send_time};
use crate::report;

/// Subscribers of each channel.
const SUBSCRIBERS: usize = 10;
const BUFFER: usize = 1 << 14;
/// A time stamp is the number of the sweep times this, and the number of the channel.
const SWEEP: u64 = 1_000_000;
/// Characters of a time stamp at the end of a message, its brace included.
const STAMP: usize = 17;

/// Who is subscribed to what: ten connections to each channel, spread over all of them, and as many channels to each.
#[derive(Clone, Copy)]
struct Layout {
    clients: usize,
    channels: usize,
}

impl Layout {
    /// Whether ten subscribers of a channel are ten different ones.
    fn is_possible(self) -> bool {
        self.clients >= SUBSCRIBERS
            && self.channels >= self.clients
            && self.channels.is_multiple_of(self.clients)
            && self.clients / SUBSCRIBERS > self.channels / self.clients
    }

    /// How far apart the subscribers of a channel are: no two channels have the same ten.
    fn stride(self, group: usize) -> usize {
        self.clients / SUBSCRIBERS - self.channels / self.clients + group
    }

    /// The connection that is subscriber number `which` of a channel.
    fn client(self, channel: usize, which: usize) -> usize {
        (channel + which * self.stride(channel / self.clients)) % self.clients
    }

    /// Which place of a connection's list of channels a channel has; None where it is not subscribed.
    fn place(self, client: usize, channel: usize) -> Option<usize> {
        let group = channel / self.clients;
        let stride = self.stride(group);
        let distance = (client + self.clients - channel % self.clients) % self.clients;
        let which = distance / stride;
        (distance.is_multiple_of(stride) && which < SUBSCRIBERS && channel < self.channels)
            .then_some(group * SUBSCRIBERS + which)
    }
}

/// What came on each channel of each connection.
struct Deliveries {
    layout: Layout,
    cycle: Vec<Vec<u8>>,
    /// Channels of each connection.
    each: usize,
    /// The sweep that is due on each channel of each connection.
    next: Vec<u64>,
    received: Vec<u64>,
    messages: u64,
    total: u64,
    first: u64,
    last: u64,
    wrong: u64,
    progress: Option<&'static AtomicU64>,
}

impl Taker for Deliveries {
    fn take(&mut self, client: usize, payload: &[u8], now: u64) {
        if self.messages == 0 {
            self.first = now;
        }
        self.last = now;
        self.messages += 1;
        self.received[client] += 1;
        // Its time stamp is this publication's own: which channel, and which sweep. What is before it is the channel's.
        let stamp = send_time(payload).unwrap_or(u64::MAX);
        let (channel, sweep) = ((stamp % SWEEP) as usize, stamp / SWEEP);
        let usual = &self.cycle[channel % self.cycle.len()];
        let fixed = usual.len() - STAMP;
        let is_whole = payload.len() == usual.len() && payload[..fixed] == usual[..fixed];
        match self.layout.place(client, channel).map(|place| &mut self.next[client * self.each + place]) {
            Some(next) if is_whole && *next == sweep => *next += 1,
            _ => self.wrong += 1,
        }
    }

    fn is_done(&mut self) -> bool {
        if let Some(progress) = self.progress {
            progress.store(self.received.iter().copied().min().unwrap_or(0), Ordering::Release);
        }
        self.messages >= self.total
    }
}

/// Connects `--clients C` to `--port P` and subscribes them to `--channels N`, ten to each, with names behind `--prefix TEXT`.
/// Then counts the messages of `--sweeps S`: each sweep publishes one on each channel, in any order.
pub(crate) fn channels(args: &Args) -> io::Result<()> {
    raise_descriptor_limit();
    let layout =
        Layout { clients: args.number("clients", 1)? as usize, channels: args.number("channels", 1)? as usize };
    if !layout.is_possible() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "channels must be a small multiple of clients"));
    }
    let sweeps = args.number("sweeps", 1)?;
    let prefix = args.text("prefix").unwrap_or_default();
    let mut names = vec![Vec::new(); layout.clients];
    for channel in 0..layout.channels {
        for which in 0..SUBSCRIBERS {
            names[layout.client(channel, which)].push(format!("{prefix}{channel}"));
        }
    }
    let connections = connect_all(args, |place| Some(subscribe(&names[place as usize])))?;
    let mut clients = Clients::new(connections, BUFFER)?;
    report::line(&format!("{{\"connected\":{}}}", layout.clients));

    let each = layout.channels / layout.clients * SUBSCRIBERS;
    let mut found = Deliveries {
        layout,
        cycle: cycle(),
        each,
        next: vec![0; layout.clients * each],
        received: vec![0; layout.clients],
        messages: 0,
        total: (layout.channels * SUBSCRIBERS) as u64 * sweeps,
        first: 0,
        last: 0,
        wrong: 0,
        progress: args.text("progress").map(shared_progress).transpose()?,
    };
    clients.read(&mut found)?;
    report::line(&format!(
        "{{\"messages\":{},\"least\":{},\"wrong\":{},\"ns\":{}}}",
        found.messages,
        found.next.iter().min().unwrap_or(&0),
        found.wrong,
        found.last - found.first,
    ));
    clients.drain()
}

#[cfg(test)]
mod tests {
    use super::{Layout, SUBSCRIBERS};

    #[test]
    fn every_channel_has_ten_subscribers_and_every_client_as_many_channels_as_the_others() {
        for (clients, channels) in [(1000, 10_000), (100, 500), (20, 20)] {
            let layout = Layout { clients, channels };
            assert!(layout.is_possible());
            let each = channels / clients * SUBSCRIBERS;
            let mut seen = vec![vec![false; each]; clients];
            for channel in 0..channels {
                for which in 0..SUBSCRIBERS {
                    let client = layout.client(channel, which);
                    let place = layout.place(client, channel).unwrap();
                    assert!(!std::mem::replace(&mut seen[client][place], true));
                }
                assert_eq!((0..clients).filter(|&client| layout.place(client, channel).is_some()).count(), SUBSCRIBERS);
            }
            assert!(seen.iter().flatten().all(|&seen| seen));
        }
        assert!(!Layout { clients: 10, channels: 1000 }.is_possible());
    }
}
