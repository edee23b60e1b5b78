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
   * A bigint beyond 2**53 - 1.
   */
  volume?: number | bigint;
  /**
   * Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.
   * A bigint beyond 2**53 - 1.
   */
  timestamp: number | bigint;
}

/** The state of an account at a slot. */
export interface AccountUpdate {
  type: "AccountUpdate";
  /** Address of the account, base58. */
  pubkey: string;
  /**
   * Balance in lamports, 0 to 2**64 - 1.
   * A bigint beyond 2**53 - 1.
   */
  lamports: number | bigint;
  /**
   * Slot in which the account was written, 0 to 2**64 - 1.
   * A bigint beyond 2**53 - 1.
   */
  slot: number | bigint;
  /**
   * Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.
   * A bigint beyond 2**53 - 1.
   */
  timestamp: number | bigint;
}

/** A chain has come to a slot. Slots may go back: a fork that is given up is followed by the slots of another. */
export interface SlotUpdate {
  type: "SlotUpdate";
  /**
   * The slot, 0 to 2**64 - 1.
   * A bigint beyond 2**53 - 1.
   */
  slot: number | bigint;
  /**
   * The slot that it builds on.
   * A bigint beyond 2**53 - 1.
   */
  parent: number | bigint;
  /**
   * The newest slot that no fork can undo.
   * A bigint beyond 2**53 - 1.
   */
  root: number | bigint;
  /**
   * Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.
   *
   * A slot of LaserStream has none: there it is when this machine received it.
   * A bigint beyond 2**53 - 1.
   */
  timestamp: number | bigint;
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

/** A server's acknowledgement of `Subscribe`, to peers that speak one of our subprotocols. */
export interface Subscribed {
  type: "Subscribed";
  /** Names of channels, as they were asked for. */
  channels: string[];
  /** Where each channel goes on: `<epoch> <sequence> <channel>`, the publication before the next one to come here. */
  positions?: string[];
  /** Those of the channels in `positions` of which nothing is missing behind the position that the client named. */
  recovered?: string[];
}

/** A server's refusal of channels of a `Subscribe`, to peers that speak one of our subprotocols. */
export interface SubscriptionRejected {
  type: "SubscriptionRejected";
  /** Names of channels, as they were asked for. */
  channels: string[];
  /**
   * Why, as a number; those of the server of this package are close codes (RFC 6455 §7.4).
   * A bigint beyond 2**53 - 1.
   */
  code: number | bigint;
  /** Why, in words. */
  reason: string;
}

/**
 * A server has left publications out for a client that was slow; in front of the channel's next one.
 *
 * To peers that speak one of our subprotocols.
 */
export interface LagNotice {
  type: "LagNotice";
  /** Name of the channel. */
  channel: string;
  /**
   * Sequence of the first one left out.
   * A bigint beyond 2**53 - 1.
   */
  first: number | bigint;
  /**
   * Sequence of the last one left out.
   * A bigint beyond 2**53 - 1.
   */
  last: number | bigint;
  /**
   * How many: fewer than lie between the two, where some in between do come.
   * A bigint beyond 2**53 - 1.
   */
  count: number | bigint;
}

/**
 * A server is about to end the connection: connect anew, elsewhere or to its successor.
 *
 * To peers that speak one of our subprotocols.
 */
export interface GoAway {
  type: "GoAway";
  /** Seconds to wait before: each client is told another number, so that not all come at once. */
  after: number;
  /** Why, in words. */
  reason?: string;
}

/**
 * A client says who it is, before anything else and again before that ends.
 *
 * To servers that authenticate their clients; where it is told in the opening request, this only renews it.
 */
export interface Authenticate {
  type: "Authenticate";
  /** What proves it. */
  token: string;
}

/** A server's answer to `Authenticate`. A refusal is no message: the connection is closed with 4401. */
export interface Authenticated {
  type: "Authenticated";
  /** Whom the server takes the client for. */
  name: string;
  /** Seconds until the server ends the connection, if nothing renews it; None: never. */
  expires_in: number | null;
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
  | SlotUpdate
  | Subscribe
  | Unsubscribe
  | Subscribed
  | SubscriptionRejected
  | LagNotice
  | GoAway
  | Authenticate
  | Authenticated
  | Ping
  | Pong;
