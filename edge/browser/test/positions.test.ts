import assert from "node:assert/strict";
import { test } from "node:test";
import { type Gap, Positions } from "../src/positions.js";

const at = (channel: string, sequence: number, previous = sequence - 1, epoch = 7) => ({
  channel,
  epoch: BigInt(epoch),
  sequence: BigInt(sequence),
  previous: BigInt(previous),
});

function positions(most?: number): { known: Positions; gaps: Gap[] } {
  const gaps: Gap[] = [];
  return { known: new Positions((gap) => gaps.push(gap), most), gaps };
}

test("what follows is taken, what was here is dropped and counted", () => {
  const { known, gaps } = positions();
  assert.deepEqual([3, 4, 4, 3, 5].map((sequence) => known.read(at("a", sequence))), [true, true, false, false, true]);
  assert.equal(known.duplicates, 2);
  assert.deepEqual(gaps, []);
});

test("a broken chain is a gap, before the message that shows it", () => {
  const { known, gaps } = positions();
  known.read(at("a", 3));
  assert.equal(known.read(at("a", 9, 6)), true);
  assert.deepEqual(gaps, [{ channel: "a", last: 3n, next: 9n }]);
  // Numbers that were skipped by their sender are no gap.
  known.read(at("a", 20, 9));
  // Nor is another channel's number.
  known.read(at("b", 1));
  assert.equal(gaps.length, 1);
});

test("another epoch is a gap, also where its number would follow", () => {
  const { known, gaps } = positions();
  known.read(at("a", 3));
  assert.equal(known.read(at("a", 4, 3, 8)), true);
  assert.deepEqual(gaps, [{ channel: "a", last: 3n, next: 4n }]);
  known.read(at("a", 5, 4, 8));
  assert.equal(gaps.length, 1);
});

test("what the server says it left out is no gap, up to there and in that epoch alone", () => {
  const { known, gaps } = positions();
  known.read(at("a", 3));
  known.lag("a", 9n);
  known.read(at("a", 7, 6));
  known.read(at("a", 10, 9));
  assert.deepEqual(gaps, []);
  known.read(at("a", 12, 11));
  assert.deepEqual(gaps, [{ channel: "a", last: 10n, next: 12n }]);
  known.lag("a", 99n);
  known.read(at("a", 1, 0, 8));
  known.read(at("a", 50, 49, 8));
  assert.equal(gaps.length, 3);
});

test("beside another connection only what follows in order is taken", () => {
  const { known, gaps } = positions();
  known.read(at("a", 3));
  assert.deepEqual(
    [at("a", 3), at("a", 5), at("b", 1), at("a", 4, 3, 8), at("a", 4)].map((place) => known.follow(place)),
    [false, false, false, false, true],
  );
  assert.equal(known.duplicates, 1);
  assert.deepEqual(gaps, []);
});

test("of too many channels the longest unused is forgotten, with a gap", () => {
  const { known, gaps } = positions(3);
  for (const channel of ["a", "b", "c"]) known.read(at(channel, 1));
  known.read(at("a", 2));
  known.read(at("d", 1));
  assert.deepEqual(gaps, [{ channel: "b", last: 1n, next: null }]);
  assert.deepEqual([...known.matching("*").keys()], ["c", "a", "d"]);
});

test("so it is of names that are too long together", () => {
  const gaps: Gap[] = [];
  const known = new Positions((gap) => gaps.push(gap), 100, 10);
  for (const channel of ["aaaa", "bbbb", "aaaa", "cc"]) known.set(channel, { epoch: 7n, sequence: 1n });
  assert.deepEqual(gaps, []);
  known.set("ddddd", { epoch: 7n, sequence: 1n });
  assert.deepEqual(gaps.map(({ channel }) => channel), ["bbbb", "aaaa"]);
  known.forget(["ddddd"]);
  known.set("eeeeeeee", { epoch: 7n, sequence: 1n });
  assert.deepEqual([...known.matching("*").keys()], ["cc", "eeeeeeee"]);
});

test("channels are found by name or pattern, and forgotten but for those that are kept", () => {
  const { known } = positions();
  for (const channel of ["p:a", "p:b", "q"]) known.read(at(channel, 1));
  assert.deepEqual([...known.matching("p:*").keys()], ["p:a", "p:b"]);
  assert.deepEqual([...known.matching("q").keys()], ["q"]);
  assert.deepEqual([...known.matching("p:").keys()], []);
  known.forget(["p:*"], ["p:b", "x*"]);
  assert.deepEqual([...known.matching("*").keys()], ["p:b", "q"]);
});
