// One connection, from its dial to its end, and what is due on it. Times are monotonic seconds.

import type { Renewal } from "./recovery.js";

export class Session {
  readonly id: number;
  /** When the phase it is in takes too long; null: it is in none that ends by itself. */
  deadline: number | null;
  openedAt: number | null = null;
  liveAt: number | null = null;
  /** Whether publications say where they stand, and subscriptions are answered. */
  isSequenced = false;
  isAuthenticated = false;
  renewal: Renewal | null = null;
  /** Names whose answers are due. */
  readonly due = new Set<string>();
  heardAt = 0;
  /** When to ask for a sign of life, and when one is due; null: it isn't. */
  pingAt: number | null = null;
  pongBy: number | null = null;
  /** When to have another one in its place, because the server goes away. */
  leaveAt: number | null = null;
  isGoing = false;
  escapes = 0;
  /** When to ask for another token, before the server ends the connection for want of one. */
  renewAt: number | null = null;

  constructor(id: number, deadline: number) {
    this.id = id;
    this.deadline = deadline;
  }

  /** The next moment at which something has to be done. */
  get next(): number {
    const times = [this.deadline, this.pingAt, this.pongBy, this.leaveAt, this.renewAt];
    return Math.min(...times.map((time) => time ?? Infinity));
  }
}
