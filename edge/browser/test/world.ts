// A link whose sockets, clock and chance are the test's.

import { BACKOFF } from "../src/backoff.js";
import type { Effect, Events, Settings } from "../src/events.js";
import { Link, SUBPROTOCOL } from "../src/link.js";
import type { AnyMessage } from "../src/messages.js";
import { OUTBOX } from "../src/outbox.js";

export const SETTINGS: Settings = {
  token: "none",
  backoff: BACKOFF,
  outbox: OUTBOX,
  maxMessageSize: 10_000,
  pingInterval: 15,
  pingTimeout: 10,
  wakeTimeout: 3,
  openTimeout: 10,
  authenticateTimeout: 10,
  subscribeTimeout: 10,
  stableAfter: 5,
};

type Told = { [E in keyof Events]: [E, Events[E]] }[keyof Events];

export class World {
  now = 100;
  unit = 0.5;
  readonly link: Link;
  /** What was told and delivered, in order: a message as its number. */
  readonly log: (Told | ["message", string, number])[] = [];
  /** Messages that were sent, each with the number of its connection. */
  readonly sent: [number, AnyMessage][] = [];
  readonly dials: Extract<Effect, { do: "dial" }>[] = [];
  readonly dropped: Extract<Effect, { do: "drop" }>[] = [];
  readonly tokens: number[] = [];

  constructor(settings: Partial<Settings> = {}) {
    this.link = new Link({ ...SETTINGS, ...settings });
    this.do(() => this.link.start(this.now));
  }

  do(step: () => unknown): unknown {
    const result = step();
    for (const effect of this.link.effects.splice(0)) {
      if (effect.do === "dial") this.dials.push(effect);
      else if (effect.do === "drop") this.dropped.push(effect);
      else if (effect.do === "token") this.tokens.push(effect.id);
      else if (effect.do === "transmit") this.sent.push([effect.id, JSON.parse(effect.text)]);
      else if (effect.do === "tell") this.log.push([effect.event, effect.value] as Told);
      else this.log.push(["message", effect.place?.channel ?? "", Number(JSON.parse(effect.payload as string))]);
    }
    return result;
  }

  subscribe(...names: string[]): void {
    for (const name of names) this.do(() => this.link.subscribe(name, undefined, this.now));
  }

  /** The server accepts the latest dial, or another. */
  open(id = this.dials.length, token: string | null = null, subprotocol: string = SUBPROTOCOL): void {
    this.do(() => this.link.opened(id, subprotocol, token, this.now));
  }

  /** The server sends a message, on the latest connection or another. */
  receive(message: AnyMessage | string, id = this.dials.length): void {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    this.do(() => this.link.received(id, text, this.now, this.unit));
  }

  answer(channels: string[], positions: string[] = [], recovered: string[] = [], id = this.dials.length): void {
    this.receive({ type: "Subscribed", channels, positions, recovered }, id);
  }

  /** Publications of one channel follow each other. */
  publish(channel: string, epoch: number, numbers: number[], id = this.dials.length): void {
    for (const number of numbers) this.receive(`\x1e${epoch} ${number} ${number - 1} ${channel}\n${number}`, id);
  }

  lose(code = 1006, reason = "", id = this.dials.length): void {
    this.do(() => this.link.closed(id, code, reason, this.now, this.unit));
  }

  /** Time passes, at once to its end where a timer is late, else from one moment to the next. */
  pass(seconds: number, isLate = false): void {
    const end = this.now + seconds;
    while (!isLate && this.link.next !== null && this.link.next <= end) {
      this.now = Math.max(this.now, this.link.next);
      this.do(() => this.link.tick(this.now, this.unit));
    }
    this.now = end;
    if (isLate) this.do(() => this.link.tick(this.now, this.unit));
  }

  /** A lost connection is dialled again and opened. */
  again(code = 1006): void {
    const dials = this.dials.length;
    this.lose(code);
    while (this.dials.length === dials) this.pass(this.link.next! - this.now);
    this.open();
  }

  of<E extends keyof Events>(event: E): Events[E][] {
    return this.log.filter(([kind]) => kind === event).map(([, value]) => value as Events[E]);
  }

  get numbers(): number[] {
    return this.log.filter(([kind]) => kind === "message").map((entry) => entry[2] as number);
  }

  get states(): string[] {
    return this.of("state").map(({ state }) => state);
  }

  requests(id: number): AnyMessage[] {
    return this.sent.filter(([to]) => to === id).map(([, message]) => message);
  }
}
