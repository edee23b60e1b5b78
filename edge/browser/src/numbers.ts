// JSON whose integers are exact. `JSON.parse` rounds those beyond 2**53 - 1, which amounts on chains and times in
// nanoseconds are.
//
// Browsers are about to hand the source text of numbers to a reviver, but not all do. There is one way for all of them
// here, so that what is tested is what runs: a text with a long run of digits is marked by a scan over its tokens, and
// parsed once more. Every other text costs one search.

const LONG = /\d{16}/;
// The tokens of a text that is known to be JSON: a string with the colon that makes it a key, or a number.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
// A character that stands in no JSON text as it is.
const MARK = "\0";
const WRITTEN_MARK = '"\\u0000';
// What 64 bits hold has at most 20 digits, and turning endless ones into a number takes endless time.
const BIG = /^-?\d{16,20}$/;

function marked(token: string, colon: string | undefined): string {
  if (colon !== undefined) return token;
  if (token.startsWith(WRITTEN_MARK)) return WRITTEN_MARK + token.slice(1);
  return BIG.test(token) && !Number.isSafeInteger(Number(token)) ? `${WRITTEN_MARK}${token}"` : token;
}

function unmarked(_key: string, value: unknown): unknown {
  if (typeof value !== "string" || value[0] !== MARK) return value;
  return value[1] === MARK ? value.slice(1) : BigInt(value.slice(1));
}

/**
 * Reads JSON: integers of up to 20 digits beyond 2**53 - 1 are `bigint`, all other numbers `number`.
 *
 * Throws a `SyntaxError` if it is none.
 */
export function readJson(text: string): unknown {
  // First as it is: the scan relies on strings that end.
  const value: unknown = JSON.parse(text);
  return LONG.test(text) ? JSON.parse(text.replace(TOKENS, marked), unmarked) : value;
}

/** Writes JSON, `bigint` as an integer. Throws a `TypeError` if the value has no such form. */
export function writeJson(value: unknown): string {
  let isMarked = false;
  const text: unknown = JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === "bigint" || (typeof one === "string" && one[0] === MARK)) {
      isMarked = true;
      return `${MARK}${one}`;
    }
    return one;
  });
  if (typeof text !== "string") throw new TypeError(`${typeof value} has no form in JSON`);
  if (!isMarked) return text;
  return text.replace(TOKENS, (token: string, colon: string | undefined) => {
    if (colon !== undefined || !token.startsWith(WRITTEN_MARK)) return token;
    const rest = token.slice(WRITTEN_MARK.length);
    return rest.startsWith("\\u0000") ? `"${rest}` : rest.slice(0, -1);
  });
}
