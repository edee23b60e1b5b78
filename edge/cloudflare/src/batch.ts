// What a publisher sends: `\x1e<epoch> <first sequence>\n`, then `<channel>\n<payload>\n` for each update.

import { MARK } from "./wire";

export const MAX_BATCH_BYTES = 256 * 1024;
export const MAX_BATCH_UPDATES = 1024;

export interface Update {
  channel: string;
  payload: string;
}

export interface Batch {
  epoch: number;
  /** Sequence of the first update; the others follow it without a hole. */
  first: number;
  updates: Update[];
}

/** Read a batch; text says what is wrong with it. Channels and payloads are not looked at. */
export function readBatch(frame: string): Batch | string {
  const lines = frame.split("\n");
  const head = /^\x1e([0-9]{1,16}) ([0-9]{1,16})$/.exec(lines[0] ?? "");
  if (!head) {
    return `a batch begins with \\x1e<epoch> <first sequence>, not ${shown(lines[0] ?? "")}`;
  }
  const epoch = Number(head[1]);
  const first = Number(head[2]);
  // The last part is what is behind the last newline: nothing.
  const count = (lines.length - 2) / 2;
  if (lines[lines.length - 1] !== "" || !Number.isInteger(count) || count < 1) {
    return "a batch has a line with the channel and one with the payload for each update, and at least one update";
  }
  if (count > MAX_BATCH_UPDATES) {
    return `a batch has at most ${MAX_BATCH_UPDATES} updates, not ${count}`;
  }
  if (epoch < 1 || first < 1 || !Number.isSafeInteger(epoch) || !Number.isSafeInteger(first + count)) {
    return "epoch and sequence are from 1 to 2**53 - 1";
  }
  const updates: Update[] = [];
  for (let at = 1; at + 1 < lines.length; at += 2) {
    updates.push({ channel: lines[at] ?? "", payload: lines[at + 1] ?? "" });
  }
  return { epoch, first, updates };
}

function shown(line: string): string {
  return JSON.stringify(line.replaceAll(MARK, "\\x1e").slice(0, 40));
}
