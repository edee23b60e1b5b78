// Tokens of clients (RFC 7519), HS256, as the Python package issues and verifies them.

import { isPrintable, MAX_NAME, patternFault } from "./channels";

export type Operation = "subscribe" | "publish";

export interface Grant {
  pattern: string;
  operations: Operation[];
}

/** Who a client is and what it may do; kept with its socket, so it is data alone. */
export interface Identity {
  name: string;
  grants: Grant[];
  /** When this ends, in seconds since 1970. */
  expiresAt: number;
}

/** A token is refused; the message is what its bearer may know. */
export class Unauthorized extends Error {
  override name = "Unauthorized";
}

const MAX_TOKEN = 16 * 1024;
const MAX_GRANTS = 256;
const LEAST_SECRET = 32;
const NOT_VALID = "the token is not valid";
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What is wrong with the secret that tokens are signed with; null if nothing is. */
export function secretFault(secret: string): string | null {
  const length = encoder.encode(secret).length;
  const fault = `TOKEN_KEY needs at least ${LEAST_SECRET} bytes, not ${length} (RFC 7518 §3.2)`;
  return length < LEAST_SECRET ? fault : null;
}

/**
 * Return the identity that a token names.
 *
 * `now` is seconds since 1970, `leeway` the seconds by which the issuer's clock may differ. Throws `Unauthorized`.
 */
export async function identityOf(token: string, secret: string, now: number, leeway: number): Promise<Identity> {
  if (token.length > MAX_TOKEN) {
    throw new Unauthorized("the token is too long");
  }
  if (secretFault(secret) !== null) {
    throw new Unauthorized("tokens can't be verified here: the secret TOKEN_KEY is too short");
  }
  const parts = token.split(".");
  const [head, claims, signature] = parts;
  if (parts.length !== 3 || head === undefined || claims === undefined || signature === undefined) {
    throw new Unauthorized(NOT_VALID);
  }
  // The algorithm is ours, never the token's choice.
  if (object(head)["alg"] !== "HS256") {
    throw new Unauthorized(NOT_VALID);
  }
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["verify"]);
  if (!(await crypto.subtle.verify("HMAC", key, bytes(signature), encoder.encode(`${head}.${claims}`)))) {
    throw new Unauthorized(NOT_VALID);
  }
  return identityIn(object(claims), now, leeway);
}

/** Read the claims of a token whose signature is right. */
export function identityIn(claims: Record<string, unknown>, now: number, leeway: number): Identity {
  const { sub, exp, nbf, iat } = claims;
  const expiry = whole(exp);
  if (typeof sub !== "string" || sub === "" || sub.length > MAX_NAME || !isPrintable(sub) || expiry === null) {
    throw new Unauthorized(NOT_VALID);
  }
  if (expiry <= now - leeway) {
    throw new Unauthorized("the token has expired");
  }
  for (const from of [nbf, iat]) {
    const begin = from === undefined ? 0 : whole(from);
    if (begin === null) {
      throw new Unauthorized(NOT_VALID);
    }
    if (begin > now + leeway) {
      throw new Unauthorized("the token is not valid yet");
    }
  }
  if (claims["aud"] !== undefined) {
    // It is meant for somebody else: no audience is set here.
    throw new Unauthorized("the token is for another audience");
  }
  return { name: sub, grants: grantsIn(claims), expiresAt: expiry + leeway };
}

function grantsIn(claims: Record<string, unknown>): Grant[] {
  // The first of these claims that is there counts.
  const listed = "channels" in claims ? claims["channels"] : "caps" in claims ? claims["caps"] : [];
  if (!Array.isArray(listed) || listed.length > MAX_GRANTS) {
    throw new Unauthorized(NOT_VALID);
  }
  return listed.map((one: unknown) => {
    const { ch, ops } = (typeof one === "object" && one !== null ? one : {}) as { ch?: unknown; ops?: unknown };
    const isList = Array.isArray(ops) && ops.length > 0 && ops.every((op) => op === "subscribe" || op === "publish");
    if (typeof ch !== "string" || patternFault(ch) !== null || !isList) {
      throw new Unauthorized(NOT_VALID);
    }
    return { pattern: ch, operations: ops as Operation[] };
  });
}

/** Whether an identity may do something on a channel, or on every channel that a pattern can be. */
export function may(identity: Identity, operation: Operation, name: string): boolean {
  return identity.grants.some(
    ({ pattern, operations }) =>
      operations.includes(operation) &&
      (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern),
  );
}

function whole(value: unknown): number | null {
  // As PyJWT reads times: an integer, or what int() makes one.
  const number = typeof value === "string" && /^-?[0-9]+$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? Math.trunc(number) : null;
}

function bytes(part: string): Uint8Array {
  if (!/^[A-Za-z0-9_-]*$/.test(part)) {
    throw new Unauthorized(NOT_VALID);
  }
  try {
    const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    throw new Unauthorized(NOT_VALID);
  }
}

function object(part: string): Record<string, unknown> {
  try {
    const read: unknown = JSON.parse(decoder.decode(bytes(part)));
    if (typeof read === "object" && read !== null && !Array.isArray(read)) {
      return read as Record<string, unknown>;
    }
  } catch {
    // It is refused below.
  }
  throw new Unauthorized(NOT_VALID);
}
