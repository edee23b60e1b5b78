/** The price of one token in another. */
export interface PriceUpdate {
  type: "PriceUpdate";
  /** Token that is sold, as base58 address or symbol. */
  input_mint: string;
  /** Token that is bought. */
  output_mint: string;
  /** Units of the output token for one of the input token. */
  price: number;
  /**
   * Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know.
   * JSON.parse rounds integers beyond 2**53 - 1.
   */
  volume?: number;
  /**
   * Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.
   * JSON.parse rounds integers beyond 2**53 - 1.
   */
  timestamp: number;
}

/** The state of an account at a slot. */
export interface AccountUpdate {
  type: "AccountUpdate";
  /** Address of the account, base58. */
  pubkey: string;
  /**
   * Balance in lamports, 0 to 2**64 - 1.
   * JSON.parse rounds integers beyond 2**53 - 1.
   */
  lamports: number;
  /**
   * Slot in which the account was written, 0 to 2**64 - 1.
   * JSON.parse rounds integers beyond 2**53 - 1.
   */
  slot: number;
  /**
   * Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.
   * JSON.parse rounds integers beyond 2**53 - 1.
   */
  timestamp: number;
}

/** A client wants what is published on these channels. */
export interface Subscribe {
  type: "Subscribe";
  /** Names of channels, such as `prices:SOL-USDC`, or patterns: `prices:*` is all that begin with `prices:`. */
  channels: string[];
  /** What the client has already: `<epoch> <sequence> <channel>` for each channel, none for those it is new to. */
  positions?: string[];
  /**
   * What happens to these while the client is slow, where it is not what the server's namespaces say: `conflate`,
   * `drop_oldest`, `drop_oldest:100` or `disconnect`.
   */
  slow?: string;
}

/** A client no longer wants what is published on these channels. */
export interface Unsubscribe {
  type: "Unsubscribe";
  /** Names of channels, such as `prices:SOL-USDC`. */
  channels: string[];
}

/** Asks the peer's application for a `Pong`. Not the protocol's ping frame, which the connection answers itself. */
export interface Ping {
  type: "Ping";
}

/** Answers a `Ping`. */
export interface Pong {
  type: "Pong";
}

export type AnyMessage =
  | PriceUpdate
  | AccountUpdate
  | Subscribe
  | Unsubscribe
  | Ping
  | Pong;
