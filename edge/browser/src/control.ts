// Messages of the server that are about the connection, not about the market.

import type { Authenticated, GoAway, LagNotice, Ping, Pong, Subscribed, SubscriptionRejected } from "./messages.js";
import { readJson } from "./numbers.js";

export type Control = Authenticated | GoAway | LagNotice | Ping | Pong | Subscribed | SubscriptionRejected;

// Nothing else is read twice.
const NAMED = /"(Authenticated|Ping|Pong|GoAway|LagNotice|Subscribed|SubscriptionRejected)"/;
// What servers of any kind may say.
const PLAIN = new Set(["Authenticated", "Ping", "Pong"]);

const isText = (value: unknown): boolean => typeof value === "string";
const isTime = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value);
const isInteger = (value: unknown): boolean => typeof value === "bigint" || Number.isSafeInteger(value);
const areTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const mayBe =
  (check: (value: unknown) => boolean) =>
  (value: unknown): boolean =>
    value === undefined || check(value);

const FIELDS: Record<Control["type"], Record<string, (value: unknown) => boolean>> = {
  Authenticated: { expires_in: (value) => value === null || isTime(value) },
  GoAway: { after: isTime, reason: mayBe(isText) },
  LagNotice: { channel: isText, first: isInteger, last: isInteger, count: isInteger },
  Ping: {},
  Pong: {},
  Subscribed: { channels: areTexts, positions: mayBe(areTexts), recovered: mayBe(areTexts) },
  SubscriptionRejected: { channels: areTexts, code: isInteger, reason: isText },
};

/** What a message says about the connection; null if it is not about that, undefined if it is and makes no sense. */
export function readControl(text: string, isPlain: boolean): Control | null | undefined {
  if (!NAMED.test(text)) return null;
  let value: unknown;
  try {
    value = readJson(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const fields = value as Record<string, unknown>;
  const type = fields.type;
  if (typeof type !== "string" || !Object.hasOwn(FIELDS, type) || (isPlain && !PLAIN.has(type))) return null;
  const checks = Object.entries(FIELDS[type as Control["type"]]);
  return checks.every(([name, check]) => check(fields[name])) ? (value as Control) : undefined;
}
