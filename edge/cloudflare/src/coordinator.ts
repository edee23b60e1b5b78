// The object that numbers, keeps and sends: one for all channels. It has the first sockets itself, shards the others.

import { DurableObject } from "cloudflare:workers";

import { Answers } from "./answers";
import { Namespaces, nameFault } from "./channels";
import { CONFLICT, NOT_AVAILABLE, UNKNOWN_CHANNEL, type Command, type Refusal } from "./door";
import { shardName } from "./names";
import { Publishers, PUBLISHER } from "./publishers";
import { Sessions } from "./sessions";
import { readSettings, type Settings, type SharedSettings } from "./settings";
import type { Shard } from "./shard";
import { ARRIVAL_MS, ShardLink, type ShardStub } from "./shards";
import { NoRoom, Storage, type NewPublication, type Standing } from "./storage";
import type { Ask } from "./subscribing";
import { answerClose, type Payload, type Publication } from "./wire";

export interface CoordinatorEnv extends SharedSettings {
  SHARD: DurableObjectNamespace<Shard>;
}

/** Where a client's socket goes: to the coordinator itself, to a shard, or nowhere. */
export type Place = { shard: number } | "coordinator" | "full";

/** What became of a request of the door: the body of its answer. */
export type Outcome = { answer: string } | { refusal: Refusal };

export class Coordinator extends DurableObject<CoordinatorEnv> {
  readonly #settings: Settings;
  readonly #namespaces: Namespaces;
  readonly #store: Storage;
  readonly #answers: Answers;
  readonly #sessions: Sessions;
  readonly #publishers: Publishers;
  readonly #shards = new Map<number, ShardLink>();
  // Publications since the first shard, so that a shard notices when it was not told of some.
  #serial: number;
  #arriving: number[] = [];

  constructor(ctx: DurableObjectState, env: CoordinatorEnv) {
    super(ctx, env);
    this.#settings = readSettings(env);
    this.#namespaces = new Namespaces(env.NAMESPACES);
    this.#store = new Storage(ctx.storage, this.#settings);
    this.#answers = new Answers(ctx.storage.sql);
    this.#sessions = new Sessions({
      ctx,
      settings: this.#settings,
      namespaces: this.#namespaces,
      tokenKey: env.TOKEN_KEY || undefined,
      epoch: () => this.#store.epoch,
      stand: (asks) => this.#stand(asks),
      publish: (channel, payload, sender) => this.#publishOf(channel, payload, sender),
    });
    this.#publishers = new Publishers({
      ctx,
      settings: this.#settings,
      namespaces: this.#namespaces,
      storage: this.#store,
      publish: (updates, also) => this.#publish(updates, also),
    });
    this.#serial = this.#store.fact("serial") ?? 0;
    for (let number = 1; number <= (this.#store.fact("shards") ?? 0); number++) {
      this.#shards.set(number, this.#link(number));
    }
  }

  /** The sockets that the front hands over: `/ws` and `/publisher`. */
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/publisher") {
      return this.#publishers.accept(request);
    }
    this.#arriving.shift();
    return this.#sessions.accept(request);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (this.ctx.getTags(socket).includes(PUBLISHER)) {
      this.#publishers.onMessage(socket, message);
    } else {
      await this.#sessions.onMessage(socket, message);
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#sessions.onClose(socket);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket): void {
    this.#sessions.onClose(socket);
  }

  override async alarm(): Promise<void> {
    await this.#sessions.onAlarm();
  }

  // --- called by the front ---

  /** Say where the next client's socket goes. */
  async place(): Promise<Place> {
    const most = this.#settings.socketsPerShard;
    const now = Date.now();
    this.#arriving = this.#arriving.filter((until) => until > now);
    if (this.#sessions.count + this.#arriving.length < most) {
      this.#arriving.push(now + ARRIVAL_MS);
      return "coordinator";
    }
    let found = this.#free(most);
    if (found === undefined) {
      // Who left is known to the shards alone.
      await Promise.all([...this.#shards.values()].map((link) => link.refresh()));
      found = this.#free(most);
    }
    if (found === undefined) {
      const number = this.#shards.size + 1;
      if (number > this.#settings.maxShards) {
        return "full";
      }
      found = [number, this.#link(number)];
      found[1].sockets = 0;
      this.#shards.set(...found);
      this.#store.keepFact("shards", number);
    }
    const [shard, link] = found;
    link.place(now);
    return { shard };
  }

  #free(most: number): [number, ShardLink] | undefined {
    const now = Date.now();
    return [...this.#shards].find(([, link]) => link.hasRoom(most, now));
  }

  /** A socket that was sent to a shard is there, or was refused. */
  arrived(shard: number): void {
    this.#shards.get(shard)?.arrived();
  }

  /** Carry out a request of the door, or say what was answered to it before; `digest` is that of its body. */
  command({ api, channels, payload, idempotencyKey }: Command, digest: string): Outcome {
    const key = idempotencyKey === "" ? "" : `${api} ${idempotencyKey}`;
    const now = Date.now() / 1000;
    const before = key === "" ? null : this.#answers.find(key, digest, now);
    if (before === "conflict") {
      const message = "this idempotency key was used for another request body: take a new key, or send the same bytes";
      return { refusal: { status: 409, code: CONFLICT, message, path: "$.idempotency_key" } };
    }
    if (before !== null) {
      return before;
    }
    const strange = channels.findIndex((channel) => !this.#namespaces.isServed(channel));
    if (strange >= 0) {
      const path = api === "publish" ? "$.channel" : `$.channels[${strange}]`;
      const message = "unknown channel: no such namespace";
      return { refusal: { status: 404, code: UNKNOWN_CHANNEL, message, path } };
    }
    let answer = "";
    try {
      this.#publish(
        channels.map((channel) => ({ channel, payload })),
        (published) => {
          answer = this.#answer(api, published);
          if (key !== "") {
            this.#answers.keep(key, digest, answer, now);
          }
        },
      );
    } catch (error) {
      if (error instanceof NoRoom) {
        return { refusal: { status: 503, code: NOT_AVAILABLE, message: error.message } };
      }
      throw error;
    }
    return { answer };
  }

  #answer(api: string, published: readonly Publication[]): string {
    // Centrifugo's epochs are text.
    const results = published.map(({ sequence }) => ({ offset: sequence, epoch: this.#store.epoch }));
    const responses = results.map((result) => ({ result }));
    return JSON.stringify({ result: api === "publish" ? results[0] : { responses } });
  }

  /**
   * Send a text to all sessions but the one named by `except`, in no channel: it is not numbered, kept or recovered.
   *
   * A session's name is in the header `X-Session` of the answer to its opening request. Returns to how many.
   */
  async broadcast(payload: Payload, { except }: { except?: string } = {}): Promise<number> {
    const far = [...this.#shards.keys()].map((number) => this.#stub(number).broadcast(payload, except));
    const here = this.#sessions.broadcast(payload, except);
    const counts = await Promise.allSettled(far);
    return counts.reduce((sum, one) => sum + (one.status === "fulfilled" ? one.value : 0), here);
  }

  /** Who is here, for `/healthz`. */
  async facts(): Promise<{ sessions: number; publishers: number; shards: number }> {
    const publishers = this.ctx.getWebSockets(PUBLISHER).length;
    const counts = await Promise.allSettled([...this.#shards.keys()].map((number) => this.#stub(number).count()));
    const far = counts.reduce((sum, one) => sum + (one.status === "fulfilled" ? one.value : 0), 0);
    return { sessions: this.#sessions.count + far, publishers, shards: this.#shards.size };
  }

  // --- called by shards ---

  /** Say where channels stand for a session of a shard, which is told of publications from now on. */
  standFor(shard: number, asks: Ask[]): { epoch: string; standings: Standing[][] } {
    this.#shards.get(shard)?.touch();
    return { epoch: this.#store.epoch, standings: this.#stand(asks) };
  }

  /** Publish what a session of a shard sent; text is why it can't be. */
  publishFor(channel: string, payload: string, sender: string): string | null {
    const fault = nameFault(channel);
    return fault ?? this.#publishOf(channel, payload, sender);
  }

  // --- in common ---

  #stand(asks: readonly Ask[]): Standing[][] {
    return asks.map(({ name, positions }) => this.#store.stand(name, positions));
  }

  #publishOf(channel: string, payload: string, sender: string): string | null {
    try {
      this.#publish([{ channel, payload, sender }]);
      return null;
    } catch (error) {
      if (error instanceof NoRoom) {
        return error.message;
      }
      throw error;
    }
  }

  /** Number, keep and send publications; what is sent leaves when they are on the disk. */
  #publish(updates: readonly NewPublication[], also: (published: Publication[]) => void = () => {}): void {
    const first = this.#serial + 1;
    const published = this.#store.publish(updates, (ones) => {
      if (this.#shards.size > 0 && ones.length > 0) {
        this.#store.keepFact("serial", this.#serial + ones.length);
      }
      also(ones);
    });
    this.#serial += published.length;
    if (published.length === 0) {
      return;
    }
    for (const link of this.#shards.values()) {
      if (link.isActive) {
        link.push(first, published);
      }
    }
    this.#sessions.deliver(published);
  }

  #link(number: number): ShardLink {
    return new ShardLink(() => this.#stub(number), this.#store.epoch);
  }

  #stub(number: number): ShardStub {
    return this.env.SHARD.getByName(shardName(number)) as unknown as ShardStub;
  }
}
