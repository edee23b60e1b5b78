/** Who asks for a token: exchange this for the session check of your site. */

import { requireBearer } from "./callers.js";

/** Who asks. */
export interface Caller {
  /** Whom the token is for; undefined leaves that to the request's body, which is right for a program of yours only. */
  readonly name?: string;
}

/**
 * Say who asks, or throw a `Refusal` with 401.
 *
 * As it is, it lets a program of yours pass, which has TOKEN_CALLER_SECRET and has checked its user itself: a web page must
 * never have that secret. Where pages ask, read their session here, its cookie for example, and return the user's name.
 */
export async function callerOf(request: Request): Promise<Caller> {
  requireBearer(request, "TOKEN_CALLER_SECRET");
  return {};
}
