/** What tokens may allow: the grants of the environment, and what a caller asks for of them. */

import { Code, Refusal } from "./answers.js";
import { isObject } from "./bodies.js";
import { covers, patternFault } from "./channels.js";
import { notConfigured, required } from "./environment.js";

/** One grant, as a token has it. */
export interface Grant {
  /** A channel, or a pattern such as `prices:*`. */
  readonly ch: string;
  /** In the order of the alphabet, each once. */
  readonly ops: readonly string[];
}

const operations = ["publish", "subscribe"];
// Of an identity of the feed.
const maxGrants = 256;

/** The grants that a value describes; a text that says what is wrong with it, otherwise. */
function grantsOf(value: unknown): readonly Grant[] | string {
  if (!Array.isArray(value) || value.length > maxGrants) return `is no list of at most ${maxGrants} grants`;
  const grants: Grant[] = [];
  for (const one of value as unknown[]) {
    const ch = isObject(one) ? one["ch"] : undefined;
    const ops = isObject(one) ? one["ops"] : undefined;
    if (typeof ch !== "string" || !Array.isArray(ops) || !isObject(one) || Object.keys(one).length !== 2) {
      return 'has a grant that is not like {"ch": "prices:*", "ops": ["subscribe"]}';
    }
    const fault = patternFault(ch);
    if (fault !== undefined) return `has a grant whose pattern is none: ${fault}`;
    if (ops.length === 0 || !ops.every((name) => operations.includes(name as string))) {
      return "has a grant whose operations are not publish, subscribe or both";
    }
    grants.push({ ch, ops: operations.filter((name) => ops.includes(name)) });
  }
  return grants;
}

/** TOKEN_GRANTS: the most that a token of this function allows. */
export function configuredGrants(): readonly Grant[] {
  let value: unknown;
  try {
    value = JSON.parse(required("TOKEN_GRANTS"));
  } catch (thrown) {
    throw thrown instanceof Refusal ? thrown : notConfigured("TOKEN_GRANTS", "is no JSON");
  }
  const grants = grantsOf(value);
  if (typeof grants === "string") throw notConfigured("TOKEN_GRANTS", grants);
  if (grants.length === 0) throw notConfigured("TOKEN_GRANTS", "has no grant: its tokens would allow nothing");
  return grants;
}

/** What a token is to allow: all that is configured, or the part of it that a caller asks for. */
export function grantedOf(asked: unknown): readonly Grant[] {
  const configured = configuredGrants();
  if (asked === undefined) return configured;
  const grants = grantsOf(asked);
  if (typeof grants === "string") throw new Refusal(400, Code.BadRequest, `channels ${grants}`, "$.channels");
  for (const [place, grant] of grants.entries()) {
    const isCovered = grant.ops.every((operation) =>
      configured.some((one) => one.ops.includes(operation) && covers(one.ch, grant.ch)),
    );
    if (!isCovered) {
      const message = "this is more than tokens of this function allow";
      throw new Refusal(403, Code.PermissionDenied, message, `$.channels[${place}]`);
    }
  }
  return grants;
}
