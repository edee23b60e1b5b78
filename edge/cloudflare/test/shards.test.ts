import { expect, test } from "vitest";

import { ShardLink, type Parcel } from "../src/shards";
import type { Publication } from "../src/wire";

const one = (sequence: number, payload = "1"): Publication => ({ channel: "a", sequence, payload });

/** A shard that answers when it is told to. */
class FakeShard {
  readonly parcels: Parcel[] = [];
  readonly #answers: ((fails: boolean) => void)[] = [];

  deliver(parcel: Parcel): Promise<number> {
    this.parcels.push({ ...parcel });
    return new Promise((resolve, reject) => {
      this.#answers.push((fails) => (fails ? reject(new Error("gone")) : resolve(1)));
    });
  }

  broadcast(): Promise<number> {
    return Promise.resolve(0);
  }

  count(): Promise<number> {
    return Promise.reject(new Error("gone"));
  }

  /** Answer the call that waits, and let what follows happen. */
  async answer(fails = false): Promise<void> {
    this.#answers.shift()?.(fails);
    for (let turn = 0; turn < 5; turn++) {
      await Promise.resolve();
    }
  }
}

test("one call is on its way at a time, and the next brings all that came meanwhile", async () => {
  const shard = new FakeShard();
  const link = new ShardLink(() => shard, "7");
  link.push(1, [one(1)]);
  link.push(2, [one(2)]);
  link.push(3, [one(3), one(4)]);
  expect(shard.parcels).toEqual([{ epoch: "7", first: 1, publications: [one(1)], isBroken: false }]);
  await shard.answer();
  expect(shard.parcels[1]).toEqual({ epoch: "7", first: 2, publications: [one(2), one(3), one(4)], isBroken: false });
  await shard.answer();
  expect(shard.parcels).toHaveLength(2);
});

test("a call that fails is repeated, and after three times the shard is told that it missed something", async () => {
  const shard = new FakeShard();
  const link = new ShardLink(() => shard, "7");
  link.push(1, [one(1)]);
  await shard.answer(true);
  expect(shard.parcels[1]).toEqual(shard.parcels[0]);
  await shard.answer(true);
  await shard.answer(true);
  expect(shard.parcels).toHaveLength(3);
  link.push(2, [one(2)]);
  expect(shard.parcels[3]).toEqual({ epoch: "7", first: 2, publications: [one(2)], isBroken: true });
  await shard.answer();
  link.push(3, [one(3)]);
  expect(shard.parcels[4]).toEqual({ epoch: "7", first: 3, publications: [one(3)], isBroken: false });
});

test("what waits for a shard is bounded, and what is left out is said", async () => {
  const shard = new FakeShard();
  const link = new ShardLink(() => shard, "7");
  link.push(1, [one(1)]);
  for (let number = 2; number < 12; number++) {
    link.push(number, [one(number, "x".repeat(1024 * 1024))]);
  }
  await shard.answer();
  const [, parcel] = shard.parcels;
  expect(parcel?.isBroken).toBe(true);
  expect(parcel?.publications.length).toBeLessThan(8);
});

test("a shard without sockets is left alone until it is about to have one", async () => {
  const shard = new FakeShard();
  shard.deliver = (parcel) => {
    shard.parcels.push(parcel);
    return Promise.resolve(0);
  };
  const link = new ShardLink(() => shard, "7");
  link.push(1, [one(1)]);
  await shard.answer();
  expect(link.isActive).toBe(false);
  link.touch();
  expect(link.isActive).toBe(true);
  await link.refresh();
  expect(link.sockets).toBe(Infinity);
});
