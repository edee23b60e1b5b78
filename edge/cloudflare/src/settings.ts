// Variables of the Workers, all of them text; bounds of what is held are numbers.

export interface SharedSettings {
  /** Served namespaces, separated by blanks or commas; empty serves any. */
  NAMESPACES?: string;
  /** Publications kept for each channel, for who comes back: at least this many, at most twice as many. */
  HISTORY?: string;
  /** Bytes of them for each channel. */
  HISTORY_BYTES?: string;
  /** Channels that are numbered and kept. */
  MAX_CHANNELS?: string;
  /** Bytes of one payload. */
  MAX_PAYLOAD?: string;
  /** Bytes of one message of a client. */
  MAX_MESSAGE?: string;
  /** Names and patterns that one session may be subscribed to. */
  MAX_SUBSCRIPTIONS?: string;
  /** Bytes that wait for a session whose socket takes none, before it is closed with 4008. */
  MAX_LAG?: string;
  /** Sockets of one object; further ones go to shards. */
  SOCKETS_PER_SHARD?: string;
  MAX_SHARDS?: string;
  /** Seconds in which a session says who it is, where that is asked for. */
  AUTHENTICATE_TIMEOUT?: string;
  /** Seconds by which the clock of who issues tokens may differ. */
  LEEWAY?: string;
  /** Commands of one session in a second, twice as many at once. */
  COMMANDS_PER_SECOND?: string;
  /** What tokens of clients are signed with (HS256), a secret of at least 32 bytes. Unset: nobody is asked for one. */
  TOKEN_KEY?: string;
}

export interface Settings {
  history: number;
  historyBytes: number;
  maxChannels: number;
  maxPayload: number;
  maxMessage: number;
  maxSubscriptions: number;
  maxLag: number;
  socketsPerShard: number;
  maxShards: number;
  authenticateTimeout: number;
  leeway: number;
  commandsPerSecond: number;
}

/** Read the settings; a wrong one throws, so that a deployment with it answers nobody. */
export function readSettings(env: SharedSettings): Settings {
  return {
    history: integer("HISTORY", env.HISTORY, 100, 1, 10_000),
    historyBytes: integer("HISTORY_BYTES", env.HISTORY_BYTES, 256 * 1024, 1, 16 * 1024 * 1024),
    maxChannels: integer("MAX_CHANNELS", env.MAX_CHANNELS, 20_000, 1, 200_000),
    // A row of SQLite has at most 2 MB.
    maxPayload: integer("MAX_PAYLOAD", env.MAX_PAYLOAD, 64 * 1024, 1, 1024 * 1024),
    maxMessage: integer("MAX_MESSAGE", env.MAX_MESSAGE, 1024 * 1024, 128, 16 * 1024 * 1024),
    maxSubscriptions: integer("MAX_SUBSCRIPTIONS", env.MAX_SUBSCRIPTIONS, 1024, 1, 1024),
    maxLag: integer("MAX_LAG", env.MAX_LAG, 4 * 1024 * 1024, 1024, 32 * 1024 * 1024),
    // An object takes 32 768 hibernating sockets, those of publishers included.
    socketsPerShard: integer("SOCKETS_PER_SHARD", env.SOCKETS_PER_SHARD, 2000, 1, 30_000),
    maxShards: integer("MAX_SHARDS", env.MAX_SHARDS, 32, 0, 1000),
    authenticateTimeout: integer("AUTHENTICATE_TIMEOUT", env.AUTHENTICATE_TIMEOUT, 10, 1, 300),
    leeway: integer("LEEWAY", env.LEEWAY, 5, 0, 300),
    commandsPerSecond: integer("COMMANDS_PER_SECOND", env.COMMANDS_PER_SECOND, 1000, 1, 100_000),
  };
}

function integer(
  name: string,
  text: string | null | undefined,
  otherwise: number,
  least: number,
  most: number,
): number {
  // Bare workerd has null for a variable that its environment lacks.
  if (text === undefined || text === null || text === "") {
    return otherwise;
  }
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < least || value > most) {
    throw new RangeError(`${name}=${JSON.stringify(text)}: a whole number from ${least} to ${most} is needed`);
  }
  return value;
}
