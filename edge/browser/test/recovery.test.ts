// The rules of the Python client, case by case: tests/unit/test_recovery.py and test_recovery_exchanges.py.

import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./world.js";

const recovered = (world: World): (boolean | null)[] =>
  world.of("state").filter(({ state }) => state === "live").map((change) => change.recovered);
const gap = (channel: string, last: bigint | null = null, next: bigint | null = null) => ({ channel, last, next });
const subscribe = (channels: string[], positions: string[] = []) => ({ type: "Subscribe", channels, positions, slow: "" });

test("subscriptions are asked for together, in order, with where their channels stand", () => {
  const world = new World();
  world.subscribe("b", "a", "p:*");
  world.open();
  assert.deepEqual(world.requests(1), [subscribe(["b", "a", "p:*"])]);
  world.answer(["b", "a", "p:*"], ["7 4 a", "8 0 b", "9 1 p:x"]);
  world.publish("a", 7, [5, 6]);
  world.publish("p:y", 3, [1]);
  world.again();
  assert.deepEqual(world.requests(2), [subscribe(["b", "a", "p:*"], ["8 0 b", "7 6 a", "9 1 p:x", "3 1 p:y"])]);
  world.answer(["b", "a", "p:*"], ["8 0 b", "7 6 a", "9 1 p:x", "3 1 p:y"], ["b", "a", "p:x", "p:y"]);
  world.publish("a", 7, [7]);
  assert.deepEqual(recovered(world), [null, true]);
  assert.deepEqual(world.of("gap"), []);
  assert.deepEqual(world.numbers, [5, 6, 1, 7]);
});

test("a channel that does not go on where it stands leaves a gap before its next message", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open();
  world.answer(["a", "b"], ["7 4 a", "8 1 b"]);
  world.publish("a", 7, [5]);
  world.again();
  world.answer(["a", "b"], ["7 8 a", "8 1 b"], ["b"]);
  world.publish("a", 7, [9]);
  assert.deepEqual(recovered(world), [null, false]);
  assert.deepEqual(world.log.filter(([kind]) => kind !== "state"), [
    ["message", "a", 5],
    ["gap", gap("a", 5n)],
    ["message", "a", 9],
  ]);
});

test("another epoch, or a server that names no position, is a gap", () => {
  for (const positions of [["9 5 a"], []]) {
    const world = new World();
    world.subscribe("a");
    world.open();
    world.answer(["a"], ["7 5 a"]);
    world.again();
    world.answer(["a"], positions);
    assert.deepEqual([recovered(world), world.of("gap")], [[null, false], [gap("a", 5n)]]);
  }
});

test("a channel of a pattern that came into being meanwhile is a gap, unless it is sent whole", () => {
  for (const [position, gaps] of [["6 2 p:new", [gap("p:new")]], ["6 0 p:new", []]] as const) {
    const world = new World();
    world.subscribe("p:*");
    world.open();
    world.answer(["p:*"], ["7 4 p:a"]);
    world.again();
    world.answer(["p:*"], ["7 4 p:a", position], ["p:a"]);
    assert.deepEqual(world.of("gap"), gaps);
  }
});

test("a pattern without channels has missed nothing if the server is the same", () => {
  for (const isProven of [true, false]) {
    const world = new World();
    world.subscribe("a", "p:*");
    world.open();
    world.answer(["a", "p:*"], ["7 4 a"]);
    world.again();
    world.answer(["a", "p:*"], [isProven ? "7 4 a" : "8 4 a"], isProven ? ["a"] : []);
    assert.deepEqual(recovered(world), [null, isProven]);
    assert.deepEqual(world.of("gap"), isProven ? [] : [gap("a", 4n), gap("p:*")]);
  }
});

test("a channel that is left and wanted again begins anew", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 4 a"]);
  world.do(() => world.link.unsubscribe("a", world.now));
  world.publish("a", 7, [5]);
  world.subscribe("a");
  world.answer(["a"], ["7 9 a"]);
  world.publish("a", 7, [10, 12]);
  assert.deepEqual(world.requests(1).map(({ type }) => type), ["Subscribe", "Unsubscribe", "Subscribe"]);
  assert.deepEqual([world.numbers, world.of("gap")], [[10, 12], [gap("a", 10n, 12n)]]);
});

test("what is missing behind the answer to a channel that is wanted again is a gap", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 4 a"]);
  world.do(() => world.link.unsubscribe("a", world.now));
  world.subscribe("a");
  world.answer(["a"], ["7 9 a"]);
  world.publish("a", 7, [11]);
  assert.deepEqual(world.of("gap"), [gap("a", 9n, 11n)]);
});

test("a channel that was left has nothing to recover on the next connection", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open();
  world.answer(["a", "b"], ["7 4 a", "8 0 b"]);
  world.do(() => world.link.unsubscribe("a", world.now));
  world.subscribe("a");
  world.again();
  world.answer(["b", "a"], ["8 0 b", "7 9 a"], ["b"]);
  assert.deepEqual([world.of("gap"), recovered(world)], [[], [null, true]]);
});

test("a channel that was refused, and is granted later, begins anew", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 4 a"]);
  world.receive({ type: "SubscriptionRejected", channels: ["a"], code: 4403, reason: "not permitted any more" });
  world.subscribe("a");
  world.answer(["a"], ["7 9 a"]);
  world.publish("a", 7, [10]);
  assert.deepEqual([world.numbers, world.of("gap")], [[10], []]);
});

test("a channel that is asked for again on its connection goes on as it did", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 4 a"]);
  world.do(() => world.link.subscribe("a", "conflate", world.now));
  world.answer(["a"], ["8 9 a"]);
  world.publish("a", 8, [10]);
  assert.deepEqual(world.of("gap"), [gap("a", 4n, 10n)]);
});

test("a server that has less than was there before has lost it, which is a gap", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 6 a"]);
  world.again();
  world.answer(["a"], ["7 4 a"]);
  world.publish("a", 7, [5]);
  assert.deepEqual([world.numbers, world.of("gap")], [[5], [gap("a", 6n)]]);
});

test("a gap of one connection does not count for the next, unless that one was never live", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open();
  world.answer(["a", "b"], ["7 4 a", "8 0 b"]);
  world.publish("a", 7, [9]);
  world.again();
  world.answer(["a", "b"], ["7 9 a", "8 0 b"], ["a", "b"]);
  world.again();
  world.answer(["a"], ["7 11 a"]);
  world.again();
  world.answer(["a", "b"], ["7 11 a", "8 0 b"], ["a", "b"]);
  assert.deepEqual(recovered(world), [null, true, false]);
  assert.deepEqual(world.of("gap"), [gap("a", 4n, 9n), gap("a", 9n)]);
});

test("without a subscription nothing proves that nothing was missed", () => {
  const world = new World();
  world.open();
  world.again(1012);
  assert.deepEqual(recovered(world), [null, false]);
});

test("a channel of a pattern that is in doubt as a whole is no gap of its own", () => {
  const world = new World();
  world.subscribe("p:*");
  world.open();
  world.answer(["p:*"]);
  world.again();
  world.answer(["p:*"], ["6 2 p:new"]);
  assert.deepEqual(world.of("gap"), [gap("p:*")]);
});

test("answers that are complete take no memory, however many follow", () => {
  const world = new World({ maxMessageSize: 1e9 });
  world.open();
  for (let turn = 0; turn < 3; turn++) {
    world.subscribe(`${turn}:*`);
    world.answer([`${turn}:*`], Array.from({ length: 30_000 }, (_, number) => `7 1 ${turn}:${number}`));
  }
  assert.deepEqual([world.link.state, world.of("error")], ["live", []]);
});

test("a channel that is refused when it is renewed is told, and proves nothing", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open();
  world.answer(["a", "b"], ["7 4 a", "8 1 b"]);
  world.again();
  world.receive({ type: "SubscriptionRejected", channels: ["a"], code: 4403, reason: "not permitted" });
  world.answer(["b"], ["8 1 b"], ["b"]);
  assert.deepEqual(world.of("rejected"), [{ channel: "a", code: 4403, reason: "not permitted" }]);
  assert.deepEqual(recovered(world), [null, false]);
  world.again();
  assert.deepEqual(world.requests(3), [subscribe(["b"], ["8 1 b"])]);
});

test("what the server left out for a slow page is told, and is no gap", () => {
  const world = new World();
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 4 a"]);
  world.receive({ type: "LagNotice", channel: "a", first: 5, last: 9, count: 5 });
  world.publish("a", 7, [10]);
  assert.deepEqual(world.of("lagged"), [{ channel: "a", first: 5n, last: 9n, count: 5n }]);
  assert.deepEqual([world.of("gap"), world.numbers], [[], [10]]);
});

test("a server that lists channels without end is left", () => {
  const world = new World({ maxMessageSize: 1e9 });
  world.subscribe("p:*");
  world.open();
  const part = Array.from({ length: 1000 }, (_, number) => `7 1 ${number}${"x".repeat(1000)}`);
  for (let turn = 0; turn < 20 && world.link.state === "restoring"; turn++) {
    world.answer([], part.map((text) => `${text}${turn}`));
  }
  assert.equal(world.of("state").at(-1)?.reason, "a Subscribed without sense");
  assert.deepEqual(world.of("error").map(({ kind }) => kind), ["malformed"]);
});

// --- make before break ---

function exchanging(): World {
  const world = new World({ pingInterval: null });
  world.subscribe("a", "b");
  world.open();
  world.answer(["a", "b"], ["7 4 a", "8 0 b"]);
  world.publish("a", 7, [5, 6]);
  world.receive({ type: "GoAway", after: 1 });
  world.pass(0.9);
  assert.equal(world.dials.length, 1);
  world.pass(0.2);
  assert.equal(world.dials.length, 2);
  world.open(2);
  return world;
}

test("an exchange takes from both connections what follows, once", () => {
  const world = exchanging();
  assert.deepEqual(world.requests(2), [subscribe(["a", "b"], ["7 6 a", "8 0 b"])]);
  world.answer(["a"], ["7 6 a"], ["a"], 2);
  // Brought by the successor, before the old one has it.
  world.publish("a", 7, [7, 8], 2);
  world.publish("a", 7, [7, 8, 9, 10], 1);
  world.publish("a", 7, [9, 10, 11], 2);
  world.answer(["b"], ["8 0 b"], ["b"], 2);
  assert.deepEqual(world.numbers, [5, 6, 7, 8, 9, 10, 11]);
  assert.deepEqual([world.of("gap"), recovered(world), world.link.duplicates], [[], [null, true], 4]);
  assert.deepEqual(world.dropped, [{ do: "drop", id: 1, code: 1000, reason: "replaced by a newer connection" }]);
  assert.deepEqual(world.states, ["connecting", "restoring", "live", "live"]);
  // What the old one still brings is not heard.
  world.publish("a", 7, [12], 1);
  assert.equal(world.numbers.at(-1), 11);
});

test("an exchange leaves to the old one what does not follow, and tells what neither brought", () => {
  const world = exchanging();
  world.answer(["a"], ["7 8 a"], [], 2);
  world.publish("a", 7, [9], 2);
  world.publish("a", 7, [7, 8, 9], 1);
  world.publish("a", 7, [10], 2);
  world.answer(["b"], ["8 5 b"], [], 2);
  world.publish("a", 7, [11], 2);
  assert.deepEqual([world.numbers, world.of("gap")], [[5, 6, 7, 8, 9, 10, 11], [gap("b", 0n)]]);
  assert.deepEqual(recovered(world), [null, false]);
});

test("an exchange for a server of another epoch leaves a gap", () => {
  const world = exchanging();
  world.answer(["a", "b"], ["9 2 a", "8 0 b"], ["b"], 2);
  world.publish("a", 9, [3], 2);
  assert.deepEqual([world.numbers, world.of("gap")], [[5, 6, 3], [gap("a", 6n)]]);
});

test("an exchange for a server that has lost what it had leaves a gap", () => {
  const world = exchanging();
  world.answer(["a", "b"], ["7 4 a", "8 0 b"], ["b"], 2);
  world.publish("a", 7, [5], 2);
  assert.deepEqual([world.numbers, world.of("gap")], [[5, 6, 5], [gap("a", 6n)]]);
});

test("an exchange whose server proves nothing, and where nothing seems to be missing, is in doubt", () => {
  const world = exchanging();
  world.answer(["a"], ["7 7 a"], [], 2);
  world.publish("a", 7, [7, 8], 1);
  world.answer(["b"], ["8 0 b"], ["b"], 2);
  assert.deepEqual([world.of("gap"), recovered(world)], [[], [null, false]]);
});

test("an exchange is proven whatever was missed on the old connection", () => {
  const world = exchanging();
  world.publish("a", 7, [9], 1);
  world.answer(["a", "b"], ["7 6 a", "8 0 b"], ["a", "b"], 2);
  assert.deepEqual([world.of("gap"), recovered(world)], [[gap("a", 6n, 9n)], [null, false]]);
  world.receive({ type: "GoAway", after: 0 });
  world.pass(0);
  world.open(3);
  world.answer(["a", "b"], ["7 9 a", "8 0 b"], ["a", "b"], 3);
  assert.deepEqual(recovered(world), [null, false, true]);
});

test("beside another connection nothing is heard of a successor but its answers and what follows", () => {
  const world = exchanging();
  world.receive({ type: "LagNotice", channel: "a", first: 7, last: 9, count: 3 }, 2);
  world.receive("5", 2);
  world.receive("4", 1);
  assert.deepEqual([world.of("lagged"), world.numbers], [[], [5, 6, 4]]);
});

test("a successor of another epoch whose predecessor is lost meanwhile tells one gap", () => {
  const world = exchanging();
  world.answer(["a"], ["9 2 a"], [], 2);
  world.lose(1012, "", 1);
  world.publish("a", 9, [3, 4], 2);
  world.answer(["b"], ["8 0 b"], ["b"], 2);
  world.publish("a", 9, [4, 5], 2);
  assert.deepEqual([world.numbers, world.of("gap")], [[5, 6, 3, 4, 5], [gap("a", 6n)]]);
});

test("a successor whose predecessor is lost meanwhile is the next connection, with the same rules", () => {
  const world = exchanging();
  world.answer(["a"], ["7 6 a"], ["a"], 2);
  world.lose(1012, "", 1);
  assert.deepEqual(world.states, ["connecting", "restoring", "live", "restoring"]);
  world.publish("a", 7, [7], 2);
  world.answer(["b"], ["8 3 b"], [], 2);
  assert.deepEqual([world.numbers, world.of("gap")], [[5, 6, 7], [gap("b", 0n)]]);
  assert.deepEqual(recovered(world), [null, false]);
  assert.equal(world.dials.length, 2);
});

test("a successor that can't be had leaves the old connection in use, and is tried again ever more slowly", () => {
  const world = exchanging();
  world.lose(1006, "", 2);
  world.publish("a", 7, [7], 1);
  world.pass(60);
  const tries = world.dials.length;
  assert.ok(tries > 3 && tries < 12, `${tries}`);
  world.open();
  world.answer(["a", "b"], ["7 7 a", "8 0 b"], ["a", "b"]);
  assert.deepEqual([world.numbers, recovered(world), world.link.live], [[5, 6, 7], [null, true], tries]);
});

test("a server that lets no successor in is asked for one ever more seldom", () => {
  const world = exchanging();
  const waits: number[] = [];
  for (let turn = 0; turn < 5; turn++) {
    world.lose();
    const [since, dials] = [world.now, world.dials.length];
    while (world.dials.length === dials) world.pass(world.link.next! - world.now);
    waits.push(Number((world.now - since).toFixed(6)));
  }
  assert.deepEqual(waits, [0.375, 0.75, 1.5, 3, 6]);
  assert.equal(world.link.state, "live");
});

test("a server that repeats itself, or asks for no time or too much, is left once and in time", () => {
  for (const after of [-5, 1e9]) {
    const world = new World({ pingInterval: null });
    world.open();
    for (let turn = 0; turn < 5; turn++) world.receive({ type: "GoAway", after: after + turn * 50 });
    world.pass(after < 0 ? 0 : 300);
    world.open(2);
    world.pass(400);
    assert.equal(world.dials.length, 2);
  }
});
