// A session whose channels stand elsewhere: what is published while that is asked for comes once, in order.

import { expect, test } from "vitest";

import { Namespaces } from "../src/channels";
import { Delivery } from "../src/delivery";
import { CommandRate } from "../src/rates";
import { Session } from "../src/session";
import type { Standing } from "../src/storage";
import { Subscribing } from "../src/subscribing";
import type { Publication } from "../src/wire";

const one = (channel: string, sequence: number, sender?: string): Publication => ({
  channel,
  sequence,
  payload: String(sequence),
  ...(sender === undefined ? {} : { sender }),
});

class FakeSocket {
  readonly sent: string[] = [];
  closed: [number, string] | null = null;
  bufferedAmount = 0;

  send(text: string): void {
    if (this.closed !== null) {
      throw new TypeError("closed");
    }
    this.sent.push(text);
  }

  close(code: number, reason: string): void {
    this.closed = [code, reason];
  }
}

function sessionOf(options: { hasEcho?: boolean; skipped?: [string, number][]; channels?: string[] } = {}): {
  session: Session;
  socket: FakeSocket;
} {
  const socket = new FakeSocket();
  const kept = {
    id: "me",
    isSequenced: true,
    hasEcho: options.hasEcho ?? true,
    identity: null,
    deadline: null,
    channels: options.channels ?? [],
    skipped: options.skipped ?? [],
  };
  return { session: new Session(socket as unknown as WebSocket, kept, new CommandRate(1000, 0)), socket };
}

/** What subscribes, and what answers where channels stand. */
function subscribing(maxLag = 10_000): {
  delivery: Delivery;
  subscriber: Subscribing;
  answer: (standings: Standing[][]) => void;
} {
  const delivery = new Delivery(() => "7", maxLag);
  const { promise, resolve } = Promise.withResolvers<Standing[][]>();
  const subscriber = new Subscribing(
    delivery,
    new Namespaces(""),
    10,
    () => promise,
    () => "7",
  );
  return { delivery, subscriber, answer: resolve };
}

test("what comes before the answer is in it, or comes behind it, and never twice", async () => {
  const { delivery, subscriber, answer } = subscribing();
  const { session, socket } = sessionOf();
  delivery.add(session);
  const done = subscriber.subscribe(session, { type: "Subscribe", channels: ["a", "b:*"], positions: ["7 1 a"] });
  delivery.deliver([one("a", 2), one("a", 3), one("b:new", 1)]);
  answer([[{ channel: "a", sequence: 2, missing: [one("a", 2)], latest: null }], []]);
  await done;
  delivery.deliver([one("a", 4)]);
  expect(socket.sent).toEqual([
    '{"type":"Subscribed","channels":["a","b:*"],"positions":["7 1 a"],"recovered":["a"]}',
    "\x1e7 2 1 a\n2",
    "\x1e7 3 2 a\n3",
    "\x1e7 1 0 b:new\n1",
    "\x1e7 4 3 a\n4",
  ]);
});

test("what waits for the answer is bounded, and over it the session is closed", async () => {
  const { delivery, subscriber, answer } = subscribing(20);
  const { session, socket } = sessionOf();
  delivery.add(session);
  const done = subscriber.subscribe(session, { type: "Subscribe", channels: ["a"] });
  delivery.deliver(Array.from({ length: 20 }, (_, number) => one("a", number + 1)));
  expect(socket.closed?.[0]).toBe(4008);
  answer([[{ channel: "a", sequence: 0, missing: null, latest: null }]]);
  await done;
  expect(socket.sent).toEqual([]);
});

test("own publications that do not come back leave no hole, and that outlives a sleep", () => {
  const delivery = new Delivery(() => "7", 10_000);
  const first = sessionOf({ hasEcho: false, channels: ["a"] });
  delivery.add(first.session);
  delivery.deliver([one("a", 1), one("a", 2, "me"), one("a", 3, "me")]);
  expect(first.socket.sent).toEqual(["\x1e7 1 0 a\n1"]);
  const woken = sessionOf({
    hasEcho: false,
    channels: first.session.kept.channels,
    skipped: first.session.kept.skipped,
  });
  const later = new Delivery(() => "7", 10_000);
  later.add(woken.session);
  later.deliver([one("a", 4, "other"), one("a", 5)]);
  expect(woken.socket.sent).toEqual(["\x1e7 4 1 a\n4", "\x1e7 5 4 a\n5"]);
});

test("a socket that takes nothing is closed and gets nothing more, and so is one that throws", () => {
  const delivery = new Delivery(() => "7", 100);
  const [slow, ended, good] = [
    sessionOf({ channels: ["a"] }),
    sessionOf({ channels: ["a"] }),
    sessionOf({ channels: ["a"] }),
  ];
  for (const { session } of [slow, ended, good]) {
    delivery.add(session);
  }
  slow.socket.bufferedAmount = 101;
  ended.socket.closed = [1000, ""];
  delivery.deliver([one("a", 1)]);
  delivery.deliver([one("a", 2)]);
  expect([slow.socket.closed?.[0], slow.socket.sent.length, good.socket.sent.length]).toEqual([4008, 1, 2]);
  expect(ended.session.isOpen).toBe(false);
});

test("over what may wait for all together the slowest is closed, if it has not read since", () => {
  const MIB = 1024 * 1024;
  const delivery = new Delivery(() => "7", 30 * MIB);
  const all = [20, 25, 10, 1].map((lag) => ({ ...sessionOf({ channels: ["a"] }), lag: lag * MIB }));
  for (const { session } of all) {
    delivery.add(session);
  }
  for (const { socket, lag } of all) {
    socket.bufferedAmount = lag;
  }
  delivery.deliver([one("a", 1)]);
  expect(all.map(({ socket }) => socket.closed?.[0] ?? null)).toEqual([null, 4008, null, null]);
});

test("a reason is cut to what a close frame holds, between characters", () => {
  const { session, socket } = sessionOf();
  session.close(4403, "€".repeat(50));
  expect(socket.closed).toEqual([4403, "€".repeat(41)]);
});
