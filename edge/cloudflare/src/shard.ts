// An object that has sockets beyond those of the coordinator, and asks that one for everything else.

import { DurableObject } from "cloudflare:workers";

import { Namespaces } from "./channels";
import type { Coordinator } from "./coordinator";
import { COORDINATOR_NAME, SHARD_HEADER } from "./names";
import { Sessions } from "./sessions";
import { readSettings, type SharedSettings } from "./settings";
import type { Parcel } from "./shards";
import type { Standing } from "./storage";
import type { Ask } from "./subscribing";
import { answerClose, type Payload } from "./wire";

export interface ShardEnv extends SharedSettings {
  COORDINATOR: DurableObjectNamespace<Coordinator>;
}

const SERVICE_RESTART = 1012;

export class Shard extends DurableObject<ShardEnv> {
  readonly #sessions: Sessions;
  #number: number | null = null;
  #epoch: string | null = null;
  // Number of the last publication it was told of; null before the first since it woke.
  #had: number | null = null;

  constructor(ctx: DurableObjectState, env: ShardEnv) {
    super(ctx, env);
    this.#number = ctx.storage.kv.get<number>("number") ?? null;
    this.#epoch = ctx.storage.kv.get<string>("epoch") ?? null;
    this.#sessions = new Sessions({
      ctx,
      settings: readSettings(env),
      namespaces: new Namespaces(env.NAMESPACES),
      tokenKey: env.TOKEN_KEY || undefined,
      epoch: () => this.#epoch ?? "0",
      stand: (asks) => this.#stand(asks),
      publish: (channel, payload, sender) => this.#coordinator().publishFor(channel, payload, sender),
    });
  }

  override async fetch(request: Request): Promise<Response> {
    if (this.#number === null) {
      this.#number = Number(request.headers.get(SHARD_HEADER));
      this.ctx.storage.kv.put("number", this.#number);
    }
    return this.#sessions.accept(request);
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    await this.#sessions.onMessage(socket, message);
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

  // --- called by the coordinator ---

  /** Send publications to the sessions that get them; returns how many sessions there are. */
  deliver({ epoch, first, publications, isBroken }: Parcel): number {
    this.#begin(epoch);
    const known = this.#had ?? first - 1;
    if (isBroken || first > known + 1) {
      // What they missed can't be told apart: they come back, and recover by their positions.
      this.#sessions.closeAll(SERVICE_RESTART, "the shard has missed publications: connect anew");
    }
    // A call that failed on its way back is repeated.
    this.#sessions.deliver(publications.slice(Math.max(0, known + 1 - first)));
    this.#had = Math.max(known, first + publications.length - 1);
    return this.#sessions.count;
  }

  broadcast(payload: Payload, except?: string): number {
    return this.#sessions.broadcast(payload, except);
  }

  count(): number {
    return this.#sessions.count;
  }

  async #stand(asks: Ask[]): Promise<Standing[][]> {
    const { epoch, standings } = await this.#coordinator().standFor(this.#number ?? 0, asks);
    this.#begin(epoch);
    return standings;
  }

  #begin(epoch: string): void {
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.ctx.storage.kv.put("epoch", epoch);
    }
  }

  #coordinator(): CoordinatorStub {
    return this.env.COORDINATOR.getByName(COORDINATOR_NAME) as unknown as CoordinatorStub;
  }
}

/** What a shard asks of the coordinator. */
interface CoordinatorStub {
  standFor(shard: number, asks: Ask[]): Promise<{ epoch: string; standings: Standing[][] }>;
  publishFor(channel: string, payload: string, sender: string): Promise<string | null>;
}
