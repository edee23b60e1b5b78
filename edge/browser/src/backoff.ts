// When to dial again, and whether: pure judgement; time and chance are arguments. Times are seconds.

/**
 * What the end of a connection asks for: `retry` after the wait of a failure; `now`, because the server says that it, or
 * another, is there already; `late`, because it is overloaded; `refresh`, with another token; `done`: it is over.
 */
export type Verdict = "retry" | "now" | "late" | "refresh" | "done";

/** How long to wait before a dial. */
export interface Backoff {
  /** Longest wait before the first retry: a crowd is spread over it. Default 0.25. */
  first: number;
  /** Longest wait before the second one. Default 0.5. */
  base: number;
  /** What that grows by with each further failure. Default 2. */
  factor: number;
  /** What it grows to. Default 30. */
  longest: number;
  /** Least wait where the server says that it is overloaded. Default 1. */
  late: number;
}

export const BACKOFF: Backoff = { first: 0.25, base: 0.5, factor: 2, longest: 30, late: 1 };

// A server that calls its clients back at once, again and again, is not believed any more.
const MOST_AT_ONCE = 3;

const CODES: readonly [number, number, Verdict][] = [
  [1012, 1012, "now"], // service restart
  [1013, 1013, "late"], // try again later
  [4100, 4199, "late"], // ranges that many feeds speak
  [4200, 4299, "now"],
  [4401, 4401, "refresh"],
  [4403, 4403, "refresh"],
  [4429, 4429, "late"],
];

/** What a close code of the server asks for. */
export function judge(code: number, isSubscribed: boolean): Verdict {
  if (code === 1000 && !isSubscribed) return "done";
  return CODES.find(([first, last]) => first <= code && code <= last)?.[2] ?? "retry";
}

/**
 * Seconds to wait before the next dial.
 *
 * `failures`: retries since the last stable connection; `unit`: a random number from 0 to below 1; `isFlapping`: the
 * connection was opened, and soon lost.
 */
export function delay(backoff: Backoff, verdict: Verdict, failures: number, unit: number, isFlapping: boolean): number {
  const { first, base, factor, longest, late } = backoff;
  const isAtOnce = failures === 0 || (verdict === "now" && failures < MOST_AT_ONCE);
  const most = Math.min(longest, isAtOnce ? first : base * factor ** (failures - 1));
  // Full jitter spreads a crowd best, but may be no wait at all: a server that accepts and drops would be dialled without
  // end.
  const wait = (isFlapping && !isAtOnce ? 0.5 + unit / 2 : unit) * most;
  return verdict === "late" ? late + unit * Math.max(late, most) : wait;
}
