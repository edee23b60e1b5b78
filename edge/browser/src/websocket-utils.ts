/** A WebSocket client for dashboards: reconnects, renews its subscriptions, recovers what was missed or tells it. */

export type { Backoff } from "./backoff.js";
export { type At, type Client, type ClientEvents, connect, type Options, type Subscription } from "./client.js";
export type { Fault, Lagged, Rejected, State, StateChange } from "./events.js";
export type * from "./messages.js";
export { readJson, writeJson } from "./numbers.js";
export type { OutboxBounds } from "./outbox.js";
export type { Gap } from "./positions.js";
export type { Slow } from "./subscriptions.js";
