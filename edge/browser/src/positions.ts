// Where each channel stands, and what the next publication proves: it names the one before it. If that is the last one
// here, nothing is missing between them. One that is not above the last was here already. Any other leaves a gap, unless
// the server has said that it left publications out.

import { covers, type Place, type Position } from "./publication.js";

/** Channels that are known at most: of a new one beyond, the longest unused is forgotten, which is a gap of it. */
export const MOST_CHANNELS = 65_536;
/** Characters of their names at most. */
export const MOST_CHARACTERS = 8_388_608;

/** Messages of a channel may be missing here: nothing proves that the next one follows the one before. */
export interface Gap {
  /** Name of the channel; a pattern, where it is not known of which of its channels. */
  channel: string;
  /** Sequence of the last message before the gap; null where that is unknown. */
  last: bigint | null;
  /** Sequence of the first one behind it; null where that is unknown. */
  next: bigint | null;
}

interface Entry extends Position {
  /** Up to here the server has said what it left out. */
  lagUntil: bigint;
}

export class Positions {
  /** Publications that were here already. */
  duplicates = 0;
  // In the order of their use: the first one is the longest unused.
  readonly #entries = new Map<string, Entry>();
  readonly #onGap: (gap: Gap) => void;
  readonly #most: number;
  readonly #mostCharacters: number;
  #characters = 0;

  constructor(onGap: (gap: Gap) => void, most = MOST_CHANNELS, mostCharacters = MOST_CHARACTERS) {
    this.#onGap = onGap;
    this.#most = most;
    this.#mostCharacters = mostCharacters;
  }

  /** Takes note of a publication; false if it was here already. A gap before it is told first. */
  read(place: Place): boolean {
    const { channel, epoch, sequence, previous } = place;
    const entry = this.#entries.get(channel);
    if (!entry) {
      // The first publication of a channel that is not known says where it stands; before it nothing was missed.
      this.set(channel, place);
      return true;
    }
    this.#entries.delete(channel);
    this.#entries.set(channel, entry);
    if (entry.epoch === epoch) {
      if (sequence <= entry.sequence) {
        this.duplicates++;
        return false;
      }
      if (previous === entry.sequence || (previous > entry.sequence && previous <= entry.lagUntil)) {
        entry.sequence = sequence;
        return true;
      }
    } else {
      entry.lagUntil = 0n;
    }
    this.#onGap({ channel, last: entry.sequence, next: sequence });
    entry.epoch = epoch;
    entry.sequence = sequence;
    return true;
  }

  /** Reads what a connection brings that runs beside the one in use: false unless it follows in order. */
  follow(place: Place): boolean {
    const entry = this.#entries.get(place.channel);
    if (!entry || entry.epoch !== place.epoch) return false;
    if (entry.sequence === place.previous) return this.read(place);
    if (place.sequence <= entry.sequence) this.duplicates++;
    return false;
  }

  /** A channel goes on behind that publication. What was said about its lag holds no longer. */
  set(channel: string, { epoch, sequence }: Position): void {
    this.#delete(channel);
    this.#characters += channel.length;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size < this.#most && this.#characters <= this.#mostCharacters) break;
      this.#delete(oldest);
      this.#onGap({ channel: oldest, last: entry.sequence, next: null });
    }
    this.#entries.set(channel, { epoch, sequence, lagUntil: 0n });
  }

  #delete(channel: string): void {
    if (this.#entries.delete(channel)) this.#characters -= channel.length;
  }

  /** The server has left publications out, up to that one at most. */
  lag(channel: string, last: bigint): void {
    const entry = this.#entries.get(channel);
    if (entry && entry.lagUntil < last) entry.lagUntil = last;
  }

  /** Where a channel stands. */
  position(channel: string): Position | undefined {
    return this.#entries.get(channel);
  }

  /** Where the channels stand that a name or pattern means, as they are now. */
  matching(name: string): Map<string, Position> {
    const found = new Map<string, Position>();
    const isMeant = covers([name]);
    const channels = name.endsWith("*") ? this.#entries.keys() : [name];
    for (const channel of channels) {
      const entry = this.#entries.get(channel);
      if (entry && isMeant(channel)) found.set(channel, { epoch: entry.epoch, sequence: entry.sequence });
    }
    return found;
  }

  /** Forgets the channels that `names` mean and `kept` do not. */
  forget(names: Iterable<string>, kept: Iterable<string> = []): void {
    const [isMeant, isKept] = [covers(names), covers(kept)];
    for (const channel of this.#entries.keys()) {
      if (isMeant(channel) && !isKept(channel)) this.#delete(channel);
    }
  }
}
