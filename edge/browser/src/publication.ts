// What stands in front of a publication, for clients that agreed to `websocket-utils.json`:
//
//   1E <epoch> SP <sequence> SP <previous> SP <channel> LF <payload>
//   1E LF <payload>         no publication, but a payload that itself begins with 1E
//   <payload>               no publication

/** Where a publication stands. Numbers are 64 bits wide. */
export interface Place {
  channel: string;
  /** Number of the channel's incarnation: sequences of different epochs have nothing to do with each other. */
  epoch: bigint;
  /** Its number in the channel, from 1. */
  sequence: bigint;
  /** The number of the one before it; 0 if there was none. */
  previous: bigint;
}

export type Payload = string | Uint8Array;

/** A message: the place is null where it stands in no channel. */
export interface Split {
  place: Place | null;
  payload: Payload;
}

const MARK = 0x1e;
const LINE_FEED = 0x0a;
// 256 characters of a name, in bytes, and three numbers of 20 digits each behind the mark.
const LONGEST_NAME = 1024;
const LONGEST_LINE = 64 + LONGEST_NAME;
const LINE = /^\x1e(\d{1,20}) (\d{1,20}) (\d{1,20}) ([^\n]{1,1024})\n/;
const POSITION = /^(\d{1,20}) (\d{1,20}) (.{1,1024})$/s;

/** The number that some digits are, of 64 bits; null if it takes more. */
function number64(digits: string): bigint | null {
  const number = BigInt(digits);
  return BigInt.asUintN(64, number) === number ? number : null;
}

/** Takes a message apart; null if it begins as a publication and is none. Looks at nothing behind the line. */
export function split(data: Payload): Split | null {
  if (typeof data !== "string") return splitBytes(data);
  if (data.charCodeAt(0) !== MARK) return { place: null, payload: data };
  if (data.charCodeAt(1) === LINE_FEED) return { place: null, payload: data.slice(2) };
  const place = placeOf(data);
  return place && { place: place[0], payload: data.slice(place[1]) };
}

function splitBytes(data: Uint8Array): Split | null {
  if (data[0] !== MARK) return { place: null, payload: data };
  const end = data.subarray(0, LONGEST_LINE).indexOf(LINE_FEED) + 1;
  if (end === 2) return { place: null, payload: data.subarray(2) };
  try {
    const place = placeOf(new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(0, end)));
    return place && { place: place[0], payload: data.subarray(end) };
  } catch {
    return null;
  }
}

function placeOf(text: string): [Place, number] | null {
  const found = LINE.exec(text);
  if (!found) return null;
  const [line, first, second, third, channel] = found as unknown as [string, string, string, string, string];
  const [epoch, sequence, previous] = [number64(first), number64(second), number64(third)];
  if (epoch === null || sequence === null || previous === null || previous >= sequence) return null;
  return [{ channel, epoch, sequence, previous }, line.length];
}

/** Where a channel stands: the last that was received, or the one before the next to come. */
export interface Position {
  epoch: bigint;
  sequence: bigint;
}

/** Reads the positions of a message, `<epoch> <sequence> <channel>` each; null if one is none. */
export function readPositions(texts: readonly unknown[]): Map<string, Position> | null {
  const positions = new Map<string, Position>();
  for (const text of texts) {
    const found = typeof text === "string" ? POSITION.exec(text) : null;
    const epoch = number64(found?.[1] ?? "18446744073709551616");
    const sequence = number64(found?.[2] ?? "18446744073709551616");
    if (!found?.[3] || epoch === null || sequence === null) return null;
    positions.set(found[3], { epoch, sequence });
  }
  return positions;
}

/** Writes a position. */
export function positionText(channel: string, { epoch, sequence }: Position): string {
  return `${epoch} ${sequence} ${channel}`;
}

/** What tells whether one of these names or patterns means a channel. */
export function covers(names: Iterable<string>): (channel: string) => boolean {
  const exact = new Set(names);
  const prefixes = [...exact].filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1));
  return (channel) => exact.has(channel) || prefixes.some((prefix) => channel.startsWith(prefix));
}
