// Carries out what a `Link` decides: sockets, timers, the page's events, and the user's callables.

import { BACKOFF } from "./backoff.js";
import type { Effect, Events, Settings, State } from "./events.js";
import { Link, SUBPROTOCOL } from "./link.js";
import { readJson, writeJson } from "./numbers.js";
import { OUTBOX } from "./outbox.js";
import type { Payload, Place } from "./publication.js";
import { byteLength, type Slow } from "./subscriptions.js";

/** Where a message stands. */
export interface At {
  /** Name of its channel. From a server without our subprotocol: the name that was subscribed to. */
  channel: string;
  /** Number of the channel's incarnation; null from a server without our subprotocol. */
  epoch: bigint | null;
  /** Its number in the channel, from 1; null from a server without our subprotocol. */
  sequence: bigint | null;
}

export interface ClientEvents extends Events {
  /** A message that stands in no channel, such as a broadcast. */
  message: unknown;
}

type Adjustable = Omit<Settings, "token" | "backoff" | "outbox">;

export interface Options extends Partial<Adjustable> {
  /** What proves who this is, sent before anything else. A callable is asked for each connection, and before a token ends. */
  token?: string | ((about: { refresh: boolean }) => string | Promise<string>);
  /**
   * What is asked of the server. Default `websocket-utils.json`, which servers of websocket_utils speak. A browser fails
   * connections to servers that don't agree: for any other one it has to be null, and nothing can be recovered.
   */
  subprotocol?: typeof SUBPROTOCOL | null;
  /** Makes a message of a text; it may throw. Default: JSON whose integers beyond 2**53 - 1 are `bigint`. */
  parse?: (text: string) => unknown;
  /** How long to wait before dialling again. */
  backoff?: Partial<Settings["backoff"]>;
  /** What may wait to be sent while there is no connection. */
  outbox?: Partial<Settings["outbox"]>;
}

/** One wish for the messages of a channel, or of all that a pattern means. */
export interface Subscription {
  readonly name: string;
  /** Ends it. The server is told when it was the last one of this name. */
  end(): void;
}

type Handler = (message: never, at: At) => void;
type Listener = (value: never) => void;

const DEFAULTS: Adjustable = {
  maxMessageSize: 1_048_576,
  pingInterval: 15,
  pingTimeout: 10,
  wakeTimeout: 3,
  openTimeout: 10,
  authenticateTimeout: 10,
  subscribeTimeout: 10,
  stableAfter: 5,
};
// Browsers fire longer timers at once.
const LONGEST_TIMER = 2_000_000;

const now = (): number => performance.now() / 1000;

export class Client {
  readonly #url: string;
  readonly #options: Options;
  readonly #link: Link;
  readonly #sockets = new Map<number, WebSocket>();
  readonly #handlers = new Map<string, Set<Handler>>();
  // Those of the names that are patterns; some may be over.
  readonly #patterns = new Set<string>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #page = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  // Until the end of the turn in which it is made: listeners that are added in it hear all.
  #isRunning = true;
  #complaints = 0;

  constructor(url: string | URL, options: Options = {}) {
    this.#url = new URL(url).href;
    if (!/^wss?:/.test(this.#url)) throw new SyntaxError(`${this.#url}: the URL of a WebSocket begins with ws: or wss:`);
    this.#options = options;
    const { token, backoff, outbox, subprotocol: _, parse: __, ...adjusted } = options;
    this.#link = new Link({
      ...DEFAULTS,
      ...adjusted,
      token: token === undefined ? "none" : typeof token === "string" ? "fixed" : "asked",
      backoff: { ...BACKOFF, ...backoff },
      outbox: { ...OUTBOX, ...outbox },
    });
    this.#watchPage();
    this.#link.start(now());
    queueMicrotask(() => {
      this.#isRunning = false;
      this.#run();
    });
  }

  get state(): State {
    return this.#link.state;
  }

  /** Messages that wait for a connection; those given up for newer ones; those that came twice; connections so far. */
  get stats(): { waiting: number; dropped: number; duplicates: number; connects: number } {
    const { outbox, duplicates, connects } = this.#link;
    return { waiting: outbox.size, dropped: outbox.dropped, duplicates, connects };
  }

  /** Calls a listener for each event of a kind; returns what stops that. */
  on<E extends keyof ClientEvents>(event: E, listener: (value: ClientEvents[E]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Subscribes to a channel, or with `prices:*` to all that begin so, for as long as the client lives.
   *
   * `slow`: what the server does while this page does not keep up; without it, what the server's namespaces say.
   */
  subscribe<M = unknown>(name: string, handler: (message: M, at: At) => void, options: { slow?: Slow } = {}): Subscription {
    // An object of its own: one handler may be subscribed twice.
    const own: Handler = (message, at) => handler(message, at);
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(own));
    if (name.endsWith("*")) this.#patterns.add(name);
    this.#do(() => this.#link.subscribe(name, options.slow, now()));
    return {
      name,
      end: () => {
        // A name that was refused may have been subscribed to anew: that is none of this one.
        if (this.#handlers.get(name) !== handlers || !handlers.delete(own)) return;
        if (!handlers.size) {
          this.#handlers.delete(name);
          this.#patterns.delete(name);
        }
        this.#do(() => this.#link.unsubscribe(name, now()));
      },
    };
  }

  /**
   * Sends a message as JSON, `bigint` as an integer; a text is sent as it is. What is sent while there is no connection
   * waits for the next one.
   *
   * Returns false if it was not taken: `outbox` is full, or the client is over. What was on its way when a connection ends
   * may be lost: let the server answer what must arrive. Throws a `TypeError` if it has no form in JSON.
   */
  send(message: unknown): boolean {
    const text = typeof message === "string" ? message : writeJson(message);
    const id = this.#link.live;
    const socket = id === null ? undefined : this.#sockets.get(id);
    // A socket that is closing takes everything and sends nothing.
    const isOpen = socket?.readyState === WebSocket.OPEN;
    // The socket's own buffer has no end.
    const buffered = isOpen && socket.bufferedAmount;
    if (buffered && buffered + byteLength(text) > (this.#options.outbox?.bytes ?? OUTBOX.bytes)) return false;
    return this.#do(() => this.#link.send(text, isOpen));
  }

  /** Ends it: no listener or handler is called any more but for the state `closed`. */
  close(): void {
    this.#do(() => this.#link.close());
  }

  // --- the link ---

  #do<T>(step: () => T): T {
    const result = step();
    this.#run();
    return result;
  }

  /** Carries out what the link wants done, in order; what handlers ask for meanwhile comes behind it. */
  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { effects } = this.#link;
    try {
      for (let at = 0; at < effects.length; at++) this.#carryOut(effects[at]!);
    } finally {
      effects.length = 0;
      this.#isRunning = false;
    }
    const next = this.#link.next ?? Infinity;
    // A timer that comes early finds nothing to do: one for each message would cost more.
    if (next >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = next;
    this.#timer = setTimeout(() => this.#tick(), Math.min(Math.max(0, next - now()) * 1000, LONGEST_TIMER * 1000));
  }

  #tick(): void {
    this.#timerAt = Infinity;
    this.#do(() => this.#link.tick(now(), Math.random()));
  }

  #carryOut(effect: Effect): void {
    switch (effect.do) {
      case "dial":
        void this.#dial(effect.id, effect.refresh);
        break;
      case "token":
        void this.#renew(effect.id);
        break;
      case "transmit":
        this.#sockets.get(effect.id)?.send(effect.text);
        break;
      case "drop": {
        const socket = this.#sockets.get(effect.id);
        this.#sockets.delete(effect.id);
        // What a close frame holds: 125 bytes with the code.
        socket?.close(effect.code, effect.reason.slice(0, 40));
        break;
      }
      case "deliver":
        if (!this.#link.isOver) this.#deliver(effect.payload, effect.place);
        break;
      case "tell":
        if (effect.event === "rejected" && !this.#link.wanted.has(effect.value.channel)) {
          this.#handlers.delete(effect.value.channel);
        }
        if (effect.event === "state" && this.#link.isOver) this.#page.abort();
        if (!this.#link.isOver || effect.event === "state") this.#tell(effect.event, effect.value);
    }
  }

  // --- connections ---

  async #token(refresh: boolean): Promise<string | null> {
    const { token } = this.#options;
    const found: unknown = typeof token === "function" ? await token({ refresh }) : (token ?? null);
    if (found !== null && typeof found !== "string") throw new TypeError(`a token is a string, not ${typeof found}`);
    return found;
  }

  async #dial(id: number, refresh: boolean): Promise<void> {
    let token: string | null;
    try {
      token = await this.#token(refresh);
    } catch (error) {
      this.#do(() => this.#link.tokenFailed(id, error, now(), Math.random()));
      return;
    }
    // Given up meanwhile.
    if (!this.#link.has(id)) return;
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#url, this.#options.subprotocol === null ? [] : [SUBPROTOCOL]);
    } catch (error) {
      // Forbidden by the page's own security: it would be again.
      this.#do(() => this.#link.fail(String(error)));
      return;
    }
    this.#sockets.set(id, socket);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#do(() => this.#link.opened(id, socket.protocol, token, now()));
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      const payload = typeof data === "string" ? data : new Uint8Array(data);
      this.#do(() => this.#link.received(id, payload, now(), Math.random()));
    };
    socket.onclose = ({ code, reason }) => this.#do(() => this.#link.closed(id, code, reason, now(), Math.random()));
  }

  async #renew(id: number): Promise<void> {
    try {
      const token = await this.#token(false);
      if (token !== null) this.#do(() => this.#link.tokenRenewed(id, token));
    } catch (error) {
      this.#do(() => this.#link.tokenFailed(id, error, now(), Math.random()));
    }
  }

  // --- the user's callables ---

  #call(callable: (...values: never[]) => void, ...values: unknown[]): void {
    try {
      callable(...(values as never[]));
    } catch (cause) {
      const reason = `a handler threw: ${cause}`;
      this.#tell("error", { kind: "handler", reason, channel: null, cause });
    }
  }

  #tell<E extends keyof ClientEvents>(event: E, value: ClientEvents[E]): void {
    const listeners = this.#listeners.get(event);
    // A server that sends nothing but nonsense must not flood the console: the 1st, 10th, 100th time.
    if (event === "error" && !listeners?.size && Number.isInteger(Math.log10(++this.#complaints))) {
      console.error("websocket-utils:", value);
    }
    for (const listener of [...(listeners ?? [])]) {
      // A listener for errors that throws must not be told of that.
      if (event !== "error") this.#call(listener, value);
      else {
        try {
          (listener as (value: unknown) => void)(value);
        } catch (cause) {
          console.error("websocket-utils:", cause);
        }
      }
    }
  }

  #deliver(payload: Payload, place: Place | null): void {
    const isPlain = this.#options.subprotocol === null;
    const found: [string, Handler][] = [];
    const names = place ? this.#namesOf(place.channel) : isPlain ? [...this.#handlers.keys()] : [];
    for (const name of names) {
      for (const handler of this.#handlers.get(name)!) found.push([place?.channel ?? name, handler]);
    }
    const isHeard = !place && this.#listeners.get("message")?.size;
    if (!found.length && !isHeard) return;
    let message: unknown = payload;
    if (typeof payload === "string") {
      try {
        message = (this.#options.parse ?? readJson)(payload);
      } catch (cause) {
        const reason = `a message can't be read: ${cause}`;
        this.#tell("error", { kind: "malformed", reason, channel: place && place.channel, cause });
        return;
      }
    }
    if (!place) this.#tell("message", message);
    for (const [channel, handler] of found) {
      this.#call(handler, message, { channel, epoch: place && place.epoch, sequence: place && place.sequence });
    }
  }

  /** What was subscribed to, and means a channel. */
  #namesOf(channel: string): string[] {
    const names = this.#handlers.has(channel) ? [channel] : [];
    for (const pattern of this.#patterns) if (channel.startsWith(pattern.slice(0, -1))) names.push(pattern);
    return names.filter((name) => this.#handlers.has(name));
  }

  // --- the page ---

  #watchPage(): void {
    const { signal } = this.#page;
    const wake = (): void => this.#do(() => this.#link.wake(now(), Math.random()));
    // The network is lost, or there: both say that connections may be dead.
    for (const event of ["online", "offline", "pageshow"]) globalThis.addEventListener?.(event, wake, { signal });
    globalThis.document?.addEventListener("resume", wake, { signal });
    globalThis.document?.addEventListener(
      "visibilitychange",
      () => {
        if (document.visibilityState === "visible") wake();
      },
      { signal },
    );
  }
}

/**
 * Connects to a server, and stays connected: a lost connection is followed by another, subscriptions are renewed, and what
 * was missed is recovered, or told as a `gap`.
 *
 * Throws a `SyntaxError` if the URL is none; everything else is told by events.
 */
export function connect(url: string | URL, options: Options = {}): Client {
  return new Client(url, options);
}
