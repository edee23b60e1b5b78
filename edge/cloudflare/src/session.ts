// One client, and what it says.

import type { Kept } from "./attachments";
import type { AccountUpdate, Authenticate, Ping, PriceUpdate, Subscribe, Unsubscribe } from "./messages";
import type { CommandRate } from "./rates";
import type { Identity } from "./tokens";
import { byteLength, type Payload, type Publication } from "./wire";

/** What a session waits for: publications that came while its subscription was looked up elsewhere. */
export interface Held {
  publications: Publication[];
  bytes: number;
}

export class Session {
  readonly socket: WebSocket;
  readonly id: string;
  readonly isSequenced: boolean;
  readonly hasEcho: boolean;
  readonly rate: CommandRate;
  readonly channels: Set<string>;
  readonly skipped: Map<string, number>;
  identity: Identity | null;
  deadline: number | null;
  /** Null where publications go to the socket at once. */
  held: Held | null = null;
  /** What is being done for it, where that takes time: its messages are handled in order. */
  busy: Promise<void> | null = null;
  /** Messages, by their characters, that wait for that. */
  waiting = 0;
  isOpen = true;

  constructor(socket: WebSocket, kept: Kept, rate: CommandRate) {
    this.socket = socket;
    this.id = kept.id;
    this.isSequenced = kept.isSequenced;
    this.hasEcho = kept.hasEcho;
    this.identity = kept.identity;
    this.deadline = kept.deadline;
    this.channels = new Set(kept.channels);
    this.skipped = new Map(kept.skipped);
    this.rate = rate;
  }

  get kept(): Kept {
    const { id, isSequenced, hasEcho, identity, deadline } = this;
    return { id, isSequenced, hasEcho, identity, deadline, channels: [...this.channels], skipped: [...this.skipped] };
  }

  /** Send something; a socket that has ended takes nothing, and that is nobody's fault. */
  send(payload: Payload): void {
    if (!this.isOpen) {
      return;
    }
    try {
      this.socket.send(payload);
    } catch {
      // Its end is told to the object by itself.
      this.isOpen = false;
    }
  }

  close(code: number, reason: string): void {
    if (!this.isOpen) {
      return;
    }
    this.isOpen = false;
    try {
      // A close frame has 123 bytes of it.
      this.socket.close(code, shortened(reason, 123));
    } catch {
      // It has ended already.
    }
  }
}

function shortened(text: string, bytes: number): string {
  const characters = [...text];
  while (byteLength(characters.join("")) > bytes) {
    characters.pop();
  }
  return characters.join("");
}

export type ClientMessage = Subscribe | Unsubscribe | Ping | Authenticate | PriceUpdate | AccountUpdate;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Read what a client said, as text; null if it is no UTF-8. */
export function textOf(message: string | ArrayBuffer): string | null {
  if (typeof message === "string") {
    return message;
  }
  try {
    return decoder.decode(message);
  } catch {
    return null;
  }
}

/** Read a message of a client; null if it is none of these, or malformed. */
export function readMessage(text: string): ClientMessage | null {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof read !== "object" || read === null) {
    return null;
  }
  const fields = read as Record<string, unknown>;
  switch (fields["type"]) {
    case "Subscribe":
    case "subscribe": {
      const { channels, positions = [], slow = "" } = fields;
      const isRight = isTexts(channels) && isTexts(positions) && typeof slow === "string";
      return isRight ? { type: "Subscribe", channels, positions, slow } : null;
    }
    case "Unsubscribe":
    case "unsubscribe": {
      const { channels } = fields;
      return isTexts(channels) ? { type: "Unsubscribe", channels } : null;
    }
    case "Authenticate":
    case "authenticate": {
      const { token } = fields;
      return typeof token === "string" ? { type: "Authenticate", token } : null;
    }
    case "Ping":
    case "ping":
      return { type: "Ping" };
    case "PriceUpdate":
    case "price_update":
      return isPriceUpdate(fields) ? fields : null;
    case "AccountUpdate":
    case "account_update":
      return isAccountUpdate(fields) ? fields : null;
    default:
      return null;
  }
}

/** The channel that an update of a client stands in. */
export function channelOf(update: PriceUpdate | AccountUpdate): string {
  return "pubkey" in update ? `accounts:${update.pubkey}` : `prices:${update.input_mint}-${update.output_mint}`;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function isPriceUpdate(fields: object): fields is PriceUpdate {
  const { input_mint, output_mint, price, volume = 0, timestamp } = fields as Partial<Record<string, unknown>>;
  const areTexts = typeof input_mint === "string" && typeof output_mint === "string";
  return areTexts && typeof price === "number" && isInteger(volume) && isInteger(timestamp);
}

function isAccountUpdate(fields: object): fields is AccountUpdate {
  const { pubkey, lamports, slot, timestamp } = fields as Partial<Record<string, unknown>>;
  return typeof pubkey === "string" && isInteger(lamports) && isInteger(slot) && isInteger(timestamp);
}

// Rounded beyond 2**53, but whole all the same: what is passed on is the text.
function isInteger(value: unknown): value is number {
  return Number.isInteger(value);
}
