import { expect, test } from "vitest";

import { byteLength, positioned, readPositions, unpositioned } from "../src/wire";

const encoder = new TextEncoder();

test("a publication is headed by its position, and bytes by the same one as bytes", () => {
  const publication = { channel: "prices:é", sequence: 7, payload: '{"a":1}' };
  expect(positioned("12", publication, 5)).toBe('\x1e12 7 5 prices:é\n{"a":1}');
  const framed = positioned("12", { ...publication, payload: new Uint8Array([0, 255]) }, 6);
  expect(framed).toEqual(new Uint8Array([...encoder.encode("\x1e12 7 6 prices:é\n"), 0, 255]));
});

test("what stands in no channel is marked where it could be mistaken for a publication", () => {
  expect(unpositioned("\x1e1 1 0 a\n")).toBe("\x1e\n\x1e1 1 0 a\n");
  expect(unpositioned("text")).toBe("text");
  expect(unpositioned("")).toBe("");
  expect(unpositioned(new Uint8Array([0x1e]))).toEqual(new Uint8Array([0x1e, 0x0a, 0x1e]));
});

test("positions are read up to 64 bits, the last one of a channel counts, and their channel may hold blanks", () => {
  const read = readPositions(["1 2 a b", `0${2n ** 64n - 1n} 3 c`.slice(1), "5 6 a b"]);
  expect(read).toEqual(
    new Map([
      ["a b", { channel: "a b", epoch: "5", sequence: 6n }],
      ["c", { channel: "c", epoch: "18446744073709551615", sequence: 3n }],
    ]),
  );
  expect(readPositions(["007 1 a"])).toEqual(new Map([["a", { channel: "a", epoch: "7", sequence: 1n }]]));
});

test.each(["", "1 2", "1 2 ", "-1 2 a", "1 +2 a", "1  2 a", "1 2.0 a", "١ 2 a", " 1 2 a"])(
  "%j is no position",
  (text) => {
    expect(readPositions([text])).toBe("a position is `<epoch> <sequence> <channel>`");
  },
);

test("numbers beyond 64 bits are refused", () => {
  expect(readPositions([`${2n ** 64n} 1 a`])).toBe("numbers of a position fit 64 bits");
  expect(readPositions([`1 ${"9".repeat(10_000)} a`])).toBe("numbers of a position fit 64 bits");
});

test.each(["", "ascii", "é", "€", "𝄞", "a€𝄞é"])("bytes of %j are those of UTF-8", (text) => {
  expect(byteLength(text)).toBe(encoder.encode(text).length);
});
