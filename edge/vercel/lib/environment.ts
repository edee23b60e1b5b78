/** Variables of the environment, read for each request: what is wrong is answered, not only logged at the start. */

import { Code, Refusal } from "./answers.js";
import { patternFault } from "./channels.js";

const leastSecret = 16;

/** What is wrong with the configuration. It names the variable, never its value. */
export function notConfigured(variable: string, fault: string): Refusal {
  return new Refusal(500, Code.NotConfigured, `${variable} ${fault}`);
}

/** A variable; undefined if it is missing or empty. */
export function optional(variable: string): string | undefined {
  return process.env[variable] || undefined;
}

export function required(variable: string): string {
  const value = optional(variable);
  if (value === undefined) throw notConfigured(variable, "is not set");
  return value;
}

/** A secret that a header can hold and nobody guesses. */
export function secret(variable: string): string {
  const value = required(variable);
  if (value.length < leastSecret) throw notConfigured(variable, `has less than ${leastSecret} characters`);
  if (!/^[!-~]+$/.test(value)) throw notConfigured(variable, "has characters that are no ASCII, or spaces");
  return value;
}

/** Seconds, at least `least` and at most `most`. */
export function seconds(variable: string, fallback: number, least: number, most: number): number {
  const text = optional(variable);
  if (text === undefined) return fallback;
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw notConfigured(variable, `must be a number of seconds from ${least} to ${most}`);
  }
  return value;
}

/** The base of a URL that a key is sent to, without a slash at its end. */
export function keyedUrl(variable: string): string {
  const text = required(variable);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw notConfigured(variable, "is no URL");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw notConfigured(variable, "has a user, a query or a fragment: it is scheme, host and path alone");
  }
  const isLoopback = ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  // Whoever reads the key on its way can publish.
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback)) {
    throw notConfigured(variable, "is no https URL, which every host but this one needs");
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** A JSON list of channels and patterns; all channels if the variable is not set. */
export function patterns(variable: string): readonly string[] {
  const text = optional(variable);
  if (text === undefined) return ["*"];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const isList = Array.isArray(value) && value.every((one) => typeof one === "string" && patternFault(one) === undefined);
  if (!isList) throw notConfigured(variable, 'is no JSON list of channels and patterns, such as ["prices:*"]');
  return value as string[];
}
