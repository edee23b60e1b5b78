// `POST /api/publish` and `/api/broadcast`: bodies, answers and errors as those of the Python server's door.

import { nameFault } from "./channels";
import { compact, isJson, members } from "./json";
import type { Payload } from "./wire";
import { byteLength } from "./wire";

export const INTERNAL = 100;
export const UNAUTHORIZED = 101;
export const UNKNOWN_CHANNEL = 102;
export const PERMISSION_DENIED = 103;
export const NOT_FOUND = 104;
export const BAD_REQUEST = 107;
export const NOT_AVAILABLE = 108;
export const CONFLICT = 113;

export type Api = "publish" | "broadcast";

/** A request is refused: an HTTP status, a code as Centrifugo has it, and where in the body the fault is. */
export interface Refusal {
  status: number;
  code: number;
  message: string;
  path?: string;
}

/** What a request wants. */
export interface Command {
  api: Api;
  channels: string[];
  payload: Payload;
  /** Empty where the request has none. */
  idempotencyKey: string;
}

const MAX_CHANNELS = 1000;
const MAX_FAN_OUT = 16 * 1024 * 1024;
const MAX_KEY = 256;
// What is read over the limit and thrown away: a sender that is cut in the middle never sees why.
const DISCARDED = 16 * 1024 * 1024;

class Refused extends Error {
  readonly refusal: Refusal;

  constructor(status: number, code: number, message: string, path = "") {
    super(message);
    this.refusal = path === "" ? { status, code, message } : { status, code, message, path };
  }
}

const bad = (message: string, path: string): Refused => new Refused(400, BAD_REQUEST, message, path);

/** Read a body, in full before anything of it is done; `maxPayload` is bytes. */
export function readCommand(api: Api, text: string, maxPayload: number): { command: Command } | { refusal: Refusal } {
  try {
    return { command: command(api, text, maxPayload) };
  } catch (error) {
    if (error instanceof Refused) {
      return { refusal: error.refusal };
    }
    throw error;
  }
}

function command(api: Api, text: string, maxPayload: number): Command {
  if (!isJson(text)) {
    throw new Refused(400, BAD_REQUEST, "this is no JSON");
  }
  const body: unknown = JSON.parse(text);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw bad("Expected `object`", "$");
  }
  const fields = body as Record<string, unknown>;
  checkTypes(fields);
  const channels = channelsOf(api, fields);
  const data = members(text).get("data");
  const b64data = (fields["b64data"] as string | undefined) ?? "";
  if (data === undefined && b64data === "") {
    throw bad("Object missing required field `data`", "$");
  }
  if (data !== undefined && b64data !== "") {
    throw bad("there is data and b64data: which of them is meant?", "$");
  }
  for (const name of ["skip_history", "version", "version_epoch"]) {
    if (fields[name]) {
      throw new Refused(400, NOT_AVAILABLE, `${name} is not available here`, `$.${name}`);
    }
  }
  const idempotencyKey = (fields["idempotency_key"] as string | undefined) ?? "";
  if ([...idempotencyKey].length > MAX_KEY) {
    throw bad(`an idempotency key has at most ${MAX_KEY} characters`, "$.idempotency_key");
  }
  const size = byteLength(data ?? b64data);
  if (size * channels.length > MAX_FAN_OUT) {
    const what = `${size} bytes of data to ${channels.length} channels are over the limit of ${MAX_FAN_OUT} bytes`;
    throw new Refused(413, BAD_REQUEST, `${what} for one request: send fewer channels at a time`, "$.channels");
  }
  channels.forEach((channel, place) => {
    const fault = nameFault(channel);
    if (fault !== null) {
      throw bad(fault, api === "publish" ? "$.channel" : `$.channels[${place}]`);
    }
  });
  const payload = data === undefined ? binary(b64data) : payloadOf(data);
  if (byteLength(payload) > maxPayload) {
    throw new Refused(413, BAD_REQUEST, `data is over the limit of ${maxPayload} bytes (MAX_PAYLOAD)`, "$.data");
  }
  return { api, channels, payload, idempotencyKey };
}

function channelsOf(api: Api, fields: Record<string, unknown>): string[] {
  const name = api === "publish" ? "channel" : "channels";
  const value = fields[name];
  if (value === undefined) {
    throw bad(`Object missing required field \`${name}\``, "$");
  }
  if (api === "publish") {
    if (typeof value !== "string") {
      throw bad(`Expected \`str\`, got \`${kindOf(value)}\``, "$.channel");
    }
    return [value];
  }
  if (!Array.isArray(value)) {
    throw bad(`Expected \`array\`, got \`${kindOf(value)}\``, "$.channels");
  }
  value.forEach((one: unknown, place) => {
    if (typeof one !== "string") {
      throw bad(`Expected \`str\`, got \`${kindOf(one)}\``, `$.channels[${place}]`);
    }
  });
  if (value.length === 0 || value.length > MAX_CHANNELS) {
    throw bad(`a broadcast has 1 to ${MAX_CHANNELS} channels, not ${value.length}`, "$.channels");
  }
  return value as string[];
}

const OPTIONAL: Record<string, "str" | "bool" | "int" | "object | null"> = {
  b64data: "str",
  idempotency_key: "str",
  tags: "object | null",
  delta: "bool",
  skip_history: "bool",
  version: "int",
  version_epoch: "str",
};

function checkTypes(fields: Record<string, unknown>): void {
  for (const [name, wanted] of Object.entries(OPTIONAL)) {
    const value = fields[name];
    if (value !== undefined && !wanted.split(" | ").includes(kindOf(value))) {
      throw bad(`Expected \`${wanted}\`, got \`${kindOf(value)}\``, `$.${name}`);
    }
  }
  for (const [name, tag] of Object.entries(fields["tags"] ?? {})) {
    if (typeof tag !== "string") {
      throw bad(`Expected \`str\`, got \`${kindOf(tag)}\``, `$.tags.${name}`);
    }
  }
}

function kindOf(value: unknown): string {
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "array";
  }
  if (typeof value === "number") {
    return Number.isInteger(value) ? "int" : "float";
  }
  return { string: "str", boolean: "bool" }[typeof value as string] ?? "object";
}

/** Any JSON is published as its text, a JSON string as a text message. */
function payloadOf(data: string): Payload {
  return data.startsWith('"') ? (JSON.parse(data) as string) : compact(data);
}

function binary(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw bad("b64data is no base64", "$.b64data");
  }
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

const HEADERS = {
  "Content-Type": "application/json",
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
};

export function refused({ status, code, message, path }: Refusal, headers: Record<string, string> = {}): Response {
  const body = JSON.stringify({ error: path === undefined ? { code, message } : { code, message, path } });
  // RFC 9110 §15.5.2 wants to know how to do better.
  return answered(body, status, { ...(status === 401 ? { "WWW-Authenticate": "apikey" } : {}), ...headers });
}

export function answered(body: string, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(body, { status, headers: { ...HEADERS, ...headers } });
}

/** Read a body of at most `limit` bytes; one that is bigger is never held. */
export async function readBody(request: Request, limit: number): Promise<{ text: string } | { refusal: Refusal }> {
  const encoding = request.headers.get("Content-Encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding !== "identity") {
    // What a small body inflates to is for its sender to choose.
    return { refusal: { status: 415, code: BAD_REQUEST, message: "bodies are taken as they are, not compressed" } };
  }
  const message = `the body is over the limit of ${limit} bytes (MAX_MESSAGE)`;
  const tooBig = { status: 413, code: BAD_REQUEST, message };
  if (Number(request.headers.get("Content-Length") ?? 0) > limit + DISCARDED) {
    return { refusal: tooBig };
  }
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += (chunk as Uint8Array).length;
      if (size > limit + DISCARDED) {
        return { refusal: tooBig };
      }
      text = size > limit ? "" : text + decoder.decode(chunk as Uint8Array, { stream: true });
    }
    if (size > limit) {
      return { refusal: tooBig };
    }
    text += decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) {
      return { refusal: { status: 400, code: BAD_REQUEST, message: "this is no JSON: it is no UTF-8" } };
    }
    throw error;
  }
  return { text };
}
