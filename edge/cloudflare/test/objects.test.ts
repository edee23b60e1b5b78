// The objects themselves, inside the runtime: what their storage keeps, and what outlives an eviction.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";

import { Answers } from "../src/answers";
import { readSettings } from "../src/settings";
import { NoRoom, Storage } from "../src/storage";
import type { Coordinator, Shard } from "./resettable";

interface TestEnv {
  COORDINATOR: DurableObjectNamespace<Coordinator>;
  SHARD: DurableObjectNamespace<Shard>;
}

const { COORDINATOR, SHARD } = env as unknown as TestEnv;
const SETTINGS = readSettings({ HISTORY: "4", HISTORY_BYTES: "400", MAX_CHANNELS: "3" });

/** Run something with an empty storage of its own, which a second life can be given too. */
async function inStorage(
  name: string,
  test_: (again: () => Storage, state: DurableObjectState) => void,
): Promise<void> {
  await runInDurableObject(COORDINATOR.getByName(name), (_, state) => {
    test_(() => new Storage(state.storage, SETTINGS), state);
  });
}

/** Open a client's socket, which collects what it is sent. */
async function client(
  name: string,
  subprotocol?: string,
  objects: DurableObjectNamespace = COORDINATOR,
): Promise<{ socket: WebSocket; heard: string[] }> {
  const headers = new Headers({ Upgrade: "websocket" });
  if (subprotocol !== undefined) {
    headers.set("Sec-WebSocket-Protocol", subprotocol);
  }
  const response = await objects.getByName(name).fetch("http://edge/ws", { headers });
  const socket = response.webSocket as WebSocket;
  const heard: string[] = [];
  socket.accept();
  socket.addEventListener("message", (event) => heard.push(event.data as string));
  return { socket, heard };
}

async function hears(heard: string[], count: number): Promise<string[]> {
  await expect.poll(() => heard.length, { timeout: 5000, interval: 5 }).toBeGreaterThanOrEqual(count);
  return heard;
}

function published(name: string, channel: string, payload: string): Promise<unknown> {
  const command = { api: "publish" as const, channels: [channel], payload, idempotencyKey: "" };
  return COORDINATOR.getByName(name).command(command, "digest");
}

test("numbers and the last value go on in another life of the same storage", async () => {
  await inStorage("numbers", (again) => {
    const first = again();
    expect(
      first.publish([
        { channel: "a", payload: "1" },
        { channel: "b", payload: "2" },
        { channel: "a", payload: "3" },
      ]),
    ).toEqual([
      { channel: "a", payload: "1", sequence: 1 },
      { channel: "b", payload: "2", sequence: 1 },
      { channel: "a", payload: "3", sequence: 2 },
    ]);
    const second = again();
    expect(second.epoch).toBe(first.epoch);
    expect(second.stand("a", [])).toEqual([
      { channel: "a", sequence: 2, missing: null, latest: { channel: "a", payload: "3", sequence: 2 } },
    ]);
    expect(second.publish([{ channel: "a", payload: "4" }])).toEqual([{ channel: "a", payload: "4", sequence: 3 }]);
  });
});

test("what is missing is told whole or not at all", async () => {
  await inStorage("missing", (again) => {
    const storage = again();
    const position = (
      sequence: number,
      epoch = storage.epoch,
    ): { channel: string; epoch: string; sequence: bigint }[] => [{ channel: "a", epoch, sequence: BigInt(sequence) }];
    for (let number = 1; number <= 20; number++) {
      storage.publish([{ channel: "a", payload: String(number) }]);
    }
    const missing = storage.stand("a", position(17))[0]?.missing;
    expect(missing?.map((one) => one.payload)).toEqual(["18", "19", "20"]);
    expect(storage.stand("a", position(20))[0]?.missing).toEqual([]);
    for (const had of [position(1), position(21), position(17, "1")]) {
      expect(storage.stand("a", had)[0]).toMatchObject({ missing: null, latest: { sequence: 20 } });
    }
  });
});

test("a history is bounded by its number and its bytes, and the latest always stays", async () => {
  await inStorage("bounds", (again, state) => {
    const storage = again();
    const held = (): { count: number; bytes: number; oldest: number } =>
      state.storage.sql
        .exec<{ count: number; bytes: number; oldest: number }>(
          "SELECT count(*) AS count, sum(octet_length(payload)) AS bytes, min(first) AS oldest FROM history",
        )
        .one();
    for (let number = 1; number <= 100; number++) {
      storage.publish([{ channel: "a", payload: "1" }]);
      expect(held().count).toBeLessThanOrEqual(8);
    }
    for (let number = 1; number <= 100; number++) {
      storage.publish([{ channel: "a", payload: `"${"é".repeat(60)}"` }]);
      expect(held().bytes).toBeLessThanOrEqual(400 + 122);
    }
    storage.publish([{ channel: "a", payload: `"${"x".repeat(1000)}"` }]);
    expect(held()).toMatchObject({ count: 1, bytes: 1002 });
    expect(again().stand("a", [])[0]).toMatchObject({ sequence: 201, latest: { sequence: 201 } });
  });
});

test("bytes and text of several lines are kept as they are", async () => {
  await inStorage("payloads", (again) => {
    const bytes = new Uint8Array([0, 10, 255]);
    const payloads = ["1", "2", "two\nlines", bytes];
    const storage = again();
    storage.publish([{ channel: "a", payload: "0" }]);
    storage.publish(payloads.map((payload) => ({ channel: "a", payload })));
    const missing = again().stand("a", [{ channel: "a", epoch: storage.epoch, sequence: 1n }])[0]?.missing;
    expect(missing?.map((one) => one.payload)).toEqual(payloads);
  });
});

test("channels beyond the bound are refused, and nothing of their batch is kept", async () => {
  await inStorage("room", (again) => {
    const storage = again();
    const room = storage.room();
    expect(["a", "b", "c", "d", "a"].map((channel) => room(channel))).toEqual([true, true, true, false, true]);
    storage.publish(["a", "b"].map((channel) => ({ channel, payload: "1" })));
    const many = ["a", "c", "d"].map((channel) => ({ channel, payload: "2" }));
    expect(() => storage.publish(many)).toThrow(NoRoom);
    expect(storage.stand("a", [])[0]?.sequence).toBe(1);
    expect(
      again()
        .stand("*", [])
        .map((one) => one.channel),
    ).toEqual(["a", "b"]);
    const later = again().room();
    expect([later("c"), later("d")]).toEqual([true, false]);
  });
});

test("what `also` throws undoes the publications", async () => {
  await inStorage("undone", (again) => {
    const storage = again();
    const fail = (): void => {
      throw new Error("no");
    };
    expect(() => storage.publish([{ channel: "a", payload: "1" }], fail)).toThrow("no");
    expect(storage.publish([{ channel: "a", payload: "1" }])[0]?.sequence).toBe(1);
    expect(again().stand("a", [])[0]?.sequence).toBe(1);
  });
});

test("a pattern means what begins with it, whatever characters follow", async () => {
  await inStorage("patterns", (again) => {
    const storage = again();
    storage.publish(["a:\u{10fffd}", "a:", "b"].map((channel) => ({ channel, payload: "1" })));
    expect(storage.stand("a:*", []).map((one) => one.channel)).toEqual(["a:", "a:\u{10fffd}"]);
    expect(storage.stand("*", []).map((one) => one.channel)).toEqual(["a:", "a:\u{10fffd}", "b"]);
  });
});

test("answers are known for five minutes, in another life too, and not more than fit", async () => {
  await runInDurableObject(COORDINATOR.getByName("answers"), (_, state) => {
    const answers = new Answers(state.storage.sql);
    answers.keep("publish k", "digest", "answer", 1000);
    expect(new Answers(state.storage.sql).find("publish k", "digest", 1299)).toEqual({ answer: "answer" });
    expect(answers.find("publish k", "other", 1299)).toBe("conflict");
    expect(answers.find("broadcast k", "digest", 1299)).toBeNull();
    expect(answers.find("publish k", "digest", 1300)).toBeNull();
    for (let number = 0; number < 10; number++) {
      answers.keep(`publish ${number}`, "digest", "x".repeat(1024 * 1024), 2000);
    }
    const found = Array.from({ length: 10 }, (_, number) => answers.find(`publish ${number}`, "digest", 2000) !== null);
    expect(found).toEqual([...Array<boolean>(7).fill(false), ...Array<boolean>(3).fill(true)]);
  });
});

test("an evicted object keeps its sockets, their subscriptions and its numbers", async () => {
  const { socket, heard } = await client("evicted", "websocket-utils.json");
  socket.send('{"type":"Subscribe","channels":["prices:a","slots:*"]}');
  await hears(heard, 1);
  await published("evicted", "prices:a", "1");
  const stub = COORDINATOR.getByName("evicted");
  const before = await stub.life();
  await evictDurableObject(stub);
  await published("evicted", "prices:a", "2");
  await published("evicted", "slots:1", "3");
  expect(await stub.life()).not.toBe(before);
  const [answer, ...frames] = (await hears(heard, 4)).map((text) => text.replace(/^\x1e[0-9]+ /, "\x1eE "));
  expect(answer).toMatch('{"type":"Subscribed","channels":["prices:a","slots:*"]');
  expect(frames).toEqual(["\x1eE 1 0 prices:a\n1", "\x1eE 2 1 prices:a\n2", "\x1eE 1 0 slots:1\n3"]);
});

test("more subscriptions than fit a socket's attachment outlive an eviction, and go with their session", async () => {
  const name = "attachments";
  const stub = COORDINATOR.getByName(name);
  const rows = (): Promise<number> =>
    runInDurableObject(
      stub,
      (_, state) => state.storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM sessions").one().n,
    );
  const { socket, heard } = await client(name, "websocket-utils.json");
  const channels = Array.from(
    { length: 500 },
    (_, number) => `prices:a long name of a channel that fills it:${number}`,
  );
  socket.send(JSON.stringify({ type: "Subscribe", channels }));
  await hears(heard, 1);
  expect(await rows()).toBe(1);
  await evictDurableObject(stub);
  await published(name, channels[499] as string, "1");
  expect((await hears(heard, 2))[1]).toMatch(/499\n1$/);
  socket.close(1000);
  await expect.poll(rows, { timeout: 5000, interval: 10 }).toBe(0);
});

test("a socket whose end is not known yet does not keep the others from what is published", async () => {
  const clients = [await client("closed"), await client("closed")];
  for (const { socket } of clients) {
    socket.send('{"type":"Subscribe","channels":["a"]}');
    socket.send('{"type": "Ping"}');
  }
  for (const { heard } of clients) {
    await hears(heard, 1);
  }
  await runInDurableObject(COORDINATOR.getByName("closed"), (_, state) => {
    // The object is not told of what it does itself: `send` on this one throws from now on.
    state.getWebSockets()[0]?.close(1000);
  });
  await published("closed", "a", "1");
  await expect.poll(() => clients.filter(({ heard }) => heard.includes("1")).length, { timeout: 5000 }).toBe(1);
});

test("places are given to the coordinator first, then to shards in turn, each up to its bound", async () => {
  const stub = COORDINATOR.getByName("places");
  const places: unknown[] = [];
  for (let number = 0; number < 6; number++) {
    places.push(await stub.place());
  }
  expect(places).toEqual(["coordinator", "coordinator", { shard: 1 }, { shard: 1 }, { shard: 2 }, { shard: 2 }]);
});

test("a shard drops what it was told before, and has its sessions begin anew where it missed something", async () => {
  const shard = SHARD.getByName("holes");
  const { socket, heard } = await client("holes", undefined, SHARD);
  const closed: number[] = [];
  socket.addEventListener("close", (event) => closed.push(event.code));
  socket.send('{"type":"Subscribe","channels":["a"]}');
  socket.send('{"type": "Ping"}');
  await hears(heard, 1);
  const parcel = (first: number, isBroken = false): Parameters<Shard["deliver"]>[0] => ({
    epoch: "7",
    first,
    publications: [0, 1].map((at) => ({ channel: "a", sequence: first + at, payload: String(first + at) })),
    isBroken,
  });
  expect(await shard.deliver(parcel(10))).toBe(1);
  expect(await shard.deliver(parcel(10))).toBe(1);
  expect(await shard.deliver(parcel(11))).toBe(1);
  expect((await hears(heard, 4)).slice(1)).toEqual(["10", "11", "12"]);
  expect(closed).toEqual([]);
  expect(await shard.deliver(parcel(14))).toBe(0);
  await expect.poll(() => closed, { timeout: 5000 }).toEqual([1012]);
});

test("names of publishers are bounded, and those that are known go on", async () => {
  await inStorage("publishers", (again) => {
    const storage = again();
    for (let number = 0; number < 1000; number++) {
      storage.keepPublisher(`adapter-${number}`, 1, 1);
    }
    expect(() => storage.keepPublisher("one more", 1, 1)).toThrow(NoRoom);
    storage.keepPublisher("adapter-7", 2, 5);
    expect(storage.publisher("adapter-7")).toEqual({ epoch: 2, sequence: 5 });
    expect(storage.publisher("one more")).toEqual({ epoch: 0, sequence: 0 });
  });
});
