//! Messages with permessage-deflate, in both roles: whatever a peer sends, and what our own compressor makes.

use websocket_utils_core::connection::{Connection, Role};
use websocket_utils_core::deflate::{Agreement, Deflater};
use websocket_utils_core::encoder::{append_compressed_frame, append_frame as append_plain_frame};
use websocket_utils_core::limits::Limits;
use websocket_utils_core::opcode::Opcode;

use crate::stream::{Seen, append_frame, cut, frames, peer_key, read, setting};

const WINDOWS: [u8; 4] = [8, 9, 12, 15];
/// Three windows at most: what is inflated beyond finds nothing more, and costs most of the time.
const LIMITS: [usize; 4] = [64, 1000, 40_000, 100_000];
/// FIN, RSV1 and an opcode.
const COMPRESSED_TEXT: u8 = 0xc1;
const COMPRESSED_BINARY: u8 = 0xc2;

/// However the stream is cut, the same events come out, no message is larger than its limit whatever it inflates to, and
/// memory stays in its bounds; what our compressor makes comes out as it was.
///
/// # Panics
/// If not so.
pub fn run(data: &[u8]) {
    let (settings, data) = setting(data);
    let (seed, data) = setting(data);
    let role = if settings & 1 == 0 { Role::Client } else { Role::Server };
    let takeover = settings & 2 == 0;
    let window_bits = WINDOWS[usize::from(settings >> 2 & 3)];
    let max_message_size = LIMITS[usize::from(settings >> 4 & 3)];
    let receiver = Receiver { role, takeover, window_bits, max_message_size };
    match settings >> 6 {
        0 => drop(receiver.read(data, seed)),
        1 => drop(receiver.read(&frames(role, data), seed)),
        2 => {
            let mut stream = Vec::new();
            append_frame(&mut stream, role, if seed & 1 == 0 { COMPRESSED_TEXT } else { COMPRESSED_BINARY }, data);
            receiver.read(&stream, seed);
        }
        _ => round_trip(&Receiver { max_message_size: 1024 * 1024, ..receiver }, data, seed),
    }
}

/// The end that inflates.
struct Receiver {
    role: Role,
    takeover: bool,
    window_bits: u8,
    max_message_size: usize,
}

impl Receiver {
    /// Reads a stream whole and in pieces.
    fn read(&self, stream: &[u8], seed: u8) -> Vec<Seen> {
        let connection = || {
            let agreement = Agreement {
                send_window_bits: 15,
                send_takeover: true,
                receive_window_bits: self.window_bits,
                receive_takeover: self.takeover,
            };
            let limits = Limits { max_message_size: self.max_message_size, max_empty_fragments: 16 };
            Connection::with_deflate(self.role, limits, agreement)
        };
        let check = |connection: &Connection| {
            let held = connection.buffered();
            assert!(held <= self.max_message_size, "{held} bytes held of {}", self.max_message_size);
        };
        let whole = read(&mut connection(), &[stream], check);
        let pieces = read(&mut connection(), &cut(stream, seed), check);
        assert_eq!(whole, pieces, "the events depend on how the stream is cut");
        for seen in &whole {
            let is_within = seen.message().is_none_or(|(_, payload)| payload.len() <= self.max_message_size);
            assert!(is_within, "larger than the limit");
        }
        whole
    }
}

/// Compresses messages as the peer of `receiver` may, and reads them there. The input is a plan: the length of a message,
/// the message, and so on.
fn round_trip(receiver: &Receiver, mut plan: &[u8], seed: u8) {
    let key = peer_key(receiver.role);
    let mut deflater = Deflater::new(receiver.window_bits, receiver.takeover);
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    while let [len, rest @ ..] = plan {
        let (message, behind) = rest.split_at(rest.len().min(usize::from(*len)));
        // Lengths a byte can't say: windows are larger than that.
        let message = message.repeat(if len % 5 == 0 { 40 } else { 1 });
        let mut compressed = Vec::new();
        if deflater.compress(&message, &mut compressed) {
            assert!(compressed.len() < message.len(), "compressed and not smaller");
            append_compressed_frame(&mut stream, Opcode::Binary, &compressed, key);
        } else {
            assert!(compressed.is_empty(), "refused, and yet there is something");
            append_plain_frame(&mut stream, Opcode::Binary, true, &message, key);
        }
        sent.push(Seen::Binary(message));
        plan = behind;
    }
    assert_eq!(receiver.read(&stream, seed), sent, "what was compressed comes out as it was");
}
