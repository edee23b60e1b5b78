// Sockets of publishers: batches come in, what is durable is acknowledged, what is refused is said.

import { MAX_BATCH_BYTES, readBatch, type Batch, type Update } from "./batch";
import { INVALID, nameFault, TOO_BIG, type Fault, type Namespaces } from "./channels";
import { isJson } from "./json";
import type { Settings } from "./settings";
import { NoRoom, type NewPublication, type Storage } from "./storage";
import { byteLength, PUBLISHER_SUBPROTOCOL } from "./wire";

/** Tag of the publishers' sockets. */
export const PUBLISHER = "publisher";

const OLD_EPOCH = 4409;
const HOLE = 4410;
const TOO_MANY = 4429;
const INTERNAL_ERROR = 1011;
// Each is one program with the key; those that ended without a word count until the runtime notices.
const MOST_SOCKETS = 256;

export interface PublisherHost {
  ctx: DurableObjectState;
  settings: Settings;
  namespaces: Namespaces;
  storage: Storage;
  /** Number, keep and send publications, together with what `also` keeps. */
  publish: (updates: readonly NewPublication[], also: () => void) => void;
}

export class Publishers {
  readonly #host: PublisherHost;

  constructor(host: PublisherHost) {
    this.#host = host;
  }

  /** Take a publisher's socket, and tell it what is had of its name. The key was checked before. */
  accept(request: Request): Response {
    const name = new URL(request.url).searchParams.get("name") ?? "";
    const fault = nameFault(name);
    if (fault !== null) {
      return new Response(`name: ${fault.replace("channel names", "names of publishers")}\n`, { status: 400 });
    }
    if (this.#host.ctx.getWebSockets(PUBLISHER).length >= MOST_SOCKETS) {
      return new Response(`at most ${MOST_SOCKETS} publishers at once\n`, { status: 503 });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.#host.ctx.acceptWebSocket(server, [PUBLISHER]);
    server.serializeAttachment(name);
    server.send(JSON.stringify({ type: "PublisherWelcome", name, ...this.#host.storage.publisher(name) }));
    const offered = (request.headers.get("Sec-WebSocket-Protocol") ?? "").split(",").map((one) => one.trim());
    const isOffered = offered.includes(PUBLISHER_SUBPROTOCOL);
    const headers = new Headers(isOffered ? { "Sec-WebSocket-Protocol": PUBLISHER_SUBPROTOCOL } : {});
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  onMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    try {
      this.#onBatch(socket, message);
    } catch (error) {
      // Nothing of the batch was kept: it is sent again.
      console.error("a batch could not be published:", error);
      const isFull = error instanceof NoRoom;
      close(socket, isFull ? TOO_MANY : INTERNAL_ERROR, isFull ? error.message : "internal error");
    }
  }

  #onBatch(socket: WebSocket, message: string | ArrayBuffer): void {
    if (typeof message !== "string") {
      close(socket, INVALID, "a batch is text");
      return;
    }
    if (message.length > MAX_BATCH_BYTES || byteLength(message) > MAX_BATCH_BYTES) {
      close(socket, INVALID, `a batch has at most ${MAX_BATCH_BYTES} bytes`);
      return;
    }
    const batch = readBatch(message);
    if (typeof batch === "string") {
      close(socket, INVALID, batch);
      return;
    }
    const name = socket.deserializeAttachment() as string;
    const held = this.#host.storage.publisher(name);
    if (batch.epoch < held.epoch) {
      close(socket, OLD_EPOCH, `epoch ${batch.epoch} is older than ${held.epoch}, which is had of ${name}`);
      return;
    }
    const had = batch.epoch > held.epoch ? 0 : held.sequence;
    if (batch.first > had + 1) {
      close(socket, HOLE, `sequence ${batch.first} does not follow ${had}, which is had of ${name}`);
      return;
    }
    this.#publish(socket, name, batch, had);
  }

  /** Publish what is new of a batch, and say what is had. */
  #publish(socket: WebSocket, name: string, batch: Batch, had: number): void {
    const last = batch.first + batch.updates.length - 1;
    const { epoch } = batch;
    if (last > had) {
      const accepted: NewPublication[] = [];
      const rejected: [number, Update, Fault][] = [];
      const room = this.#host.storage.room();
      for (let sequence = had + 1; sequence <= last; sequence++) {
        const update = batch.updates[sequence - batch.first] as Update;
        const fault = this.#fault(update, room);
        if (fault === null) {
          accepted.push(update);
        } else {
          rejected.push([sequence, update, fault]);
        }
      }
      this.#host.publish(accepted, () => this.#host.storage.keepPublisher(name, epoch, last));
      for (const [sequence, { channel }, [code, reason]] of rejected) {
        send(socket, { type: "PublicationRejected", epoch, sequence, channel, code, reason });
      }
      if (rejected.length > 0) {
        const [, , first] = rejected[0] ?? [];
        console.warn(`${rejected.length} updates of publisher ${name} refused, the first: ${first?.join(" ")}`);
      }
    }
    // It leaves when the transaction is on the disk, as everything that an object sends.
    send(socket, { type: "PublisherAcknowledged", epoch, sequence: Math.max(last, had) });
  }

  #fault({ channel, payload }: Update, room: (channel: string) => boolean): Fault | null {
    const fault = this.#host.namespaces.channelFault(channel);
    if (fault !== null) {
      return fault;
    }
    const { maxPayload, maxChannels } = this.#host.settings;
    if (payload.length > maxPayload || byteLength(payload) > maxPayload) {
      return [TOO_BIG, `a payload has at most ${maxPayload} bytes (MAX_PAYLOAD)`];
    }
    if (!isJson(payload)) {
      return [INVALID, "the payload is no JSON"];
    }
    return room(channel) ? null : [TOO_BIG, `at most ${maxChannels} channels are kept (MAX_CHANNELS)`];
  }
}

function send(socket: WebSocket, message: object): void {
  try {
    socket.send(JSON.stringify(message));
  } catch {
    // It has ended: what is had is told to its next connection.
  }
}

function close(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason.slice(0, 100));
  } catch {
    // It has ended already.
  }
}
