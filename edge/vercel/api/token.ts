/**
 * `POST /api/token`: issues short-lived tokens for clients of the feed.
 *
 * The body is `{"name": ..., "channels": ..., "ttl": ...}`, all of it optional but the name where the session has none. The
 * claims are those of `websocket_utils.authentication.issue_token`, signed with HS256.
 */

import { createHmac } from "node:crypto";

import { Code, json, Refusal, refusalOf } from "../lib/answers.js";
import { membersOf, readText } from "../lib/bodies.js";
import { allowedOrigin, crossOriginHeaders } from "../lib/origins.js";
import { notConfigured, optional, required, seconds } from "../lib/environment.js";
import { type Grant, grantedOf } from "../lib/grants.js";
import { callerOf } from "../lib/session.js";

/** What a caller gets. */
export interface TokenAnswer {
  token: string;
  /** Who the bearer is. */
  name: string;
  /** When the token ends, in seconds since 1970. */
  expires_at: number;
  channels: readonly Grant[];
}

const known = new Set(["name", "channels", "ttl"]);
// The hash's size (RFC 7518 §3.2): a shorter secret is weaker than the algorithm.
const leastSecret = 32;
const maxName = 256;

function bad(message: string, path: string): Refusal {
  return new Refusal(400, Code.BadRequest, message, path);
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value), "utf8").toString("base64url");
}

function signed(claims: object): string {
  const secret = required("TOKEN_KEY");
  if (Buffer.byteLength(secret, "utf8") < leastSecret) {
    throw notConfigured("TOKEN_KEY", `has less than ${leastSecret} bytes`);
  }
  const content = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url(claims)}`;
  return `${content}.${createHmac("sha256", secret).update(content, "ascii").digest("base64url")}`;
}

/** A name that the feed takes: of 1 to 256 characters, none of which is a control character. */
function nameOf(ofSession: string | undefined, asked: unknown): string {
  if (ofSession !== undefined && asked !== undefined && asked !== ofSession) {
    throw new Refusal(403, Code.PermissionDenied, "the session is somebody else's", "$.name");
  }
  const name = ofSession ?? asked;
  if (typeof name !== "string" || name === "" || [...name].length > maxName) {
    throw bad(`name is a text of 1 to ${maxName} characters`, "$.name");
  }
  if (/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(name)) throw bad("name holds no control characters", "$.name");
  return name;
}

async function answer(request: Request): Promise<Response> {
  const headers = crossOriginHeaders(request);
  try {
    if (request.method === "OPTIONS" && allowedOrigin(request) !== undefined) {
      return new Response(null, { status: 204, headers });
    }
    if (request.method !== "POST") {
      throw new Refusal(405, Code.BadRequest, "only POST is answered", "", { Allow: "POST" });
    }
    const caller = await callerOf(request);
    const text = await readText(request);
    const members = membersOf(text.trim() === "" ? "{}" : text);
    for (const member of members.keys()) {
      if (!known.has(member)) throw bad("there are name, channels and ttl, and no other member", "$");
    }
    const read = (member: string): unknown => {
      const value = members.get(member);
      return value === undefined ? undefined : JSON.parse(value);
    };
    const name = nameOf(caller.name, read("name"));
    const channels = grantedOf(read("channels"));
    const most = seconds("TOKEN_TTL", 300, 1, 3600);
    const ttl = read("ttl") ?? most;
    if (typeof ttl !== "number" || !(ttl >= 1 && ttl <= most)) {
      throw bad(`ttl is a number of seconds from 1 to ${most}`, "$.ttl");
    }
    const now = Date.now() / 1000;
    const expiresAt = Math.ceil(now + ttl);
    const audience = optional("TOKEN_AUDIENCE");
    const issuer = optional("TOKEN_ISSUER");
    const token = signed({
      sub: name,
      iat: Math.floor(now),
      exp: expiresAt,
      channels,
      ...(audience === undefined ? {} : { aud: audience }),
      ...(issuer === undefined ? {} : { iss: issuer }),
    });
    const body: TokenAnswer = { token, name, expires_at: expiresAt, channels };
    return json(200, JSON.stringify(body), headers);
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
