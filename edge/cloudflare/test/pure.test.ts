import { expect, test } from "vitest";

import { Audience } from "../src/audience";
import { MAX_BATCH_UPDATES, readBatch } from "../src/batch";
import { nameFault, Namespaces, namespaceOf, patternFault } from "../src/channels";
import { readCommand } from "../src/door";
import { compact, isJson, members } from "../src/json";
import { isSame, keyFault, presentedKeys } from "../src/keys";
import { isOriginAllowed } from "../src/origins";
import { CommandRate } from "../src/rates";
import { readSettings } from "../src/settings";
import { identityIn, identityOf, may } from "../src/tokens";

test("names have 1 to 256 characters, however many units they are, and none that is not seen", () => {
  expect(nameFault("𝄞".repeat(256))).toBeNull();
  expect(nameFault("𝄞".repeat(257))).toMatch("1 to 256");
  expect(nameFault("")).toMatch("1 to 256");
  expect(nameFault("a b:c")).toBeNull();
  for (const character of ["\n", "\0", "\x1e", "\x7f", "\u200b", "\u2028", "\u00a0", "\ud800", "\u{10ffff}"]) {
    expect(nameFault(`a${character}`)).toMatch("control characters");
  }
  expect(nameFault("a*")).toMatch("`*`");
});

test("patterns end with a star, and one is a star alone", () => {
  expect([patternFault("*"), patternFault("a:*"), patternFault("a")]).toEqual([null, null, null]);
  expect([patternFault("**"), patternFault("*a"), patternFault("")]).not.toContain(null);
});

test("namespaces are what is before the colon, and any where the setting is empty", () => {
  expect([namespaceOf("a:b:c"), namespaceOf("a"), namespaceOf(":a")]).toEqual(["a", "a", ""]);
  const some = new Namespaces("prices, slots\taccounts");
  expect(["prices:a", "slots", "accounts:*", "orders:1", "price", "*"].map((name) => some.isServed(name))).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  expect(new Namespaces("").isServed("anything")).toBe(true);
  expect(new Namespaces(undefined).isServed("anything")).toBe(true);
});

test("a batch is read to the last update, and payloads are left alone", () => {
  expect(readBatch('\x1e1700000000000 5\na:b\n{"x":18446744073709551615}\nc\n"\\n"\n')).toEqual({
    epoch: 1700000000000,
    first: 5,
    updates: [
      { channel: "a:b", payload: '{"x":18446744073709551615}' },
      { channel: "c", payload: '"\\n"' },
    ],
  });
  const most = "a\n1\n".repeat(MAX_BATCH_UPDATES);
  expect(readBatch(`\x1e1 1\n${most}`)).not.toBeTypeOf("string");
  expect(readBatch(`\x1e1 1\n${most}a\n1\n`)).toMatch("at most 1024 updates, not 1025");
});

test.each([
  "",
  "\x1e",
  "\x1e1 1",
  "\x1e1 1\n",
  "\x1e1 1\na\n",
  "\x1e1 1\na\n1",
  "\x1e1 1\na\n1\nb\n",
  "\x1e-1 1\na\n1\n",
  "x\na\n1\n",
])("%j is no batch", (frame) => {
  expect(readBatch(frame)).toBeTypeOf("string");
});

test("JSON loses its blanks and nothing else", () => {
  expect(compact('{ "a b" :\n[ 1.0e5 ,\t"c \\" , d" ] }')).toBe('{"a b":[1.0e5,"c \\" , d"]}');
  expect(isJson("18446744073709551615")).toBe(true);
  expect(isJson("01")).toBe(false);
});

test("members are cut out as they stand, whatever is inside them", () => {
  const text = '{"a":{"data":1,"b":["}",{}]} , "data" : 18446744073709551615,"d\\u0061ta2":"x\\"","e":[],"f":-1.0}';
  expect([...members(text)]).toEqual([
    ["a", '{"data":1,"b":["}",{}]}'],
    ["data", "18446744073709551615"],
    ["data2", '"x\\""'],
    ["e", "[]"],
    ["f", "-1.0"],
  ]);
  expect(members('{"a":1,"a":2}').get("a")).toBe("2");
  expect(members("{}").size).toBe(0);
});

test("members of any object are those that JSON.parse finds", () => {
  const values: unknown[] = [null, true, -1.5, 'a:,{}[]"\\\n', [], {}, [[{ a: [] }]], { b: { c: "," } }];
  for (const value of values) {
    const body = { first: value, 'se"cond:': values, third: { first: value } };
    const found = members(JSON.stringify(body, null, 1));
    expect(Object.fromEntries([...found].map(([name, text]) => [name, JSON.parse(text) as unknown]))).toEqual(body);
  }
});

test("an audience is told of a channel once, by name or pattern, until it leaves", () => {
  const audience = new Audience<string>();
  audience.add("a:b", "one");
  audience.add("a:*", "one");
  audience.add("a:*", "two");
  expect([...audience.of("a:b")].sort()).toEqual(["one", "two"]);
  audience.add("*", "three");
  expect([...audience.of("a:b")].sort()).toEqual(["one", "three", "two"]);
  audience.remove("a:*", "one");
  audience.remove("a:b", "one");
  audience.remove("*", "three");
  expect([...audience.of("a:b")]).toEqual(["two"]);
  expect([...audience.of("c")]).toEqual([]);
});

test("keys are compared whole, and one that is none lets nobody in", async () => {
  const key = "0123456789abcdef";
  expect(await Promise.all([isSame(key, key), isSame(`${key}x`, key), isSame("", key)])).toEqual([true, false, false]);
  expect(keyFault(key)).toBeNull();
  for (const none of [undefined, null, "", "short", "0123456789 abcdef", "0123456789abcdeé"]) {
    expect(keyFault(none)).toMatch("PUBLISH_KEY");
  }
  expect(presentedKeys(new Headers({ "X-API-Key": "a", Authorization: "ApiKey b" }))).toEqual(["a", "b"]);
  expect(presentedKeys(new Headers({ Authorization: "Bearer b" }))).toEqual([]);
});

test("origins are compared in their one form", () => {
  const setting = "https://desk.example, http://localhost:3000";
  expect(
    ["https://DESK.example", "https://desk.example:443", "http://localhost:3000", null].map((origin) =>
      isOriginAllowed(origin, setting),
    ),
  ).toEqual([true, true, true, true]);
  for (const origin of [
    "http://desk.example",
    "https://desk.example.evil",
    "https://desk.example/a",
    "null",
    "x",
    "",
  ]) {
    expect(isOriginAllowed(origin, setting)).toBe(false);
  }
  expect(isOriginAllowed("https://any.example", "")).toBe(true);
});

test("a rate allows twice as many at once, refuses eight times as many, and then it is too much", () => {
  const rate = new CommandRate(10, 0);
  const verdicts = Array.from({ length: 101 }, () => rate.judge(0));
  expect(verdicts.filter((one) => one === "allowed")).toHaveLength(20);
  expect(verdicts.filter((one) => one === "refused")).toHaveLength(80);
  expect(verdicts.at(-1)).toBe("excessive");
  expect(rate.judge(0.1)).toBe("allowed");
  // A clock that goes back gives nothing.
  expect(rate.judge(0.05)).not.toBe("allowed");
});

test("settings that are none are refused by name", () => {
  expect(readSettings({}).socketsPerShard).toBe(2000);
  for (const text of ["0", "-1", "1.5", "1e3", "many", "99999999"]) {
    expect(() => readSettings({ SOCKETS_PER_SHARD: text })).toThrow("SOCKETS_PER_SHARD");
  }
});

const SECRET = "a secret of thirty-two bytes or more";
const CLAIMS = { sub: "desk", exp: 1000, channels: [{ ch: "prices:*", ops: ["subscribe"] }] };

async function signed(claims: object, header: object = { alg: "HS256", typ: "JWT" }, secret = SECRET): Promise<string> {
  const part = (value: string): string => btoa(value).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const text = `${part(JSON.stringify(header))}.${part(JSON.stringify(claims))}`;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const encoder = new TextEncoder();
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
  return `${text}.${part(String.fromCharCode(...signature))}`;
}

test("a token names who and what until its end, and the clocks may differ", async () => {
  const identity = await identityOf(await signed(CLAIMS), SECRET, 1004.9, 5);
  expect(identity).toEqual({
    name: "desk",
    grants: [{ pattern: "prices:*", operations: ["subscribe"] }],
    expiresAt: 1005,
  });
  expect([may(identity, "subscribe", "prices:*"), may(identity, "subscribe", "*")]).toEqual([true, false]);
  expect(may(identity, "publish", "prices:a")).toBe(false);
  await expect(identityOf(await signed(CLAIMS), SECRET, 1005, 5)).rejects.toThrow("expired");
});

test.each(["none", "HS512", "RS256", undefined])(
  "a token that says %j is refused, whatever its signature",
  async (alg) => {
    await expect(identityOf(await signed(CLAIMS, { alg }), SECRET, 0, 0)).rejects.toThrow("not valid");
  },
);

test("a token that was changed, or signed by somebody else, is refused", async () => {
  const token = await signed(CLAIMS);
  const [head, , signature] = token.split(".");
  const [, other] = (await signed({ ...CLAIMS, sub: "admin" })).split(".");
  for (const wrong of [
    `${head}.${other}.${signature}`,
    `${head}.${other}.`,
    "",
    "a.b",
    "a.b.c",
    `${token}.x`,
    "..",
    "é.é.é",
  ]) {
    await expect(identityOf(wrong, SECRET, 0, 0)).rejects.toThrow("not valid");
  }
  await expect(identityOf(await signed(CLAIMS, undefined, `${SECRET}!`), SECRET, 0, 0)).rejects.toThrow("not valid");
  await expect(identityOf(token, "short", 0, 0)).rejects.toThrow("TOKEN_KEY");
  await expect(identityOf("x".repeat(20_000), SECRET, 0, 0)).rejects.toThrow("too long");
});

test.each([
  { sub: "" },
  { sub: 1 },
  { sub: "a\n" },
  { exp: undefined },
  { exp: "soon" },
  { nbf: "x" },
  { channels: "prices:*" },
  { channels: null },
  { channels: [{ ch: "a**", ops: ["subscribe"] }] },
  { channels: [{ ch: "a", ops: [] }] },
  { channels: [{ ch: "a", ops: ["own"] }] },
  { channels: [null] },
  { channels: Array.from({ length: 257 }, () => CLAIMS.channels[0]) },
])("claims with %j are refused", (changed) => {
  expect(() => identityIn({ ...CLAIMS, ...changed }, 0, 0)).toThrow("not valid");
});

test("a command is read in full, and its data is the text it came as", () => {
  expect(readCommand("publish", '{"channel":"a","data": {"v": 18446744073709551615}}', 1000)).toEqual({
    command: { api: "publish", channels: ["a"], payload: '{"v":18446744073709551615}', idempotencyKey: "" },
  });
  expect(readCommand("publish", '{"channel":"a","data":"text\\n"}', 1000)).toMatchObject({
    command: { payload: "text\n" },
  });
  expect(readCommand("publish", `{"channel":"a","data":"${"x".repeat(1001)}"}`, 1000)).toMatchObject({
    refusal: { status: 413, code: 107, path: "$.data" },
  });
});
