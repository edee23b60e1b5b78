import assert from "node:assert/strict";
import { test } from "node:test";
import { covers, readPositions, split } from "../src/publication.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a publication is taken apart, as text and as bytes", () => {
  const place = { channel: "prices:Ü b", epoch: 18446744073709551615n, sequence: 12n, previous: 9n };
  const text = '\x1e18446744073709551615 12 9 prices:Ü b\n{"a":"\n"}';
  assert.deepEqual(split(text), { place, payload: '{"a":"\n"}' });
  assert.deepEqual(split(bytes(text)), { place, payload: bytes('{"a":"\n"}') });
  assert.equal(split("\x1e1 1 0 a\n")?.payload, "");
});

test("what stands in no channel is bare, and may begin with the mark", () => {
  for (const text of ["", "{}", " \x1e", "1 1 0 a\n"]) {
    assert.deepEqual(split(text), { place: null, payload: text });
    assert.deepEqual(split(bytes(text)), { place: null, payload: bytes(text) });
  }
  assert.deepEqual(split("\x1e\n\x1ex"), { place: null, payload: "\x1ex" });
  assert.deepEqual(split(bytes("\x1e\nx")), { place: null, payload: bytes("x") });
});

test("what begins as a publication and is none is refused", () => {
  for (const line of [
    "",
    "1",
    "1 1 0",
    "1 1 0 a",
    "1 1 0 \n",
    "1 1 1 a\n",
    "1 1 2 a\n",
    "-1 1 0 a\n",
    "+1 1 0 a\n",
    "1  1 0 a\n",
    "18446744073709551616 1 0 a\n",
    "1 18446744073709551616 0 a\n",
    `${"0".repeat(21)} 1 0 a\n`,
    `1 1 0 ${"a".repeat(1025)}\n`,
  ]) {
    assert.equal(split(`\x1e${line}`), null, line);
    assert.equal(split(bytes(`\x1e${line}`)), null, line);
  }
  assert.equal(split(new Uint8Array([0x1e, 0x31, 0x20, 0x31, 0x20, 0x30, 0x20, 0xff, 0x0a])), null);
});

test("positions are read, with channels that hold spaces, or not at all", () => {
  assert.deepEqual(
    readPositions(["7 0 a b", "18446744073709551615 5 c"]),
    new Map([
      ["a b", { epoch: 7n, sequence: 0n }],
      ["c", { epoch: 18446744073709551615n, sequence: 5n }],
    ]),
  );
  for (const text of ["", "1 2", "1 2 ", "a 2 c", "1 18446744073709551616 c", "-1 2 c", 5, null]) {
    assert.equal(readPositions(["1 2 c", text]), null, String(text));
  }
});

test("a pattern means all that begin with it, and a name itself alone", () => {
  const isMeant = covers(["prices:*", "a"]);
  assert.deepEqual(
    ["prices:", "prices:x", "price", "a", "ab", "*"].map(isMeant),
    [true, true, false, true, false, false],
  );
});
