// The shards of a coordinator: objects that have the sockets beyond its own.

import type { Publication } from "./wire";
import { byteLength, type Payload } from "./wire";

/** One call's worth for a shard. */
export interface Parcel {
  /** Number of the channels' incarnation. */
  epoch: string;
  /** Number of the first publication; the next parcel begins where this one ends. */
  first: number;
  publications: Publication[];
  /** Something before it could not be brought: the shard's sessions have to begin anew. */
  isBroken: boolean;
}

/** What a coordinator asks of a shard. */
export interface ShardStub {
  deliver(parcel: Parcel): Promise<number>;
  broadcast(payload: Payload, except?: string): Promise<number>;
  /** Sockets that it has. */
  count(): Promise<number>;
}

// Bytes of publications that wait for one shard, and how often a call is tried.
const MOST_WAITING = 8 * 1024 * 1024;
const TRIES = 3;
/** Milliseconds for which a socket that was sent to an object is waited for. */
export const ARRIVAL_MS = 10_000;

/** What waits for one shard: one call at a time, so that nothing overtakes anything. */
export class ShardLink {
  readonly #stub: () => ShardStub;
  readonly #epoch: string;
  #waiting: Publication[] = [];
  #bytes = 0;
  #first = 0;
  #isSending = false;
  // Something was left out: the shard is told with the next call that reaches it.
  #isBroken = false;
  #isTouched = false;
  #arriving: number[] = [];
  /** Sockets, as it last said; null before it has said. */
  sockets: number | null = null;
  /** Whether it may have any: it is told of everything until it says that it has none. */
  isActive = true;

  constructor(stub: () => ShardStub, epoch: string) {
    this.#stub = stub;
    this.#epoch = epoch;
  }

  /** Whether it takes one more socket, as far as that is known; `now` is milliseconds. */
  hasRoom(most: number, now: number): boolean {
    this.#arriving = this.#arriving.filter((until) => until > now);
    return this.sockets !== null && this.sockets + this.#arriving.length < most;
  }

  /** A socket is sent to it. */
  place(now: number): void {
    this.#arriving.push(now + ARRIVAL_MS);
    this.touch();
  }

  /** One of those that were sent is there, or will not come: it counts by itself from now on. */
  arrived(): void {
    this.#arriving.shift();
    this.sockets = (this.sockets ?? 0) + 1;
  }

  /** It has a socket, or is about to. */
  touch(): void {
    this.#isTouched = true;
    this.isActive = true;
  }

  /** Ask it how many sockets it has; one that does not answer counts as full. */
  async refresh(): Promise<void> {
    try {
      this.sockets = await this.#stub().count();
    } catch (error) {
      console.error("a shard does not say how many sockets it has:", error);
      this.sockets = Infinity;
    }
  }

  /** Put publications on the way; `first` is the number of the first of them. */
  push(first: number, publications: readonly Publication[]): void {
    if (this.#waiting.length === 0) {
      this.#first = first;
    }
    for (const one of publications) {
      this.#waiting.push(one);
      this.#bytes += byteLength(one.payload) + one.channel.length;
    }
    if (this.#bytes > MOST_WAITING) {
      console.error(`a shard is behind by ${this.#bytes} bytes: its sessions begin anew`);
      this.#waiting = [];
      this.#bytes = 0;
      this.#isBroken = true;
    }
    if (!this.#isSending) {
      this.#isSending = true;
      void this.#send();
    }
  }

  async #send(): Promise<void> {
    let isReached = true;
    while (this.#waiting.length > 0 || (this.#isBroken && isReached)) {
      const parcel: Parcel = {
        epoch: this.#epoch,
        first: this.#first,
        publications: this.#waiting,
        isBroken: this.#isBroken,
      };
      this.#waiting = [];
      this.#bytes = 0;
      this.#isBroken = false;
      isReached = await this.#bring(parcel);
      this.#isBroken ||= !isReached;
    }
    this.#isSending = false;
  }

  async #bring(parcel: Parcel): Promise<boolean> {
    for (let left = TRIES; left > 0; left--) {
      try {
        this.#isTouched = false;
        // A stub whose call failed is not used again.
        this.sockets = await this.#stub().deliver(parcel);
        this.isActive = this.sockets > 0 || this.#isTouched;
        return true;
      } catch (error) {
        console.error("a shard could not be told of publications:", error);
      }
    }
    return false;
  }
}
