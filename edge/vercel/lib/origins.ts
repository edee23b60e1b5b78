/** Which web pages of other origins may read what a function answers: those of TOKEN_ORIGINS, by default none. */

import { notConfigured, optional } from "./environment.js";

const origin = /^https?:\/\/[^\s/*?#@]+$/;

/** The origin of the page that asks, if it is one of TOKEN_ORIGINS; undefined otherwise, and for what is no page. */
export function allowedOrigin(request: Request): string | undefined {
  const listed = (optional("TOKEN_ORIGINS") ?? "").split(/[\s,]+/).filter((one) => one !== "");
  // With credentials "*" would be every page that a user of yours looks at.
  if (!listed.every((one) => origin.test(one))) {
    throw notConfigured("TOKEN_ORIGINS", "is no list of origins such as https://desk.example");
  }
  const asking = request.headers.get("origin");
  return asking !== null && listed.includes(asking) ? asking : undefined;
}

/** What tells a browser so; a cache must know that the answer differs by origin. */
export function crossOriginHeaders(request: Request): Record<string, string> {
  const allowed = allowedOrigin(request);
  if (allowed === undefined) return { Vary: "Origin" };
  return {
    Vary: "Origin",
    "Access-Control-Allow-Origin": allowed,
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
  };
}
