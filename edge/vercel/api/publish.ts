/**
 * `POST /api/publish`: publishes an update through the HTTP door of the feed.
 *
 * The body is `{"channel": ..., "data": ..., "idempotency_key": ...}`; `publish_price.py` is the same in Python, and
 * one set of tests holds both to it.
 */

import { Code, json, Refusal, refusalOf } from "../lib/answers.js";
import { membersOf, readText, stringOf } from "../lib/bodies.js";
import { requireBearer } from "../lib/callers.js";
import { allows, nameFault } from "../lib/channels.js";
import { derivedKey, door, publish } from "../lib/door.js";
import { patterns } from "../lib/environment.js";
import type { AccountUpdate, PriceUpdate } from "../lib/messages.js";

/** What a caller sends. An integer beyond 2**53 - 1 is put into the text of the body, not into a `number`. */
export interface PublishRequest<Data = PriceUpdate | AccountUpdate> {
  channel: string;
  /** What is published, of the type that the channel's namespace has. */
  data: Data;
  /** What is sent twice with the same key is published once. Without one, what is equal is the same update. */
  idempotency_key?: string;
}

/** What a caller gets back: where in its channel the update stands. */
export interface PublishAnswer {
  result: { offset: number; epoch: string };
}

const known = new Set(["channel", "data", "idempotency_key"]);
const keyForm = /^[!-~]{1,256}$/;

function bad(message: string, path: string): Refusal {
  return new Refusal(400, Code.BadRequest, message, path);
}

/** The key that a request names, in its body or its header; undefined if it has none. */
function namedKey(request: Request, member: string | undefined): string | undefined {
  const header = request.headers.get("idempotency-key") ?? undefined;
  const inBody = member === undefined ? undefined : stringOf(member);
  for (const key of [header, member === undefined ? undefined : (inBody ?? "")]) {
    if (key !== undefined && !keyForm.test(key)) {
      throw bad("an idempotency key has 1 to 256 characters of ASCII without spaces", "$.idempotency_key");
    }
  }
  if (header !== undefined && inBody !== undefined && header !== inBody) {
    throw bad("the idempotency keys of header and body differ", "$.idempotency_key");
  }
  return inBody ?? header;
}

async function answer(request: Request): Promise<Response> {
  if (request.method !== "POST") {
    throw new Refusal(405, Code.BadRequest, "only POST is answered", "", { Allow: "POST" });
  }
  requireBearer(request, "PUBLISH_TOKEN");
  const to = door();
  const allowed = patterns("PUBLISH_CHANNELS");
  const members = membersOf(await readText(request));
  for (const name of members.keys()) {
    if (!known.has(name)) throw bad("there are channel, data and idempotency_key, and no other member", "$");
  }
  const channel = members.get("channel");
  const data = members.get("data");
  if (channel === undefined || data === undefined) throw bad("channel and data are both needed", "$");
  const name = stringOf(channel);
  if (name === undefined) throw bad("channel is no string", "$.channel");
  const fault = nameFault(name);
  if (fault !== undefined) throw bad(fault, "$.channel");
  if (!allows(allowed, name)) {
    throw new Refusal(403, Code.PermissionDenied, "this function does not publish in that channel", "$.channel");
  }
  // Spliced, not written anew: a number that JavaScript can't hold keeps its digits.
  const update = `"channel":${channel},"data":${data}`;
  const key = namedKey(request, members.get("idempotency_key")) ?? derivedKey(update);
  const headers = { "Idempotency-Key": key };
  try {
    const { status, body } = await publish(to, `{${update},"idempotency_key":${JSON.stringify(key)}}`);
    return json(status, body, headers);
  } catch (thrown) {
    return refusalOf(thrown, headers);
  }
}

export default {
  async fetch(request: Request): Promise<Response> {
    try {
      return await answer(request);
    } catch (thrown) {
      return refusalOf(thrown);
    }
  },
};
