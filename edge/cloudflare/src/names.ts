/** The name of the one coordinator. */
export const COORDINATOR_NAME = "main";

/** Header in which the front tells a shard its number. */
export const SHARD_HEADER = "X-Shard";

/** Header in which the front tells an object who a client is: an `Identity` as JSON, percent-encoded. */
export const IDENTITY_HEADER = "X-Identity";

/** The name of a shard, numbered from 1. */
export function shardName(number: number): string {
  return `shard-${number}`;
}
