// What is wanted, whatever becomes of connections, and the messages that ask for it.

import type { Subscribe, Unsubscribe } from "./messages.js";

/** What the server does with publications while this side is slow, where it is not what its namespaces say. */
export type Slow = "conflate" | "disconnect" | "drop_oldest" | `drop_oldest:${number}`;

/** A name or pattern that is asked for, and where the channels stand that it means. */
export interface Wish {
  name: string;
  slow: string;
  positions: string[];
}

// What one message may carry: 512 names, and half of what servers take by default, for JSON may need twice as many bytes.
const MOST_NAMES = 512;
const MOST_BYTES = 480 * 1024;

const encoder = new TextEncoder();

/** Bytes of a text on the wire. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** The channels that are wanted, each with how often, in the order in which they were first wanted. */
export class Wanted {
  readonly #wanted = new Map<string, { count: number; slow: string }>();

  get names(): string[] {
    return [...this.#wanted.keys()];
  }

  get size(): number {
    return this.#wanted.size;
  }

  has(name: string): boolean {
    return this.#wanted.has(name);
  }

  slow(name: string): string {
    return this.#wanted.get(name)?.slow ?? "";
  }

  /** Wants a channel once more, `slow` undefined as before; returns whether the server has to be asked. */
  add(name: string, wish: string | undefined): boolean {
    const found = this.#wanted.get(name) ?? { count: 0, slow: "" };
    const slow = wish ?? found.slow;
    const isNews = found.count === 0 || found.slow !== slow;
    this.#wanted.set(name, { count: found.count + 1, slow });
    return isNews;
  }

  /** Wants a channel once less; returns whether nobody wants it any more. */
  remove(name: string): boolean {
    const found = this.#wanted.get(name);
    if (!found) return false;
    return --found.count === 0 && this.#wanted.delete(name);
  }

  /** The server refuses a channel: it is wanted no more, however often it was; returns whether it was. */
  forget(name: string): boolean {
    return this.#wanted.delete(name);
  }
}

/** As few messages as ask for these, 512 names and 480 KiB each; positions of one name beyond that are left out. */
export function requests(wishes: readonly Wish[]): Subscribe[] {
  const made: Subscribe[] = [];
  for (const slow of new Set(wishes.map((wish) => wish.slow))) {
    let part: Required<Subscribe> | undefined;
    let room = 0;
    for (const wish of wishes) {
      if (wish.slow !== slow) continue;
      const size = wish.positions.reduce((sum, text) => sum + byteLength(text) + 3, byteLength(wish.name) + 3);
      if (!part || size > room || part.channels.length === MOST_NAMES) {
        part = { type: "Subscribe", channels: [], positions: [], slow };
        made.push(part);
        room = MOST_BYTES;
      }
      part.channels.push(wish.name);
      for (const text of wish.positions) {
        if ((room -= byteLength(text) + 3) >= 0) part.positions.push(text);
      }
      room -= byteLength(wish.name) + 3;
    }
  }
  return made;
}

export function endings(names: readonly string[]): Unsubscribe[] {
  return names.length ? [{ type: "Unsubscribe", channels: [...names] }] : [];
}
