// What docs/guides/browser.md shows, and what the compiler must refuse: checked by `npm run check`, never run.

import { type At, connect, type PriceUpdate } from "../src/websocket-utils.js";

declare function show(channel: string, price: number): void;
declare function badge(state: string, reason: string, recovered: boolean | null): void;
declare function reload(channel: string, last: bigint | null, next: bigint | null): void;
declare function complain(channel: string, code: number, reason: string): void;

const client = connect("wss://feed.example/ws", { token: async () => (await fetch("/token")).text() });

const prices = client.subscribe<PriceUpdate>(
  "prices:*",
  (update, at) => show(at.channel, update.price),
  { slow: "conflate" },
);

client.on("state", ({ state, recovered, reason }) => badge(state, reason, recovered));
client.on("gap", ({ channel, last, next }) => reload(channel, last, next));
client.on("rejected", ({ channel, code, reason }) => complain(channel, code, reason));

export const taken: boolean = client.send({ type: "Acknowledge", order: 5n });
prices.end();
client.close();

client.subscribe<PriceUpdate>("prices:*", (update, at: At) => {
  // @ts-expect-error: it may be a bigint
  const volume: number = update.volume ?? 0;
  // @ts-expect-error: null from servers without our subprotocol
  const epoch: bigint = at.epoch;
  return [volume, epoch];
});
// @ts-expect-error: no such policy
client.subscribe("prices:*", () => {}, { slow: "never" });
client.subscribe("prices:*", () => {}, { slow: "drop_oldest:10" });
// @ts-expect-error: no such event
client.on("opened", () => {});
// @ts-expect-error: no such setting
connect("wss://feed.example/ws", { reconnect: true });
