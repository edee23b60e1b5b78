/** Who may call a function: whoever has its secret. */

import { createHash, timingSafeEqual } from "node:crypto";

import { Code, Refusal } from "./answers.js";
import { secret } from "./environment.js";

const scheme = /^bearer +([!-~]+)$/i;

function digest(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}

/**
 * Let a request pass that has `Authorization: Bearer ...` with the secret of an environment variable. Without the
 * variable nobody passes.
 */
export function requireBearer(request: Request, variable: string): void {
  // Digests have one length: how long the comparison takes tells nothing of the secret's.
  const expected = digest(secret(variable));
  const presented = scheme.exec(request.headers.get("authorization") ?? "")?.[1];
  if (presented === undefined || !timingSafeEqual(digest(presented), expected)) {
    throw new Refusal(401, Code.Unauthorized, "the header Authorization: Bearer is missing or wrong", "", {
      "WWW-Authenticate": "Bearer",
    });
  }
}
