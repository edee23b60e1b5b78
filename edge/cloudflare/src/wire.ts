// Positions: in front of a publication's payload, and as `Subscribe` and `Subscribed` carry them.

/** The byte that no JSON text begins with. */
export const MARK = "\x1e";

export const SUBPROTOCOL = "websocket-utils.json";
export const PUBLISHER_SUBPROTOCOL = "websocket-utils.publisher";

/** What is published: JSON text or other text as it came, or bytes. */
export type Payload = string | Uint8Array;

export interface Publication {
  channel: string;
  /** Its number in the channel, from 1; the one before it has `sequence - 1`. */
  sequence: number;
  payload: Payload;
  /** The session that sent it; absent where it came from a publisher. */
  sender?: string;
}

/** What a peer has of a channel. The epoch is text: up to 2**64 - 1, and only ever compared. */
export interface Position {
  channel: string;
  epoch: string;
  sequence: bigint;
}

const encoder = new TextEncoder();
const MOST = 2n ** 64n;

/** Put a publication's position in front of its payload, as peers of our subprotocol get it. */
export function positioned(epoch: string, publication: Publication, previous: number): Payload {
  const header = `${MARK}${epoch} ${publication.sequence} ${previous} ${publication.channel}\n`;
  return prefixed(header, publication.payload);
}

/** Mark a payload that stands in no channel, where it could be mistaken for one that does. */
export function unpositioned(payload: Payload): Payload {
  const first = typeof payload === "string" ? payload.charCodeAt(0) : payload[0];
  return first === 0x1e ? prefixed(`${MARK}\n`, payload) : payload;
}

function prefixed(header: string, payload: Payload): Payload {
  if (typeof payload === "string") {
    return header + payload;
  }
  const head = encoder.encode(header);
  const frame = new Uint8Array(head.length + payload.length);
  frame.set(head);
  frame.set(payload, head.length);
  return frame;
}

export function positionText(channel: string, epoch: string, sequence: number): string {
  return `${epoch} ${sequence} ${channel}`;
}

/** Read positions; the last one counts where a channel is named twice. Text says what is wrong with one. */
export function readPositions(texts: readonly string[]): Map<string, Position> | string {
  const positions = new Map<string, Position>();
  for (const text of texts) {
    const match = /^([0-9]+) ([0-9]+) ([^]+)$/.exec(text);
    if (!match) {
      return "a position is `<epoch> <sequence> <channel>`";
    }
    const [, epoch, sequence, channel] = match as unknown as [string, string, string, string];
    if (Math.max(epoch.length, sequence.length) > 20 || BigInt(epoch) >= MOST || BigInt(sequence) >= MOST) {
      return "numbers of a position fit 64 bits";
    }
    positions.set(channel, { channel, epoch: BigInt(epoch).toString(), sequence: BigInt(sequence) });
  }
  return positions;
}

/** Complete the closing handshake that a peer began: hibernating sockets leave that to their object. */
export function answerClose(socket: WebSocket, code: number): void {
  try {
    // 1005 and 1006 say that there was no code: no frame has them (RFC 6455 §7.4.1).
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  } catch {
    // It is over already.
  }
}

/** Bytes of a text in UTF-8, without encoding it. */
export function byteLength(payload: Payload): number {
  if (typeof payload !== "string") {
    return payload.length;
  }
  let bytes = payload.length;
  for (let at = 0; at < payload.length; at++) {
    const unit = payload.charCodeAt(at);
    if (unit > 0x7f) {
      // Each half of a surrogate pair is two of its four bytes.
      bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
    }
  }
  return bytes;
}
