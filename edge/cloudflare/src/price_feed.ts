// The public edge: checks who comes, and hands the socket or the request on. It keeps nothing.

import type { Coordinator, Outcome, Place } from "./coordinator";
import {
  answered,
  BAD_REQUEST,
  INTERNAL,
  NOT_AVAILABLE,
  NOT_FOUND,
  readBody,
  readCommand,
  refused,
  UNAUTHORIZED,
  type Api,
  type Command,
  type Refusal,
} from "./door";
import { isSame, keyFault, presentedKeys } from "./keys";
import { COORDINATOR_NAME, IDENTITY_HEADER, SHARD_HEADER, shardName } from "./names";
import { isOriginAllowed } from "./origins";
import { readSettings, type Settings, type SharedSettings } from "./settings";
import type { Shard } from "./shard";
import { identityOf, Unauthorized } from "./tokens";
import { PUBLISHER_SUBPROTOCOL } from "./wire";

export interface PriceFeedEnv extends SharedSettings {
  COORDINATOR: DurableObjectNamespace<Coordinator>;
  SHARD: DurableObjectNamespace<Shard>;
  /** What publishers present in `X-API-Key`: a secret of at least 16 characters. Unset: nobody can publish. */
  PUBLISH_KEY?: string;
  /** Origins of web pages that may connect, separated by blanks or commas; empty lets any in. */
  ALLOWED_ORIGINS?: string;
}

/** What is asked of the coordinator by call. */
interface CoordinatorStub {
  place(): Promise<Place>;
  arrived(shard: number): Promise<void>;
  command(command: Command, digest: string): Promise<Outcome>;
  facts(): Promise<object>;
}

export default {
  async fetch(request, env, ctx): Promise<Response> {
    try {
      return await answer(request, env, ctx);
    } catch (error) {
      console.error("a request could not be answered:", error);
      return refused({ status: 500, code: INTERNAL, message: "internal server error" });
    }
  },
} satisfies ExportedHandler<PriceFeedEnv>;

async function answer(request: Request, env: PriceFeedEnv, ctx: ExecutionContext): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case "/ws":
      return client(request, env, ctx);
    case "/publisher":
      return publisher(request, env);
    case "/api/publish":
      return command("publish", request, env);
    case "/api/broadcast":
      return command("broadcast", request, env);
    case "/healthz":
      return health(request, env);
    default:
      return refused({ status: 404, code: NOT_FOUND, message: "not found" });
  }
}

function object(env: PriceFeedEnv): DurableObjectStub<Coordinator> {
  return env.COORDINATOR.getByName(COORDINATOR_NAME);
}

function calls(env: PriceFeedEnv): CoordinatorStub {
  return object(env) as unknown as CoordinatorStub;
}

function isUpgrade(request: Request): boolean {
  return request.method === "GET" && request.headers.get("Upgrade")?.toLowerCase() === "websocket";
}

function upgradeRequired(): Response {
  const headers = { Upgrade: "websocket", "Content-Type": "text/plain" };
  return new Response("this is a WebSocket endpoint\n", { status: 426, headers });
}

function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(`${text}\n`, { status, headers: { "Content-Type": "text/plain", ...headers } });
}

/** A client's socket, to the coordinator or a shard. */
async function client(request: Request, env: PriceFeedEnv, ctx: ExecutionContext): Promise<Response> {
  if (!isUpgrade(request)) {
    return upgradeRequired();
  }
  const origin = request.headers.get("Origin");
  if (!isOriginAllowed(origin, env.ALLOWED_ORIGINS)) {
    return plain(403, "this origin may not connect");
  }
  const headers = new Headers(request.headers);
  // What only this Worker may say.
  headers.delete(IDENTITY_HEADER);
  headers.delete(SHARD_HEADER);
  headers.delete("Authorization");
  const said = request.headers.get("Authorization");
  if (env.TOKEN_KEY && said !== null) {
    try {
      const settings = readSettings(env);
      const identity = await identityOf(bearer(said), env.TOKEN_KEY, Date.now() / 1000, settings.leeway);
      // As ASCII: a header holds it.
      headers.set(IDENTITY_HEADER, encodeURIComponent(JSON.stringify(identity)));
    } catch (error) {
      if (error instanceof Unauthorized) {
        return plain(401, error.message, { "WWW-Authenticate": "Bearer" });
      }
      throw error;
    }
  }
  const place = await calls(env).place();
  if (place === "full") {
    return plain(503, "all shards are full", { "Retry-After": "10" });
  }
  if (place === "coordinator") {
    return object(env).fetch(new Request(request, { headers }));
  }
  headers.set(SHARD_HEADER, String(place.shard));
  try {
    return await env.SHARD.getByName(shardName(place.shard)).fetch(new Request(request, { headers }));
  } finally {
    ctx.waitUntil(calls(env).arrived(place.shard));
  }
}

function bearer(line: string): string {
  const [scheme, ...rest] = line.split(" ");
  const token = scheme?.toLowerCase() === "bearer" ? rest.join(" ").trim() : "";
  if (token === "") {
    throw new Unauthorized("no token");
  }
  return token;
}

/** Why a request may not publish; null if it may. */
async function keyRefusal(request: Request, env: PriceFeedEnv): Promise<Refusal | null> {
  const fault = keyFault(env.PUBLISH_KEY);
  if (fault !== null) {
    return { status: 503, code: NOT_AVAILABLE, message: fault };
  }
  let isRight = false;
  for (const presented of presentedKeys(request.headers)) {
    isRight = (await isSame(presented, env.PUBLISH_KEY ?? "")) || isRight;
  }
  return isRight ? null : { status: 401, code: UNAUTHORIZED, message: "the header X-API-Key is missing or wrong" };
}

/** A publisher's socket, to the coordinator. */
async function publisher(request: Request, env: PriceFeedEnv): Promise<Response> {
  const refusal = await keyRefusal(request, env);
  if (refusal !== null) {
    return refused(refusal);
  }
  if (!isUpgrade(request)) {
    return upgradeRequired();
  }
  const offered = (request.headers.get("Sec-WebSocket-Protocol") ?? "").split(",").map((one) => one.trim());
  if (!offered.includes(PUBLISHER_SUBPROTOCOL)) {
    return plain(400, `publishers speak the subprotocol ${PUBLISHER_SUBPROTOCOL}`);
  }
  const headers = new Headers(request.headers);
  headers.delete("X-API-Key");
  headers.delete("Authorization");
  return object(env).fetch(new Request(request, { headers }));
}

async function command(api: Api, request: Request, env: PriceFeedEnv): Promise<Response> {
  if (request.method !== "POST") {
    return refused({ status: 405, code: BAD_REQUEST, message: "method not allowed" }, { Allow: "POST" });
  }
  const refusal = await keyRefusal(request, env);
  if (refusal !== null) {
    return refused(refusal);
  }
  const settings: Settings = readSettings(env);
  const body = await readBody(request, settings.maxMessage);
  if ("refusal" in body) {
    return refused(body.refusal);
  }
  const read = readCommand(api, body.text, settings.maxPayload);
  if ("refusal" in read) {
    return refused(read.refusal);
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(body.text));
  const outcome = await calls(env).command(read.command, btoa(String.fromCharCode(...new Uint8Array(digest))));
  return "refusal" in outcome ? refused(outcome.refusal) : answered(outcome.answer);
}

/** Whether the coordinator answers; how many are there is for who has the key. */
async function health(request: Request, env: PriceFeedEnv): Promise<Response> {
  if (request.method !== "GET") {
    return refused({ status: 405, code: BAD_REQUEST, message: "method not allowed" }, { Allow: "GET" });
  }
  const facts = await calls(env).facts();
  const isKnown = (await keyRefusal(request, env)) === null;
  return answered(JSON.stringify({ status: "ok", ...(isKnown ? facts : {}) }));
}
