/** What the functions answer: JSON, which nobody keeps. */

/** What went wrong. Below 1000 they are those of the feed's HTTP door; the others are the functions' own. */
export const Code = {
  Unauthorized: 101,
  UnknownChannel: 102,
  PermissionDenied: 103,
  BadRequest: 107,
  /** A variable of the environment is missing or wrong; nothing was sent. */
  NotConfigured: 1001,
  /** The door can't be reached; whether it had the update is unknown. */
  DoorUnreachable: 1002,
  /** The door did not answer in time; whether it had the update is unknown. */
  DoorTimedOut: 1003,
  /** The door answered with a 5xx, or nothing that it says; whether it had the update is unknown. */
  DoorFailed: 1004,
  /** The door does not take the key of this function; nothing was published. */
  KeyRefused: 1005,
  /** The door, or what is in front of it, answered 429; nothing was published. */
  DoorBusy: 1006,
} as const;

/** Body of an answer that is no success. */
export interface ErrorBody {
  error: {
    code: number;
    message: string;
    /** Where in the request's body the fault is, such as `$.channel`. */
    path?: string;
  };
}

/** A request is not carried out; thrown where that is seen. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
    readonly path = "",
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** A refusal that may pass by itself: one more attempt is worth it. */
export class Passing extends Refusal {}

/** An answer whose body is JSON already. */
export function json(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(body, {
    status,
    headers: {
      "Content-Type": "application/json",
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
      ...headers,
    },
  });
}

/**
 * Answer for what was thrown. What is no `Refusal` is a fault of ours, whose text may hold anything: its kind alone is
 * logged.
 */
export function refusalOf(thrown: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  if (!(thrown instanceof Refusal)) {
    log("function failed", { kind: thrown instanceof Error ? thrown.name : typeof thrown });
    return refusalOf(new Refusal(500, 100, "internal error"), headers);
  }
  const body: ErrorBody = { error: { code: thrown.code, message: thrown.message } };
  if (thrown.path !== "") body.error.path = thrown.path;
  return json(thrown.status, JSON.stringify(body), { ...headers, ...thrown.headers });
}

/** One line of JSON for the deployment's log. Never give it a key, a token or a payload. */
export function log(event: string, facts: Readonly<Record<string, string | number>>): void {
  console.error(JSON.stringify({ event, ...facts }));
}
