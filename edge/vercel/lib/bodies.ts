/** Bodies of requests: so many bytes, UTF-8, a JSON object; numbers are never read, so that no digit is lost. */

import { Code, Refusal } from "./answers.js";

/** Most bytes of a body; the feed's own limit (`max_message_size`) is the same unless it is told another. */
export const maxBody = 1024 * 1024;
// What is read over the limit and thrown away, so that the sender reads why. Vercel passes on 4.5 MB at most.
const discarded = 8 * 1024 * 1024;
// The feed's limit for a message, and the object around it.
const maxDepth = 129;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function bad(message: string, path = "$"): Refusal {
  return new Refusal(400, Code.BadRequest, message, path);
}

/** The text of a body. */
export async function readText(request: Request): Promise<string> {
  if (!["", "identity"].includes((request.headers.get("content-encoding") ?? "").trim().toLowerCase())) {
    throw new Refusal(415, Code.BadRequest, "bodies are taken as they are, not compressed");
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > discarded) break;
    if (size <= maxBody) chunks.push(chunk);
  }
  if (size > maxBody) {
    throw new Refusal(413, Code.BadRequest, `the body is over the limit of ${maxBody} bytes`);
  }
  try {
    return utf8.decode(Buffer.concat(chunks));
  } catch {
    throw bad("this is no UTF-8");
  }
}

/**
 * The members of a JSON object as they are written: by name, the text of each value.
 *
 * All of it is valid JSON; a name that is there twice is refused, for readers differ in which of them counts.
 */
export function membersOf(text: string): Map<string, string> {
  checkDepth(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad("this is no JSON");
  }
  if (!isObject(value)) throw bad("this is no JSON object");
  const found = new Map<string, string>();
  let at = text.indexOf("{") + 1;
  for (;;) {
    const opening = text.indexOf('"', at);
    // What is left are spaces and the closing brace: each member begins with a quote.
    if (opening < 0) return found;
    const closing = endOfString(text, opening);
    const name = JSON.parse(text.slice(opening, closing)) as string;
    const begin = text.indexOf(":", closing) + 1;
    const end = endOfValue(text, begin);
    if (found.has(name)) throw bad("a member is there twice");
    found.set(name, text.slice(begin, end).trim());
    at = end + 1;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The string that a member's text is; undefined for another kind of value. */
export function stringOf(text: string): string | undefined {
  return text.startsWith('"') ? (JSON.parse(text) as string) : undefined;
}

/** Where the string that begins here ends: behind its quote, or at the end of a text that is no JSON. */
function endOfString(text: string, opening: number): number {
  for (let at = opening + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

/** Where the value of a member ends: at the comma behind it, or the brace that closes the object. */
function endOfValue(text: string, begin: number): number {
  let depth = 0;
  for (let at = begin; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at) - 1;
    else if (character === "{" || character === "[") depth += 1;
    else if (character === "," && depth === 0) return at;
    else if (character === "}" || character === "]") {
      if (depth === 0) return at;
      depth -= 1;
    }
  }
  return text.length;
}

/** Before it is parsed: how deep a parser may go is its own affair, and ours is to be alike in both languages. */
function checkDepth(text: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at) - 1;
    else if (character === "{" || character === "[") depth += 1;
    else if (character === "}" || character === "]") depth -= 1;
    if (depth > maxDepth) throw bad("this JSON is nested too deeply");
  }
}
