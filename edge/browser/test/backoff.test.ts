import assert from "node:assert/strict";
import { test } from "node:test";
import { BACKOFF, delay, judge, type Verdict } from "../src/backoff.js";

const waits = (verdict: Verdict, unit: number, isFlapping = false): number[] =>
  [0, 1, 2, 3, 4, 9, 5000].map((failures) => delay(BACKOFF, verdict, failures, unit, isFlapping));

test("the first wait is short, and those that follow grow to the longest", () => {
  assert.deepEqual(waits("retry", 1), [0.25, 0.5, 1, 2, 4, 30, 30]);
});

test("a crowd is spread over the whole wait", () => {
  assert.deepEqual(waits("retry", 0), [0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(waits("retry", 0.5), [0.125, 0.25, 0.5, 1, 2, 15, 15]);
});

test("a server that accepts and drops is never dialled without a wait but the first time", () => {
  assert.deepEqual(waits("retry", 0, true), [0, 0.25, 0.5, 1, 2, 15, 15]);
});

test("a server that calls its clients back is believed three times", () => {
  assert.deepEqual(waits("now", 1), [0.25, 0.25, 0.25, 2, 4, 30, 30]);
});

test("a server that is overloaded is left alone for a second at least", () => {
  assert.ok(waits("late", 0).every((wait) => wait === 1));
  assert.equal(delay(BACKOFF, "late", 0, 0.5, false), 1.5);
});

test("close codes ask for what they say", () => {
  const codes = [1000, 1001, 1006, 1008, 1009, 1012, 1013, 4000, 4150, 4250, 4400, 4401, 4403, 4429];
  assert.deepEqual(
    codes.map((code) => judge(code, true)),
    ["retry", "retry", "retry", "retry", "retry", "now", "late", "retry", "late", "now", "retry", "refresh", "refresh", "late"],
  );
  assert.equal(judge(1000, false), "done");
});
