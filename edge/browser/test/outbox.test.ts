import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../src/outbox.js";
import { endings, requests, Wanted } from "../src/subscriptions.js";

test("an outbox that is full refuses, by messages and by bytes", () => {
  const outbox = new Outbox({ messages: 3, bytes: 10, whenFull: "refuse" });
  assert.deepEqual(["12345", "éé", "x", "12", ""].map((text) => outbox.add(text)), [true, true, true, false, false]);
  assert.deepEqual(outbox.take(), ["12345", "éé", "x"]);
  assert.deepEqual([outbox.size, outbox.dropped, outbox.add("1234567890")], [0, 0, true]);
});

test("or gives up the oldest, and counts them; what would never fit is refused", () => {
  const outbox = new Outbox({ messages: 3, bytes: 10, whenFull: "drop_oldest" });
  for (const text of ["1", "2", "3", "4"]) assert.equal(outbox.add(text), true);
  assert.equal(outbox.add("x".repeat(9)), true);
  assert.equal(outbox.add("x".repeat(11)), false);
  assert.deepEqual([outbox.take(), outbox.dropped], [["4", "x".repeat(9)], 3]);
  assert.equal(new Outbox({ messages: 0, bytes: 10, whenFull: "drop_oldest" }).add("x"), false);
});

test("channels are wanted in order, as often as they are added, and asked for when something is new", () => {
  const wanted = new Wanted();
  assert.deepEqual(
    [wanted.add("a", ""), wanted.add("b", "conflate"), wanted.add("a", undefined), wanted.add("b", "disconnect")],
    [true, true, false, true],
  );
  assert.deepEqual([wanted.names, wanted.slow("b"), wanted.slow("x")], [["a", "b"], "disconnect", ""]);
  assert.deepEqual([wanted.remove("a"), wanted.remove("x"), wanted.remove("a"), wanted.size], [false, false, true, 1]);
  assert.deepEqual([wanted.forget("b"), wanted.forget("b")], [true, false]);
});

test("requests are few, of one policy each, and none is too big", () => {
  const wish = (name: string, slow = "", positions: string[] = []) => ({ name, slow, positions });
  assert.deepEqual(requests([]), []);
  assert.deepEqual(requests([wish("a"), wish("b", "conflate", ["1 2 b"]), wish("c")]), [
    { type: "Subscribe", channels: ["a", "c"], positions: [], slow: "" },
    { type: "Subscribe", channels: ["b"], positions: ["1 2 b"], slow: "conflate" },
  ]);
  const many = Array.from({ length: 1300 }, (_, number) => wish(`${number}`));
  assert.deepEqual(requests(many).map((one) => one.channels.length), [512, 512, 276]);
  const long = Array.from({ length: 5 }, (_, number) => wish(`${number}`.padEnd(150_000, "é")));
  assert.deepEqual(requests(long).map((one) => one.channels.length), [1, 1, 1, 1, 1]);
  // Of one pattern that has more positions than a message holds, those that fit are presented.
  const [whole] = requests([wish("p:*", "", Array.from({ length: 10_000 }, (_, n) => `1 ${n} p:${"x".repeat(100)}`))]);
  assert.ok(whole!.positions!.length > 4000 && JSON.stringify(whole).length < 491_600);
  assert.deepEqual(endings([]), []);
});
