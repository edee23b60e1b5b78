// The clients of one object, coordinator or shard: they come, speak, sleep with it, and end.

import { Attachments, type Kept } from "./attachments";
import { NOT_AUTHENTICATED, NOT_PERMITTED, TOO_MANY, type Fault, type Namespaces } from "./channels";
import { Delivery } from "./delivery";
import { compact } from "./json";
import type { Authenticate, Authenticated } from "./messages";
import { IDENTITY_HEADER } from "./names";
import { CommandRate } from "./rates";
import { channelOf, readMessage, Session, textOf, type ClientMessage } from "./session";
import type { Settings } from "./settings";
import { isAnswerable, POLICY_VIOLATION, refuse, Subscribing, type Stand } from "./subscribing";
import { identityOf, may, Unauthorized, type Identity } from "./tokens";
import { byteLength, SUBPROTOCOL, type Payload, type Publication } from "./wire";

/** Tag of the clients' sockets. */
export const CLIENT = "client";

const INTERNAL_ERROR = 1011;
const MESSAGE_TOO_BIG = 1009;
// Until it is known who asks: room for a token.
const MAX_EARLY_MESSAGE = 64 * 1024;
// Characters that wait while a session's subscription is looked up elsewhere.
const MAX_WAITING = 1024 * 1024;

/** What sessions need of the object that has them. */
export interface Host {
  ctx: DurableObjectState;
  settings: Settings;
  namespaces: Namespaces;
  tokenKey: string | undefined;
  epoch: () => string;
  stand: Stand;
  /** Publish what a session sent; text is why it can't be. */
  publish: (channel: string, payload: string, sender: string) => string | null | Promise<string | null>;
}

export class Sessions {
  readonly #host: Host;
  readonly #attachments: Attachments;
  readonly #delivery: Delivery;
  readonly #subscribing: Subscribing;

  constructor(host: Host) {
    const { ctx, settings, namespaces, epoch, stand } = host;
    this.#host = host;
    this.#attachments = new Attachments(ctx.storage.sql);
    this.#delivery = new Delivery(epoch, settings.maxLag);
    this.#subscribing = new Subscribing(this.#delivery, namespaces, settings.maxSubscriptions, stand, epoch);
    // Answered without waking the object: the very text that clients send.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('{"type":"Ping"}', '{"type":"Pong"}'));
    for (const socket of ctx.getWebSockets(CLIENT)) {
      const kept = socket.readyState === WebSocket.OPEN ? this.#attachments.of(socket) : null;
      if (kept !== null) {
        this.#delivery.add(this.#session(socket, kept));
      }
    }
    this.#attachments.forgetOthers(new Set([...this.#delivery.sessions.values()].map((session) => session.id)));
  }

  get count(): number {
    return this.#delivery.sessions.size;
  }

  #session(socket: WebSocket, kept: Kept): Session {
    return new Session(socket, kept, new CommandRate(this.#host.settings.commandsPerSecond, now()));
  }

  /** Take a client's socket: the answer to its opening request. */
  async accept(request: Request): Promise<Response> {
    const identity = request.headers.get(IDENTITY_HEADER);
    const offered = (request.headers.get("Sec-WebSocket-Protocol") ?? "").split(",").map((one) => one.trim());
    const isSequenced = offered.includes(SUBPROTOCOL);
    const kept: Kept = {
      id: crypto.randomUUID(),
      isSequenced,
      hasEcho: new URL(request.url).searchParams.get("echo") !== "off",
      identity: null,
      deadline: null,
      channels: [],
      skipped: [],
    };
    if (this.#host.tokenKey !== undefined) {
      kept.identity = identity === null ? null : (JSON.parse(decodeURIComponent(identity)) as Identity);
      kept.deadline = kept.identity?.expiresAt ?? now() + this.#host.settings.authenticateTimeout;
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.#host.ctx.acceptWebSocket(server, [CLIENT]);
    const session = this.#session(server, kept);
    this.#delivery.add(session);
    this.#attachments.keep(server, session.kept);
    await this.#wakeAt(kept.deadline);
    const headers = new Headers({ "X-Session": kept.id });
    if (isSequenced) {
      headers.set("Sec-WebSocket-Protocol", SUBPROTOCOL);
    }
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  deliver(publications: readonly Publication[]): void {
    const changes = publications.some((one) => one.sender !== undefined);
    this.#delivery.deliver(publications);
    if (changes) {
      this.#keepSkipped(publications);
    }
  }

  /** Own publications that did not come back, and what came behind them, are remembered over a sleep. */
  #keepSkipped(publications: readonly Publication[]): void {
    const senders = new Set(publications.map((one) => one.sender));
    for (const session of this.#delivery.sessions.values()) {
      if (!session.hasEcho && senders.has(session.id) && session.isOpen) {
        this.#attachments.keep(session.socket, session.kept);
      }
    }
  }

  /** Send to all sessions but `except`, in no channel; returns to how many. */
  broadcast(payload: Payload, except?: string): number {
    return this.#delivery.broadcast(payload, except, (session) => !this.#isPending(session));
  }

  /** Close all, as their object can't tell any more what they missed: they come back with their positions. */
  closeAll(code: number, reason: string): void {
    for (const session of [...this.#delivery.sessions.values()]) {
      session.close(code, reason);
      this.#leave(session);
    }
  }

  /** A client has said something; what it says next waits until this is done. */
  async onMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const session = this.#delivery.sessions.get(socket);
    if (session === undefined || !session.isOpen) {
      return;
    }
    const size = typeof message === "string" ? message.length : message.byteLength;
    if (session.busy !== null) {
      session.waiting += size;
      if (session.waiting > MAX_WAITING) {
        session.close(POLICY_VIOLATION, "too much at once");
        return;
      }
    }
    const before = session.busy;
    const handled = (async () => {
      await before;
      await this.#handle(session, message);
    })();
    const settled = handled.catch((error: unknown) => {
      // A fault of ours ends this session, and no other.
      console.error("a message of a client could not be handled:", error);
      session.close(INTERNAL_ERROR, "internal error");
    });
    session.busy = settled;
    await settled;
    if (session.busy === settled) {
      session.busy = null;
      session.waiting = 0;
    }
  }

  async #handle(session: Session, message: string | ArrayBuffer): Promise<void> {
    if (!session.isOpen) {
      return;
    }
    const limit = this.#isPending(session) ? MAX_EARLY_MESSAGE : this.#host.settings.maxMessage;
    const size = typeof message === "string" ? byteLength(message) : message.byteLength;
    if (size > limit) {
      session.close(MESSAGE_TOO_BIG, `a message has at most ${limit} bytes, not ${size}`);
      return;
    }
    const text = textOf(message);
    const read = text === null ? null : readMessage(text);
    if (this.#isPending(session) && read?.type !== "Authenticate" && read?.type !== "Ping") {
      session.close(NOT_AUTHENTICATED, "Authenticate comes first");
      return;
    }
    if (text !== null && read !== null && this.#letsThrough(session, read)) {
      await this.#obey(session, read, text);
      this.#delivery.checkLag(session);
    }
  }

  /** Whether a command may be done now; if not, the client is told where it can be. */
  #letsThrough(session: Session, message: ClientMessage): boolean {
    const verdict = session.rate.judge(now());
    if (verdict === "allowed" || (verdict === "refused" && message.type === "Unsubscribe")) {
      return true;
    }
    if (verdict === "refused" && message.type === "Ping") {
      return false;
    }
    const isTold = session.isSequenced && message.type === "Subscribe" && isAnswerable(message.channels);
    if (verdict === "refused" && isTold) {
      const fault: Fault = [TOO_MANY, "too many commands"];
      refuse(session, new Map(message.channels.map((name) => [name, fault])));
      return false;
    }
    session.close(session.isSequenced ? TOO_MANY : POLICY_VIOLATION, "too many commands");
    return false;
  }

  async #obey(session: Session, message: ClientMessage, text: string): Promise<void> {
    switch (message.type) {
      case "Subscribe":
        await this.#subscribing.subscribe(session, message);
        this.#keep(session);
        return;
      case "Unsubscribe":
        for (const name of message.channels) {
          this.#delivery.unsubscribe(session, name);
        }
        this.#keep(session);
        return;
      case "Authenticate":
        await this.#authenticate(session, message);
        return;
      case "Ping":
        session.send('{"type":"Pong"}');
        return;
      default:
        await this.#publish(session, channelOf(message), compact(text));
    }
  }

  #keep(session: Session): void {
    if (session.isOpen) {
      this.#attachments.keep(session.socket, session.kept);
    }
  }

  /** A client publishes: only one whose token says so. */
  async #publish(session: Session, channel: string, payload: string): Promise<void> {
    if (session.identity === null || !may(session.identity, "publish", channel)) {
      session.close(NOT_PERMITTED, `not permitted to publish to ${channel}`);
      return;
    }
    const fault = this.#host.namespaces.channelFault(channel);
    const refusal = fault === null ? await this.#host.publish(channel, payload, session.id) : fault[1];
    if (refusal !== null) {
      session.close(POLICY_VIOLATION, `not published to ${channel}: ${refusal}`);
    }
  }

  #isPending(session: Session): boolean {
    return this.#host.tokenKey !== undefined && session.identity === null;
  }

  async #authenticate(session: Session, message: Authenticate): Promise<void> {
    if (this.#host.tokenKey === undefined) {
      // Nobody is asked here: as a server without `authenticate`, it has no answer.
      return;
    }
    let identity: Identity;
    try {
      identity = await identityOf(message.token, this.#host.tokenKey, now(), this.#host.settings.leeway);
    } catch (error) {
      if (error instanceof Unauthorized) {
        session.close(NOT_AUTHENTICATED, error.message);
        return;
      }
      throw error;
    }
    if (session.identity !== null && session.identity.name !== identity.name) {
      session.close(NOT_AUTHENTICATED, "a connection keeps its identity");
      return;
    }
    session.identity = identity;
    session.deadline = identity.expiresAt;
    const { name, expiresAt } = identity;
    const answer: Authenticated = { type: "Authenticated", name, expires_in: expiresAt - now() };
    session.send(JSON.stringify(answer));
    this.#withdraw(session, identity);
    this.#keep(session);
    await this.#wakeAt(session.deadline);
  }

  /** A renewed identity may do less than before: end the subscriptions that it has no grant for any more. */
  #withdraw(session: Session, identity: Identity): void {
    const names = [...session.channels].filter((name) => !may(identity, "subscribe", name));
    if (names.length > 0 && !session.isSequenced) {
      session.close(POLICY_VIOLATION, "not permitted any more");
      return;
    }
    for (const name of names) {
      this.#delivery.unsubscribe(session, name);
    }
    refuse(session, new Map(names.map((name) => [name, [NOT_PERMITTED, "not permitted any more"]])));
  }

  onClose(socket: WebSocket): void {
    const session = this.#delivery.sessions.get(socket);
    if (session !== undefined) {
      this.#leave(session);
    }
  }

  #leave(session: Session): void {
    this.#delivery.remove(session);
    this.#attachments.forget(session.id);
  }

  /** Close those whose time is over, and be woken for the next. */
  async onAlarm(): Promise<void> {
    const time = now();
    let next: number | null = null;
    for (const session of [...this.#delivery.sessions.values()]) {
      if (session.deadline === null || !session.isOpen) {
        continue;
      }
      if (session.deadline <= time) {
        const { authenticateTimeout } = this.#host.settings;
        const reason = this.#isPending(session) ? `not authenticated within ${authenticateTimeout} s` : "token expired";
        session.close(NOT_AUTHENTICATED, reason);
      } else {
        next = Math.min(next ?? Infinity, session.deadline);
      }
    }
    await this.#wakeAt(next);
  }

  async #wakeAt(seconds: number | null): Promise<void> {
    if (seconds === null) {
      return;
    }
    const planned = await this.#host.ctx.storage.getAlarm();
    if (planned === null || planned > seconds * 1000) {
      await this.#host.ctx.storage.setAlarm(Math.ceil(seconds * 1000));
    }
  }
}

function now(): number {
  return Date.now() / 1000;
}
