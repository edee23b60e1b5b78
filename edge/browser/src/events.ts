// What a link tells, what it wants done, and what it is told beforehand.

import type { Backoff } from "./backoff.js";
import type { OutboxBounds } from "./outbox.js";
import type { Gap } from "./positions.js";
import type { Payload, Place } from "./publication.js";

export type State = "connecting" | "authenticating" | "restoring" | "live" | "backoff" | "closed" | "failed";

export interface StateChange {
  state: State;
  /** With `live`: whether it is proven that nothing was missed since the connection before; null for the first one. */
  recovered: boolean | null;
  /** With `backoff`: seconds until the next dial. */
  delay: number | null;
  /** With `backoff`, `closed` and `failed`: the close code; null where the client itself gave the connection up. */
  code: number | null;
  /** Why, in words. */
  reason: string;
}

/** The server left messages of a channel out, because this side was slow. It comes before the next that is sent. */
export interface Lagged {
  channel: string;
  first: bigint;
  last: bigint;
  count: bigint;
}

/** The server refuses a subscription: its channel is not subscribed to any more. */
export interface Rejected {
  channel: string;
  /** 4400 malformed, 4403 not permitted, 4404 no such namespace, 4429 too many. */
  code: number;
  reason: string;
}

export interface Fault {
  /** `malformed`, `too_big`: a message that was left out; `token`, `handler`: what a callable of yours threw. */
  kind: "malformed" | "too_big" | "token" | "handler";
  reason: string;
  /** Of which channel the message was; null where it stood in none. */
  channel: string | null;
  /** What was thrown. */
  cause?: unknown;
}

export interface Events {
  state: StateChange;
  gap: Gap;
  lagged: Lagged;
  rejected: Rejected;
  error: Fault;
}

export type Effect =
  /** Ask for the token if there is one, and open a connection. */
  | { do: "dial"; id: number; refresh: boolean }
  /** Ask for the token again. */
  | { do: "token"; id: number }
  | { do: "transmit"; id: number; text: string }
  /** Close a connection. Nothing that it brings from here on is of use. */
  | { do: "drop"; id: number; code: number; reason: string }
  | { do: "deliver"; payload: Payload; place: Place | null }
  | { [E in keyof Events]: { do: "tell"; event: E; value: Events[E] } }[keyof Events];

/** Times are seconds. */
export interface Settings {
  /** Whether connections are authenticated in band, and whether asking anew may give another token. */
  token: "none" | "fixed" | "asked";
  /** How long to wait before dialling again. */
  backoff: Backoff;
  /** What may wait to be sent while there is no connection. */
  outbox: OutboxBounds;
  /** Characters or bytes of a message that is looked at; of a longer one an `error` is told. Default 1048576. */
  maxMessageSize: number;
  /** After so long without a message the server is sent `Ping`; null: never. Default 15. */
  pingInterval: number | null;
  /** By then something has to come, or the connection is given up. Default 10. */
  pingTimeout: number;
  /** The same when the page shows again, or the network is there again. Default 3. */
  wakeTimeout: number;
  /** For the token and the opening handshake together. Default 10. */
  openTimeout: number;
  /** For the answer to the token. Default 10. */
  authenticateTimeout: number;
  /** For the answers to subscriptions. Default 10. */
  subscribeTimeout: number;
  /** A connection that was live for so long makes failures before it forgotten. Default 5. */
  stableAfter: number;
}
