// How often a session may ask: pure judgement, time is an argument, in seconds.

class Bucket {
  readonly #rate: number;
  readonly #burst: number;
  #left: number;
  #at: number;

  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#left = burst;
    this.#at = now;
  }

  take(now: number): boolean {
    if (now > this.#at) {
      this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#rate);
      this.#at = now;
    }
    if (this.#left < 1) {
      return false;
    }
    this.#left -= 1;
    return true;
  }
}

/** What becomes of a command: `excessive` ends the connection. */
export type CommandVerdict = "allowed" | "refused" | "excessive";

/** Judges the commands of one session: refusals have the same rate, and eight times as many at once. */
export class CommandRate {
  readonly #allowed: Bucket;
  readonly #refused: Bucket;

  constructor(perSecond: number, now: number) {
    this.#allowed = new Bucket(perSecond, 2 * perSecond, now);
    this.#refused = new Bucket(perSecond, 8 * perSecond, now);
  }

  judge(now: number): CommandVerdict {
    if (this.#allowed.take(now)) {
      return "allowed";
    }
    return this.#refused.take(now) ? "refused" : "excessive";
  }
}
