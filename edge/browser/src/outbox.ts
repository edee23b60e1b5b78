// What waits to be sent while there is no connection: bounded in messages and bytes.

import { byteLength } from "./subscriptions.js";

export interface OutboxBounds {
  /** Messages that may wait. Default 256. */
  messages: number;
  /** Bytes that may wait; so many may also be in the browser's own buffer of a connection. Default 262144. */
  bytes: number;
  /** Whether the new message is refused when it is full, or the oldest ones make room for it. Default "refuse". */
  whenFull: "refuse" | "drop_oldest";
}

export const OUTBOX: OutboxBounds = { messages: 256, bytes: 262_144, whenFull: "refuse" };

export class Outbox {
  /** Messages that were given up for newer ones. */
  dropped = 0;
  readonly #bounds: OutboxBounds;
  #waiting: { text: string; size: number }[] = [];
  #bytes = 0;

  constructor(bounds: OutboxBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Keeps a message for later; false if there is no room for it. */
  add(text: string): boolean {
    const { messages, bytes, whenFull } = this.#bounds;
    const size = byteLength(text);
    if (messages < 1 || size > bytes) return false;
    while (this.size >= messages || this.#bytes + size > bytes) {
      if (whenFull === "refuse") return false;
      this.#bytes -= this.#waiting.shift()!.size;
      this.dropped++;
    }
    this.#waiting.push({ text, size });
    this.#bytes += size;
    return true;
  }

  /** Takes all that waits, in order. */
  take(): string[] {
    const texts = this.#waiting.map((one) => one.text);
    this.#waiting = [];
    this.#bytes = 0;
    return texts;
  }
}
