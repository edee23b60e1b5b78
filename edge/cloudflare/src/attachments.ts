// What is kept with a socket while its object sleeps: with the socket itself, or on the disk where that has no room.

import type { Identity } from "./tokens";

/** What a session is, as far as it outlives its object's memory. */
export interface Kept {
  id: string;
  /** Whether it speaks our subprotocol: it gets answers, and positions in front of publications. */
  isSequenced: boolean;
  /** Whether it gets what it published itself. */
  hasEcho: boolean;
  /** Null where nobody is asked, or it has not said yet. */
  identity: Identity | null;
  /** Seconds since 1970 at which it is closed: for want of an identity, or with the identity. */
  deadline: number | null;
  channels: string[];
  /** Channels whose latest publications were its own and did not come back, each with the number before those. */
  skipped: [channel: string, previous: number][];
}

// The runtime keeps 16 384 bytes; its form has a few bytes more than JSON, and two a character beyond Latin-1.
const MOST_CHARACTERS = 7000;

type Attachment = { kept: string } | { id: string };

export class Attachments {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.#sql.exec("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, kept TEXT NOT NULL) WITHOUT ROWID");
  }

  keep(socket: WebSocket, kept: Kept): void {
    const text = JSON.stringify(kept);
    if (text.length <= MOST_CHARACTERS) {
      socket.serializeAttachment({ kept: text } satisfies Attachment);
      return;
    }
    this.#sql.exec("INSERT OR REPLACE INTO sessions VALUES (?, ?)", kept.id, text);
    socket.serializeAttachment({ id: kept.id } satisfies Attachment);
  }

  /** What was kept; null if there is nothing, as of a socket that was accepted by somebody else. */
  of(socket: WebSocket): Kept | null {
    const attachment = socket.deserializeAttachment() as Attachment | null;
    if (attachment === null) {
      return null;
    }
    if ("kept" in attachment) {
      return JSON.parse(attachment.kept) as Kept;
    }
    const query = "SELECT kept FROM sessions WHERE id = ?";
    const [row] = this.#sql.exec<{ kept: string }>(query, attachment.id).toArray();
    return row ? (JSON.parse(row.kept) as Kept) : null;
  }

  forget(id: string): void {
    this.#sql.exec("DELETE FROM sessions WHERE id = ?", id);
  }

  /** Forget all but these: their sockets ended while nobody was told. */
  forgetOthers(ids: ReadonlySet<string>): void {
    for (const { id } of this.#sql.exec<{ id: string }>("SELECT id FROM sessions").toArray()) {
      if (!ids.has(id)) {
        this.forget(id);
      }
    }
  }
}
