// A server that says anything: nothing throws, nothing is taken twice, and nothing missing is passed over in silence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./world.js";

/** A generator of numbers from 0 to below 1 that are the same each time (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const ODD = [null, true, -1, 1e308, "", "a", "\0", [], {}, [null], ["1 2 a"], ["99999999999999999999 1 a"], "7 1 a", 2 ** 60];
const FIELDS = ["channels", "positions", "recovered", "code", "reason", "channel", "first", "last", "count", "after", "name", "expires_in"];
const TYPES = ["Subscribed", "SubscriptionRejected", "LagNotice", "GoAway", "Authenticated", "Ping", "Pong", "PriceUpdate", "__proto__"];

test("whatever a server sends, the link goes on, and no message comes twice or after silence about others", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const unit = chance(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(unit() * from.length)]!;
    const world = new World();
    world.subscribe("a", "p:*");
    for (let step = 0; step < 200; step++) {
      world.unit = unit();
      const id = Math.max(1, world.dials.length - (unit() < 0.2 ? 1 : 0));
      const turn = unit();
      if (turn < 0.15) world.open(id);
      else if (turn < 0.2) world.lose(pick([1000, 1006, 1012, 1013, 4000]), "", id);
      else if (turn < 0.25) world.pass(unit() * 20, unit() < 0.3);
      else if (turn < 0.3) world.do(() => world.link.wake(world.now, world.unit));
      else if (turn < 0.45) world.answer(["a", "p:*"], [`7 ${Math.floor(unit() * 9)} a`], unit() < 0.5 ? ["a"] : [], id);
      else if (turn < 0.75) {
        const sequence = 1 + Math.floor(unit() * 9);
        const previous = unit() < 0.7 ? sequence - 1 : Math.floor(unit() * 9);
        const epoch = pick([7, 7, 7, 8]);
        const channel = pick(["a", "p:x", "other"]);
        // The payload says both: 73 is the third of epoch 7.
        world.receive(`\x1e${epoch} ${sequence} ${previous} ${channel}\n${epoch}${sequence}`, id);
      } else if (turn < 0.9) {
        const made = Object.fromEntries(FIELDS.filter(() => unit() < 0.6).map((name) => [name, pick(ODD)]));
        const text = JSON.stringify({ ...made, type: pick(TYPES) });
        // What is no message about the connection is delivered: a number, for the log.
        world.receive(TYPES.slice(0, 7).some((type) => text.includes(`"${type}"`)) ? text : "0", id);
      } else world.receive(`\x1e${pick(["", "1", "1 1 1 a\n", "x\n", "1 2 1 \n"])}`, id);
    }
    assert.ok(!world.link.isOver || world.link.state === "closed", `seed ${seed}: ${world.link.state}`);
    const stands = new Map<string, number>();
    for (const [kind, about, number] of world.log) {
      if (kind === "gap") {
        // A gap of a pattern is one of each of its channels.
        for (const key of stands.keys()) {
          if (key.startsWith(about.channel === "p:*" ? "p:x" : about.channel)) stands.delete(key);
        }
      } else if (kind === "message" && about) {
        const key = `${about} ${String(number)[0]}`;
        const last = stands.get(key);
        assert.notEqual(about, "other");
        assert.ok(last === undefined || number! > last, `seed ${seed}: ${about} ${number} behind ${last}`);
        stands.set(key, number!);
      }
    }
  }
});
