import assert from "node:assert/strict";
import { test } from "node:test";
import { readJson, writeJson } from "../src/numbers.js";

test("integers beyond 2**53 - 1 are bigint, and all others numbers", () => {
  const cases: [string, unknown][] = [
    ["9007199254740991", 9007199254740991],
    ["9007199254740992", 9007199254740992n],
    ["9007199254740993", 9007199254740993n],
    ["-9007199254740993", -9007199254740993n],
    ["18446744073709551615", 18446744073709551615n],
    ["-9223372036854775808", -9223372036854775808n],
    ["1234567890123456", 1234567890123456],
    // More than 64 bits, and what is no integer: as JSON.parse has it.
    ["123456789012345678901", 123456789012345680000],
    ["0.12345678901234567890", 0.12345678901234568],
    ["12345678901234567890.5", 12345678901234567000],
    ["12345678901234567890e2", 1234567890123456789000],
    ["1e17", 1e17],
  ];
  for (const [text, value] of cases) {
    assert.equal(readJson(text), value, text);
    assert.deepEqual(readJson(`{"a":[${text}, ${text}],"12345678901234567890":${text}}`), {
      a: [value, value],
      "12345678901234567890": value,
    });
  }
});

test("texts that look like numbers or marks stay texts, and keys keys", () => {
  for (const value of [
    "18446744073709551615",
    'a "18446744073709551615" b',
    "\\18446744073709551615",
    "\0n18446744073709551615",
    "\0" + "18446744073709551615",
    "\0\0" + "18446744073709551615",
    "",
  ]) {
    const text = JSON.stringify({ [value]: value, list: [value] }).replace("}", ',"big":18446744073709551615}');
    assert.deepEqual(readJson(text), { [value]: value, list: [value], big: 18446744073709551615n }, text);
  }
});

test("a text that is no JSON is a SyntaxError, and takes no longer the longer it is", () => {
  for (const text of ["", "{", "12345678901234567890 1", '"12345678901234567890', "[1234567890123456789,]", "NaN"]) {
    assert.throws(() => readJson(text), SyntaxError, text);
  }
  // Quadratic time would be minutes here.
  assert.throws(() => readJson(`12345678901234567890 ${'\\"'.repeat(500_000)}`), SyntaxError);
  assert.equal(readJson(`["${'\\"'.repeat(500_000)}", 12345678901234567890]`) !== null, true);
  assert.equal(typeof readJson("1".repeat(300)), "number");
});

test("what is written is read again", () => {
  const values = [
    1,
    2n ** 64n - 1n,
    "text",
    "\0" + "5",
    "\0\0x",
    'a"\0' + '5"',
    ["\0", 9007199254740993n],
    { ["\0" + "5"]: 9007199254740993n, b: null, '"': "\0" + "5" },
    { a: { b: [9007199254740993n, "9007199254740993"] } },
  ];
  for (const value of values) assert.deepEqual(readJson(writeJson(value)), value);
  assert.equal(writeJson({ a: -5n, b: 2n ** 64n }), '{"a":-5,"b":18446744073709551616}');
});

test("what has no form in JSON is a TypeError", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  for (const value of [undefined, () => 1, Symbol("x"), circle]) assert.throws(() => writeJson(value), TypeError);
});
