/** Publishes through the HTTP door of the feed. */

import { createHash } from "node:crypto";

import { Code, log, Passing, Refusal } from "./answers.js";
import { isObject } from "./bodies.js";
import { keyedUrl, seconds, secret } from "./environment.js";

/** An answer of the door that says what became of the update. */
export interface DoorAnswer {
  readonly status: number;
  /** JSON, as the door wrote it. */
  readonly body: string;
}

interface Door {
  readonly url: string;
  readonly key: string;
  readonly timeout: number;
}

interface Raw {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

// An answer has some hundred bytes.
const maxAnswer = 64 * 1024;
const attempts = 2;

/** Where the door is, from FEED_URL, FEED_KEY and PUBLISH_TIMEOUT. */
export function door(): Door {
  return {
    url: `${keyedUrl("FEED_URL")}/api/publish`,
    key: secret("FEED_KEY"),
    timeout: seconds("PUBLISH_TIMEOUT", 2, 0.05, 4),
  };
}

/**
 * Key for an update that came without one: it follows from what is to be published, so that an update that is sent
 * again is published once, whoever sends it again.
 */
export function derivedKey(update: string): string {
  // 128 bits of it: the door keeps keys, and more of those that are shorter.
  return `update-${createHash("sha256").update(update, "utf8").digest("hex").slice(0, 32)}`;
}

/**
 * Publish an update, whose body has an idempotency key: what is tried twice is published once.
 *
 * A network error, no answer in time or a 5xx is followed by one more attempt, after 50 to 150 ms.
 */
export async function publish(to: Door, body: string): Promise<DoorAnswer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return judged(await post(to, body));
    } catch (thrown) {
      if (thrown instanceof Refusal) log("door", { attempt, code: thrown.code, why: thrown.message });
      if (attempt === attempts || !(thrown instanceof Passing)) throw thrown;
    }
    // Functions that failed together must not come back together.
    await new Promise((resolve) => setTimeout(resolve, 50 + 100 * Math.random()));
  }
}

async function post(to: Door, body: string): Promise<Raw> {
  try {
    return await exchange(to, body);
  } catch (thrown) {
    if (thrown instanceof Error && thrown.name === "TimeoutError") {
      throw new Passing(504, Code.DoorTimedOut, `the feed did not answer within ${to.timeout} s`);
    }
    throw new Passing(502, Code.DoorUnreachable, "the feed can't be reached");
  }
}

async function exchange(to: Door, body: string): Promise<Raw> {
  const response = await fetch(to.url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-API-Key": to.key },
    body,
    // The key is for this address alone.
    redirect: "manual",
    // For all of it, the answer's body too.
    signal: AbortSignal.timeout(to.timeout * 1000),
  });
  const chunks: Uint8Array[] = [];
  let room = maxAnswer;
  // What is cut off there is no JSON, and nothing that a door says.
  for await (const chunk of response.body ?? []) {
    room -= chunk.byteLength;
    if (room < 0) break;
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return { status: response.status, text, retryAfter: response.headers.get("retry-after") };
}

function judged(answer: Raw): DoorAnswer {
  const { status, text } = answer;
  const said = objectOf(text);
  if (status === 200 && isObject(said?.["result"])) return { status, body: text };
  if (status === 401 || status === 403) {
    throw new Refusal(502, Code.KeyRefused, `the feed does not take the key of this function: it answered ${status}`);
  }
  if (status === 429) {
    const wait = /^\d{1,6}$/.exec(answer.retryAfter ?? "")?.[0];
    const headers: Record<string, string> = wait === undefined ? {} : { "Retry-After": wait };
    throw new Refusal(429, Code.DoorBusy, "the feed takes no more now", "", headers);
  }
  const error = said?.["error"];
  const code = isObject(error) ? error["code"] : undefined;
  // Another 404 is a path: then FEED_URL leads elsewhere.
  const isOfTheUpdate = [400, 409, 413].includes(status) || (status === 404 && code === Code.UnknownChannel);
  if (isOfTheUpdate && typeof code === "number") return { status, body: text };
  const Kind = status >= 500 ? Passing : Refusal;
  throw new Kind(502, Code.DoorFailed, `the feed answered ${status}, which says nothing of the update`);
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
