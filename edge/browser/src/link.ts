// A connection that is renewed, as a pure state machine: time and chance are arguments, and what is to be done is put into
// `effects`, in order. Nothing here reads a clock, waits, or knows a socket; `client.ts` carries out.
//
//   dial -> authenticate (where there is a token) -> subscribe -> live -> lost -> wait -> dial ...
//   GoAway: a successor is dialled, live, and takes over -> the old one is left            make before break

import { delay, judge, type Verdict } from "./backoff.js";
import { type Control, readControl } from "./control.js";
import type { Effect, Events, Settings, State, StateChange } from "./events.js";
import { Outbox } from "./outbox.js";
import { covers, type Payload, split } from "./publication.js";
import { Recovery } from "./recovery.js";
import { Session } from "./session.js";
import { endings, requests, Wanted } from "./subscriptions.js";

export const SUBPROTOCOL = "websocket-utils.json";

// A server says how long it still has; it closes the connection by itself long before.
const MOST_SECONDS = 300;
// A timer that is later than that was stopped with its page or its machine: what was due meanwhile proves nothing.
const LATE = 5;
// What a page may say in a close frame (the browser takes no other codes).
const NORMAL = 1000;
const GIVEN_UP = 4000;

export class Link {
  /** What is to be done, in this order. Whoever calls a method carries it out afterwards. */
  readonly effects: Effect[] = [];
  readonly wanted = new Wanted();
  readonly outbox: Outbox;
  state: State = "backoff";
  connects = 0;
  readonly #settings: Settings;
  readonly #recovery = new Recovery((value) => this.#tell("gap", value));
  #current: Session | null = null;
  #successor: Session | null = null;
  #ids = 0;
  #failures = 0;
  // Refusals of tokens in a row.
  #refused = 0;
  #dialAt: number | null = null;
  #isLate = false;
  #isMeant: (channel: string) => boolean = () => false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.outbox = new Outbox(settings.outbox);
  }

  get isOver(): boolean {
    return this.state === "closed" || this.state === "failed";
  }

  /** Whether a connection is still of use, or being dialled. */
  has(id: number): boolean {
    return this.#find(id) !== undefined;
  }

  get duplicates(): number {
    return this.#recovery.positions.duplicates;
  }

  /** The connection to send on; null while there is none that is live. */
  get live(): number | null {
    return this.#current?.liveAt != null ? this.#current.id : null;
  }

  /** When `tick` is to be called; null: nothing is due. */
  get next(): number | null {
    const next = Math.min(this.#dialAt ?? Infinity, ...this.#sessions.map((one) => one.next));
    return next === Infinity ? null : next;
  }

  get #sessions(): Session[] {
    return [this.#current, this.#successor].filter((one) => one !== null);
  }

  #find(id: number): Session | undefined {
    return this.#sessions.find((one) => one.id === id);
  }

  #tell<E extends keyof Events>(event: E, value: Events[E]): void {
    this.effects.push({ do: "tell", event, value } as Effect);
  }

  #turn(state: State, about: Partial<StateChange> = {}): void {
    this.state = state;
    this.#tell("state", { state, recovered: null, delay: null, code: null, reason: "", ...about });
  }

  #transmit(session: Session, message: object): void {
    this.effects.push({ do: "transmit", id: session.id, text: JSON.stringify(message) });
  }

  // --- what the user wants ---

  start(now: number): void {
    this.#dial(now);
  }

  subscribe(name: string, slow: string | undefined, now: number): void {
    const isNew = !this.wanted.has(name);
    if (!this.wanted.add(name, slow)) return;
    if (isNew) {
      this.#recovery.enter(name, this.wanted.names);
      this.#isMeant = covers(this.wanted.names);
    }
    for (const session of this.#sessions) if (session.isAuthenticated) this.#ask(session, [name], now);
  }

  unsubscribe(name: string, now: number): void {
    if (!this.wanted.remove(name)) return;
    this.#isMeant = covers(this.wanted.names);
    this.#recovery.leave(name, this.wanted.names);
    for (const session of this.#sessions) {
      session.renewal?.leave(name);
      session.due.delete(name);
      if (session.isAuthenticated) for (const message of endings([name])) this.#transmit(session, message);
      this.#lookForEnd(session, now);
    }
  }

  /** Sends a text, or keeps it for the next connection; false if there is no room for it, or it is over. */
  send(text: string, isOpen = true): boolean {
    if (this.isOver) return false;
    const id = this.live;
    if (id === null || !isOpen) return this.outbox.add(text);
    this.effects.push({ do: "transmit", id, text });
    return true;
  }

  close(): void {
    if (!this.isOver) this.#end("closed", NORMAL, "closed by the page");
  }

  /** The page shows again, or the network is there again: timers may have been late, and connections may be dead. */
  wake(now: number, unit: number): void {
    if (this.#dialAt !== null && !this.#isLate) {
      this.#dialAt = Math.min(this.#dialAt, now + unit * this.#settings.backoff.first);
    }
    for (const session of this.#sessions) {
      // One second: what has just come proves that it lives.
      if (session.pingAt !== null && session.heardAt < now - 1) this.#ping(session, now, this.#settings.wakeTimeout);
    }
  }

  /** It can't go on, and dialling again would not help. */
  fail(reason: string): void {
    if (!this.isOver) this.#end("failed", null, reason);
  }

  // --- what connections tell ---

  opened(id: number, subprotocol: string, token: string | null, now: number): void {
    const session = this.#find(id);
    if (!session || session.openedAt !== null) return;
    session.openedAt = session.heardAt = now;
    session.isSequenced = subprotocol === SUBPROTOCOL;
    if (session.isSequenced) session.renewal = this.#recovery.begin(session === this.#successor);
    if (token === null) {
      this.#authenticated(session, now);
      return;
    }
    session.deadline = now + this.#settings.authenticateTimeout;
    if (session === this.#current) this.#turn("authenticating");
    this.#transmit(session, { type: "Authenticate", token });
  }

  /** The token is there that was asked for again. */
  tokenRenewed(id: number, token: string): void {
    const session = this.#find(id);
    if (session?.isAuthenticated) this.#transmit(session, { type: "Authenticate", token });
  }

  /** The callable for the token threw, before a dial or later. */
  tokenFailed(id: number, cause: unknown, now: number, unit: number): void {
    const session = this.#find(id);
    if (!session) return;
    this.#tell("error", { kind: "token", reason: `the token callable threw: ${cause}`, channel: null, cause });
    // The connection goes on: its server ends it where that is needed.
    if (session.openedAt === null) this.#lose(session, null, "no token", "retry", now, unit);
  }

  closed(id: number, code: number, reason: string, now: number, unit: number): void {
    const session = this.#find(id);
    if (session) this.#lose(session, code, reason, judge(code, this.wanted.size > 0), now, unit);
  }

  received(id: number, data: Payload, now: number, unit: number): void {
    const session = this.#find(id);
    if (!session || session.openedAt === null) return;
    session.heardAt = now;
    session.pongBy = null;
    if (session.pingAt !== null) session.pingAt = now + this.#settings.pingInterval!;
    const found = session.isSequenced ? split(data) : { place: null, payload: data };
    if (!found) {
      this.#tell("error", { kind: "malformed", reason: "a publication without its position", channel: null });
      return;
    }
    const { place, payload } = found;
    if (place) {
      const { positions } = this.#recovery;
      // What nobody wants is late, or never was asked for.
      if (!this.#isMeant(place.channel)) return;
      if (!(session === this.#current ? positions.read(place) : positions.follow(place))) return;
    }
    const channel = place && place.channel;
    if (payload.length > this.#settings.maxMessageSize) {
      const reason = `${payload.length} is more than maxMessageSize, ${this.#settings.maxMessageSize}`;
      this.#tell("error", { kind: "too_big", reason, channel });
      return;
    }
    const control = place || typeof payload !== "string" ? null : readControl(payload, !session.isSequenced);
    if (control) this.#take(session, control, now, unit);
    else if (control === undefined) {
      this.#tell("error", { kind: "malformed", reason: "a message about the connection makes no sense", channel });
    } else if (place || session === this.#current) {
      // What stands in no channel is left to the connection in use, while there are two.
      this.effects.push({ do: "deliver", payload, place });
    }
  }

  #take(session: Session, message: Control, now: number, unit: number): void {
    switch (message.type) {
      case "Ping":
        this.#transmit(session, { type: "Pong" });
        break;
      case "Pong":
        break;
      case "Authenticated": {
        this.#refused = 0;
        const seconds = message.expires_in;
        const isRenewable = seconds !== null && this.#settings.token === "asked";
        // A third of its time before it ends, but at most half a minute.
        session.renewAt = isRenewable ? now + Math.max(0.5, seconds - Math.min(30, seconds / 3)) : null;
        if (!session.isAuthenticated) this.#authenticated(session, now);
        break;
      }
      case "Subscribed": {
        const { channels, positions = [], recovered = [] } = message;
        if (session.renewal?.answer(channels, positions, recovered, (name) => this.wanted.has(name)) === false) {
          this.#tell("error", { kind: "malformed", reason: "a Subscribed without sense", channel: null });
          this.#lose(session, null, "a Subscribed without sense", "retry", now, unit);
          return;
        }
        for (const name of channels) session.due.delete(name);
        this.#lookForEnd(session, now);
        break;
      }
      case "SubscriptionRejected":
        for (const channel of message.channels) {
          session.renewal?.refuse(channel);
          session.due.delete(channel);
          if (!this.wanted.forget(channel)) continue;
          this.#tell("rejected", { channel, code: Number(message.code), reason: message.reason });
        }
        this.#isMeant = covers(this.wanted.names);
        this.#lookForEnd(session, now);
        break;
      case "LagNotice": {
        // A successor only follows.
        if (session !== this.#current) break;
        const [first, last, count] = [BigInt(message.first), BigInt(message.last), BigInt(message.count)];
        this.#recovery.positions.lag(message.channel, last);
        this.#tell("lagged", { channel: message.channel, first, last, count });
        break;
      }
      case "GoAway":
        // The first one counts.
        if (!session.isGoing) session.leaveAt = now + Math.min(Math.max(0, message.after), MOST_SECONDS);
        session.isGoing = true;
        break;
    }
  }

  // --- towards live ---

  #dial(now: number, isSuccessor = false): void {
    const session = new Session(++this.#ids, now + this.#settings.openTimeout);
    if (isSuccessor) this.#successor = session;
    else {
      this.#current = session;
      this.#dialAt = null;
      this.#turn("connecting");
    }
    this.effects.push({ do: "dial", id: session.id, refresh: this.#refused > 0 });
  }

  #authenticated(session: Session, now: number): void {
    session.isAuthenticated = true;
    session.deadline = null;
    if (this.#settings.pingInterval !== null) session.pingAt = now + this.#settings.pingInterval;
    if (session === this.#current) this.#turn("restoring");
    this.#ask(session, this.wanted.names, now);
    this.#lookForEnd(session, now);
  }

  #ask(session: Session, names: string[], now: number): void {
    const wishes = names.map((name) => ({
      name,
      slow: session.isSequenced ? this.wanted.slow(name) : "",
      positions: session.renewal?.present(name) ?? [],
    }));
    for (const message of requests(wishes)) {
      const { type, channels, positions, slow } = message;
      this.#transmit(session, session.isSequenced ? { type, channels, positions, slow } : { type, channels });
    }
    if (!session.isSequenced || !names.length) return;
    for (const name of names) session.due.add(name);
    session.deadline = now + this.#settings.subscribeTimeout;
  }

  #lookForEnd(session: Session, now: number): void {
    if (!session.isAuthenticated || session.due.size) return;
    session.deadline = null;
    if (session.liveAt !== null) return;
    session.liveAt = now;
    const recovered = session.renewal?.complete() ?? false;
    const old = this.#current;
    if (session === this.#successor) {
      this.#successor = null;
      this.#current = session;
      if (old) this.#drop(old, NORMAL, "replaced by a newer connection");
    }
    const isFirst = this.connects++ === 0;
    if (!session.isSequenced && !isFirst) {
      for (const channel of this.wanted.names) this.#tell("gap", { channel, last: null, next: null });
    }
    this.#turn("live", { recovered: isFirst ? null : recovered });
    for (const text of this.outbox.take()) this.effects.push({ do: "transmit", id: session.id, text });
  }

  // --- time ---

  tick(now: number, unit: number): void {
    if (this.#dialAt !== null && this.#dialAt <= now) this.#dial(now);
    for (const session of this.#sessions) this.#look(session, now, unit);
  }

  #look(session: Session, now: number, unit: number): void {
    const isDue = (time: number | null): time is number => time !== null && time <= now;
    if (isDue(session.deadline)) {
      const what = session.openedAt === null ? "open" : session.isAuthenticated ? "subscribe" : "authenticate";
      this.#lose(session, null, `no answer in time: ${what}`, "retry", now, unit);
      return;
    }
    if (isDue(session.pongBy)) {
      if (now - session.pongBy <= LATE) {
        this.#lose(session, null, "no sign of life in time", "retry", now, unit);
        return;
      }
      this.#ping(session, now, this.#settings.wakeTimeout);
    }
    if (isDue(session.pingAt)) this.#ping(session, now, this.#settings.pingTimeout);
    if (isDue(session.renewAt)) {
      session.renewAt = null;
      this.effects.push({ do: "token", id: session.id });
    }
    if (isDue(session.leaveAt) && session === this.#current) {
      session.leaveAt = null;
      if (session.liveAt === null) this.#escapeLater(session, now, unit);
      else if (!this.#successor) this.#dial(now, true);
    }
  }

  #ping(session: Session, now: number, timeout: number): void {
    session.pingAt = now + this.#settings.pingInterval! + timeout;
    session.pongBy = now + timeout;
    this.#transmit(session, { type: "Ping" });
  }

  #escapeLater(session: Session, now: number, unit: number): void {
    session.leaveAt = now + delay(this.#settings.backoff, "retry", ++session.escapes, unit, true);
  }

  // --- the end ---

  #drop(session: Session, code: number, reason: string): void {
    this.effects.push({ do: "drop", id: session.id, code, reason });
  }

  #lose(session: Session, code: number | null, reason: string, verdict: Verdict, now: number, unit: number): void {
    this.#drop(session, GIVEN_UP, reason);
    if (session === this.#successor) {
      this.#successor = null;
      if (this.#current) this.#escapeLater(this.#current, now, unit);
      return;
    }
    this.#recovery.lost();
    this.#current = null;
    const isStable = session.liveAt !== null && now - session.liveAt >= this.#settings.stableAfter;
    if (isStable) this.#failures = 0;
    if (verdict === "done") {
      this.#end("closed", code, reason);
      return;
    }
    // Once with another token, then it is over.
    if (verdict === "refresh" && (this.#settings.token !== "asked" || ++this.#refused > 1)) {
      this.#end("failed", code, reason);
      return;
    }
    if (this.#successor) {
      this.#adopt(this.#successor);
      return;
    }
    const isFlapping = session.openedAt !== null && !isStable;
    const wait = delay(this.#settings.backoff, verdict, this.#failures++, unit, isFlapping);
    this.#isLate = verdict === "late";
    this.#dialAt = now + wait;
    this.#turn("backoff", { delay: wait, code, reason });
  }

  /** The connection is lost while its successor is half made: that is now the next one. */
  #adopt(session: Session): void {
    this.#successor = null;
    this.#current = session;
    session.renewal?.takeOver();
    this.#turn(session.openedAt === null ? "connecting" : session.isAuthenticated ? "restoring" : "authenticating");
  }

  #end(state: "closed" | "failed", code: number | null, reason: string): void {
    for (const session of this.#sessions) this.#drop(session, NORMAL, "closed by the page");
    this.#current = this.#successor = this.#dialAt = null;
    this.outbox.take();
    this.#turn(state, { code, reason });
  }
}
