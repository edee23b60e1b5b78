import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./world.js";

function live(settings: ConstructorParameters<typeof World>[0] = {}): World {
  const world = new World(settings);
  world.subscribe("a");
  world.open();
  world.answer(["a"], ["7 0 a"]);
  return world;
}

test("a lost connection is dialled again soon, then ever more slowly, and a lasting one forgets that", () => {
  const world = live();
  const delays = (): (number | null)[] => world.of("state").filter(({ state }) => state === "backoff").map((one) => one.delay);
  world.pass(6);
  world.lose();
  for (let turn = 0; turn < 4; turn++) {
    world.pass(delays().at(-1)!);
    world.lose();
  }
  assert.deepEqual(delays(), [0.125, 0.25, 0.5, 1, 2]);
  world.pass(2);
  world.open();
  world.answer(["a"], ["7 0 a"], ["a"]);
  world.pass(6);
  world.lose();
  assert.equal(delays().at(-1), 0.125);
});

test("a server that accepts and drops is dialled ever more slowly", () => {
  const world = live();
  world.unit = 0;
  for (let turn = 0; turn < 20; turn++) world.again();
  const waits = world.of("state").filter(({ state }) => state === "backoff").map((one) => one.delay!);
  assert.deepEqual(waits.slice(0, 5), [0, 0.25, 0.5, 1, 2]);
  assert.equal(waits.at(-1), 15);
});

test("a crowd that lost its server does not come back together", () => {
  const times = Array.from({ length: 1000 }, (_, number) => {
    const world = live();
    world.pass(6);
    world.unit = number / 1000;
    world.lose(1012);
    return world.link.next! - world.now;
  });
  const within = (from: number, to: number): number => times.filter((time) => from <= time && time < to).length;
  for (const from of [0, 0.05, 0.1, 0.15, 0.2]) assert.ok(Math.abs(within(from, from + 0.05) - 200) <= 1);
});

test("silence is asked about, and given up in time; whatever comes is an answer", () => {
  const world = live();
  world.pass(16);
  assert.deepEqual(world.requests(1).at(-1), { type: "Ping" });
  world.receive({ type: "Pong" });
  world.pass(14);
  assert.equal(world.requests(1).filter(({ type }) => type === "Ping").length, 1);
  world.publish("a", 7, [1]);
  world.pass(14.5);
  assert.equal(world.requests(1).filter(({ type }) => type === "Ping").length, 1);
  world.pass(1);
  assert.equal(world.requests(1).filter(({ type }) => type === "Ping").length, 2);
  world.pass(10);
  assert.deepEqual(world.of("state").at(3)?.reason, "no sign of life in time");
  assert.equal(world.dropped[0]?.code, 4000);
});

test("a timer that a hidden page or a sleeping machine had stopped proves nothing: it is asked again", () => {
  const world = live();
  world.pass(16);
  world.pass(3600, true);
  assert.deepEqual([world.link.state, world.requests(1).filter(({ type }) => type === "Ping").length], ["live", 2]);
  world.pass(3.1);
  assert.notEqual(world.link.state, "live");
});

test("a page that shows again asks at once, but not a connection that has just spoken", () => {
  const world = live();
  const wake = (): unknown => world.do(() => world.link.wake(world.now, world.unit));
  wake();
  assert.equal(world.requests(1).length, 1);
  world.pass(2);
  wake();
  assert.deepEqual(world.requests(1).at(-1), { type: "Ping" });
  world.pass(3.1);
  assert.equal(world.link.state, "backoff");
  wake();
  world.pass(0.2);
  assert.equal(world.link.state, "connecting");
});

test("a page that shows again does not go at once to a server that is overloaded", () => {
  const world = live();
  world.lose(1013);
  world.do(() => world.link.wake(world.now, 0));
  world.pass(0.9);
  assert.equal(world.dials.length, 1);
});

test("a Ping is answered", () => {
  const world = live();
  world.receive({ type: "Ping" });
  assert.deepEqual(world.requests(1).at(-1), { type: "Pong" });
});

test("an answer that does not come gives the connection up in every phase", () => {
  const world = new World({ token: "asked" });
  world.subscribe("a");
  world.pass(10.5);
  world.open(2, "secret");
  assert.deepEqual(world.requests(2), [{ type: "Authenticate", token: "secret" }]);
  world.pass(12);
  world.open(3, "secret");
  world.receive({ type: "Authenticated", name: "desk", expires_in: null });
  world.pass(12);
  const reasons = world.of("state").filter(({ state }) => state === "backoff").map(({ reason }) => reason);
  assert.deepEqual(reasons, ["open", "authenticate", "subscribe"].map((phase) => `no answer in time: ${phase}`));
});

test("a token is asked for anew after a refusal, once", () => {
  const world = new World({ token: "asked", pingInterval: null });
  world.open(1, "old");
  world.receive({ type: "Authenticated", name: "desk", expires_in: 60 });
  assert.equal(world.link.state, "live");
  world.pass(41);
  assert.deepEqual(world.tokens, [1]);
  world.do(() => world.link.tokenRenewed(1, "newer"));
  assert.deepEqual(world.requests(1).at(-1), { type: "Authenticate", token: "newer" });
  world.receive({ type: "Authenticated", name: "desk", expires_in: 60 });
  world.lose(4401, "token expired");
  world.pass(1);
  world.open(2, "newest");
  world.receive({ type: "Authenticated", name: "desk", expires_in: 60 });
  world.lose(4401, "revoked");
  world.pass(1);
  world.open(3, "newest");
  world.lose(4401, "revoked");
  assert.deepEqual(world.dials.map(({ refresh }) => refresh), [false, true, true]);
  assert.deepEqual([world.states.at(-1), world.link.next], ["failed", null]);
});

test("a token that can't change is not tried twice", () => {
  for (const token of ["fixed", "none"] as const) {
    const world = new World({ token });
    world.open(1, token === "none" ? null : "secret");
    world.lose(4401, "no");
    assert.deepEqual(world.of("state").at(-1), { state: "failed", recovered: null, delay: null, code: 4401, reason: "no" });
  }
});

test("a callable that throws is told, and dialled around", () => {
  const world = new World({ token: "asked" });
  world.do(() => world.link.tokenFailed(1, new Error("no session"), world.now, world.unit));
  assert.deepEqual([world.of("error")[0]?.kind, world.link.state], ["token", "backoff"]);
  world.pass(1);
  world.open(2, "secret");
  world.receive({ type: "Authenticated", name: "desk", expires_in: null });
  world.do(() => world.link.tokenFailed(2, new Error("no session"), world.now, world.unit));
  assert.deepEqual([world.of("error").length, world.link.state], [2, "live"]);
});

test("what is sent while down leaves with the next connection, in order", () => {
  const world = live({ outbox: { messages: 2, bytes: 100, whenFull: "refuse" } });
  world.lose();
  assert.deepEqual([1, 2, 3].map((n) => world.do(() => world.link.send(`{"n":${n}}`))), [true, true, false]);
  world.pass(1);
  world.open();
  assert.deepEqual(world.requests(2).length, 1);
  world.answer(["a"], ["7 0 a"], ["a"]);
  assert.equal(world.do(() => world.link.send('{"n":4}')), true);
  assert.deepEqual(world.requests(2).slice(1), [{ n: 1 }, { n: 2 }, { n: 4 }]);
});

test("a close with 1000 ends a client that wants nothing, and no other", () => {
  const idle = new World();
  idle.open();
  idle.lose(1000);
  const busy = live();
  busy.lose(1000);
  assert.deepEqual([idle.link.state, busy.link.state], ["closed", "backoff"]);
});

test("an answer that nobody waits for any more keeps nothing waiting", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open();
  world.answer(["a"], ["7 0 a"]);
  assert.equal(world.link.state, "restoring");
  world.do(() => world.link.unsubscribe("b", world.now));
  assert.equal(world.link.state, "live");
});

test("a closed client tells nothing more, whatever comes", () => {
  const world = live();
  world.lose();
  world.do(() => world.link.send("1"));
  world.do(() => world.link.close());
  world.do(() => world.link.close());
  assert.equal(world.link.outbox.size, 0);
  const told = world.log.length;
  world.publish("a", 7, [1], 1);
  world.lose(1006, "", 1);
  world.open(1);
  world.pass(100);
  assert.deepEqual([world.log.length, world.link.send("x"), world.link.live, world.dials.length], [told, false, null, 1]);
});

test("a server without our subprotocol is live at once, and each loss is a gap", () => {
  const world = new World();
  world.subscribe("a", "b");
  world.open(1, null, "");
  assert.deepEqual([world.link.state, world.requests(1)], ["live", [{ type: "Subscribe", channels: ["a", "b"] }]]);
  // Messages about channels are no business of such a server: they are its own.
  world.receive("5");
  world.receive({ type: "SubscriptionRejected", channels: ["a"], code: 4403, reason: "" });
  world.receive('{"type":"Ping"}');
  assert.deepEqual([world.numbers, world.requests(1).at(-1)], [[5, NaN], { type: "Pong" }]);
  world.lose();
  world.pass(1);
  world.open(2, null, "");
  assert.deepEqual(world.of("gap"), ["a", "b"].map((channel) => ({ channel, last: null, next: null })));
});
