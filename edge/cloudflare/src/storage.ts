// What an object keeps in SQLite: numbers and the latest publications of channels, and what publishers have sent.

import type { Position, Publication } from "./wire";
import { byteLength, type Payload } from "./wire";
import type { Settings } from "./settings";

export interface NewPublication {
  channel: string;
  payload: Payload;
  sender?: string;
}

/** Where a channel stands, for one subscriber. */
export interface Standing {
  channel: string;
  /** Of the latest publication; 0 if there was none. */
  sequence: number;
  /** All that is behind what the subscriber has; null if that can't be told, or is too much. */
  missing: Publication[] | null;
  latest: Publication | null;
}

export interface PublisherPosition {
  epoch: number;
  sequence: number;
}

/** There is no room for another channel, or another publisher. */
export class NoRoom extends Error {
  override name = "NoRoom";
}

interface ChannelState {
  sequence: number;
  /** Bytes of its history. */
  bytes: number;
}

type Row = { first: number; last: number; payload: string | ArrayBuffer };

// Positions that one pattern is answered with.
const MOST_MATCHES = 2048;
const MOST_PUBLISHERS = 1000;
// Names hold no character that is not assigned, as this one never will be.
const BEHIND_ALL = "\u{10ffff}";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS publishers (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS history (channel TEXT NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
    payload NOT NULL, PRIMARY KEY (channel, last)) WITHOUT ROWID;
`;

/**
 * The publications of all channels.
 *
 * A row of the history is what one batch brought to one channel, one payload a line, or a single payload as it is. The
 * last row of a channel is never removed: it has the channel's number and its last value.
 */
export class Storage {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  readonly #settings: Settings;
  // Channels looked at since the object woke.
  readonly #channels = new Map<string, ChannelState>();
  #count: number;
  /** Number of this storage's life: positions of another one mean nothing here. */
  readonly epoch: string;

  constructor(storage: DurableObjectStorage, settings: Settings) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#settings = settings;
    this.#sql.exec(SCHEMA);
    let epoch = this.fact("epoch");
    if (epoch === null) {
      const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
      epoch = (high & 0xfffff) * 2 ** 32 + low + 1;
      this.keepFact("epoch", epoch);
    }
    this.epoch = String(epoch);
    this.#count = this.fact("channels") ?? 0;
  }

  fact(name: string): number | null {
    const [row] = this.#sql.exec<{ value: number }>("SELECT value FROM facts WHERE name = ?", name).toArray();
    return row?.value ?? null;
  }

  keepFact(name: string, value: number): void {
    this.#sql.exec("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value);
  }

  publisher(name: string): PublisherPosition {
    const query = "SELECT epoch, sequence FROM publishers WHERE name = ?";
    const [row] = this.#sql.exec<{ epoch: number; sequence: number }>(query, name).toArray();
    return row ?? { epoch: 0, sequence: 0 };
  }

  /** Remember what a publisher has sent. To be called inside `publish`. */
  keepPublisher(name: string, epoch: number, sequence: number): void {
    // Rows that are read cost something: they are counted for a new name alone, not for each batch.
    if (this.publisher(name).epoch === 0) {
      const { count } = this.#sql.exec<{ count: number }>("SELECT count(*) AS count FROM publishers").one();
      if (count >= MOST_PUBLISHERS) {
        throw new NoRoom(`there are ${MOST_PUBLISHERS} names of publishers already`);
      }
    }
    this.#sql.exec("INSERT OR REPLACE INTO publishers VALUES (?, ?, ?)", name, epoch, sequence);
  }

  /** Return what tells whether channels can be published to, one by one: each new one it is asked for takes a place. */
  room(): (channel: string) => boolean {
    const taken = new Set<string>();
    return (channel) => {
      if (taken.has(channel) || this.#state(channel).sequence > 0) {
        return true;
      }
      const isFree = this.#count + taken.size < this.#settings.maxChannels;
      return isFree && taken.add(channel).has(channel);
    };
  }

  /**
   * Number publications and keep them, all or none, together with what `also` keeps.
   *
   * What is sent afterwards, by socket, response or call, leaves only when all of it is on the disk.
   */
  publish(updates: readonly NewPublication[], also: (published: Publication[]) => void = () => {}): Publication[] {
    const changed = new Map<string, ChannelState>();
    const published: Publication[] = [];
    let count = this.#count;
    this.#storage.transactionSync(() => {
      const byChannel = new Map<string, Publication[]>();
      for (const update of updates) {
        let state = changed.get(update.channel);
        if (state === undefined) {
          state = { ...this.#state(update.channel) };
          count += state.sequence === 0 ? 1 : 0;
          changed.set(update.channel, state);
          byChannel.set(update.channel, []);
        }
        state.sequence += 1;
        const one = { ...update, sequence: state.sequence };
        published.push(one);
        byChannel.get(update.channel)?.push(one);
      }
      if (count > this.#settings.maxChannels && count > this.#count) {
        throw new NoRoom(`at most ${this.#settings.maxChannels} channels are kept (MAX_CHANNELS)`);
      }
      for (const [channel, ones] of byChannel) {
        this.#keep(channel, ones, changed.get(channel) as ChannelState);
      }
      if (count !== this.#count) {
        this.keepFact("channels", count);
      }
      also(published);
    });
    for (const [channel, state] of changed) {
      this.#channels.set(channel, state);
    }
    this.#count = count;
    return published;
  }

  #keep(channel: string, publications: Publication[], state: ChannelState): void {
    const before = state.sequence - publications.length;
    let lines: Publication[] = [];
    const write = (): void => {
      const [first] = lines;
      const last = lines[lines.length - 1];
      if (first !== undefined && last !== undefined) {
        const payload = lines.length === 1 ? first.payload : lines.map((one) => one.payload).join("\n");
        this.#sql.exec("INSERT INTO history VALUES (?, ?, ?, ?)", channel, last.sequence, first.sequence, payload);
        state.bytes += byteLength(payload);
      }
      lines = [];
    };
    for (const one of publications) {
      if (typeof one.payload !== "string" || one.payload.includes("\n")) {
        write();
        lines = [one];
        write();
      } else {
        lines.push(one);
      }
    }
    write();
    const { history, historyBytes } = this.#settings;
    const isPage = Math.floor(before / history) !== Math.floor(state.sequence / history);
    if (state.bytes > historyBytes || (isPage && before > 0)) {
      this.#trim(channel, state);
    }
  }

  /** Remove what is too old or too much; half of the bytes stay, so that this is not done each time. */
  #trim(channel: string, state: ChannelState): void {
    const query = "SELECT last, octet_length(payload) AS bytes FROM history WHERE channel = ? ORDER BY last DESC";
    const least = state.sequence - this.#settings.history;
    const most = state.bytes > this.#settings.historyBytes ? this.#settings.historyBytes / 2 : Infinity;
    let kept = 0;
    let oldest = state.sequence;
    for (const row of this.#sql.exec<{ last: number; bytes: number }>(query, channel)) {
      if (kept > 0 && (row.last <= least || kept + row.bytes > most)) {
        break;
      }
      kept += row.bytes;
      oldest = row.last;
    }
    this.#sql.exec("DELETE FROM history WHERE channel = ? AND last < ?", channel, oldest);
    state.bytes = kept;
  }

  #state(channel: string): ChannelState {
    let state = this.#channels.get(channel);
    if (state === undefined) {
      const query = "SELECT max(last) AS sequence, sum(octet_length(payload)) AS bytes FROM history WHERE channel = ?";
      const row = this.#sql.exec<{ sequence: number | null; bytes: number | null }>(query, channel).one();
      state = { sequence: row.sequence ?? 0, bytes: row.bytes ?? 0 };
      if (state.sequence > 0) {
        this.#channels.set(channel, state);
      }
    }
    return state;
  }

  /** The channels that a name or pattern means, and where each stands for who has these positions of them. */
  stand(name: string, positions: readonly Position[]): Standing[] {
    const given = new Map(positions.map((position) => [position.channel, position]));
    if (!name.endsWith("*")) {
      return [this.#standing(name, this.#state(name).sequence, given.get(name))];
    }
    const prefix = name.slice(0, -1);
    const query = `SELECT channel, max(last) AS sequence FROM history WHERE channel >= ? AND channel < ?
      GROUP BY channel LIMIT ${MOST_MATCHES}`;
    const rows = this.#sql.exec<{ channel: string; sequence: number }>(query, prefix, prefix + BEHIND_ALL).toArray();
    return rows.map(({ channel, sequence }) => {
      // One that they don't name came to be while they were away, or was quiet until then.
      const new_ = given.size > 0 ? { channel, epoch: this.epoch, sequence: 0n } : undefined;
      return this.#standing(channel, sequence, given.get(channel) ?? new_);
    });
  }

  #standing(channel: string, sequence: number, position: Position | undefined): Standing {
    let missing: Publication[] | null = null;
    if (position !== undefined && position.epoch === this.epoch && position.sequence <= BigInt(sequence)) {
      missing = this.#behind(channel, Number(position.sequence), sequence);
    }
    const query = "SELECT first, last, payload FROM history WHERE channel = ? ORDER BY last DESC LIMIT 1";
    const [row] = missing === null ? this.#sql.exec<Row>(query, channel).toArray() : [];
    return { channel, sequence, missing, latest: row ? (publications(channel, row).at(-1) ?? null) : null };
  }

  #behind(channel: string, had: number, sequence: number): Publication[] | null {
    const query = "SELECT first, last, payload FROM history WHERE channel = ? AND last > ? ORDER BY last";
    const missing: Publication[] = [];
    let bytes = 0;
    if (had < sequence) {
      for (const row of this.#sql.exec<Row>(query, channel, had)) {
        const behind = publications(channel, row).filter((one) => one.sequence > had);
        bytes += behind.reduce((sum, one) => sum + byteLength(one.payload), 0);
        // One always fits, whatever its size.
        if (bytes > this.#settings.maxLag && missing.length + behind.length > 1) {
          return null;
        }
        missing.push(...behind);
      }
    }
    return missing.length === sequence - had ? missing : null;
  }
}

function publications(channel: string, row: Row): Publication[] {
  if (typeof row.payload !== "string") {
    return [{ channel, sequence: row.last, payload: new Uint8Array(row.payload) }];
  }
  if (row.first === row.last) {
    return [{ channel, sequence: row.last, payload: row.payload }];
  }
  return row.payload.split("\n").map((payload, place) => ({ channel, sequence: row.first + place, payload }));
}
