// Names of channels, patterns and namespaces, as the Python server has them.

export const MAX_NAME = 256;

/** A refusal of a name: a code of `SubscriptionRejected`, and why. */
export type Fault = readonly [code: number, reason: string];

export const INVALID = 4400;
export const NOT_AUTHENTICATED = 4401;
export const NOT_PERMITTED = 4403;
export const UNKNOWN = 4404;
export const SLOW = 4008;
export const TOO_BIG = 4413;
export const TOO_MANY = 4429;

// What Python's `str.isprintable` refuses: controls, separators but the space, and what is not assigned.
const UNPRINTABLE = /[\p{C}\p{Z}]/u;

export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text.replaceAll(" ", ""));
}

export function namespaceOf(channel: string): string {
  const colon = channel.indexOf(":");
  return colon < 0 ? channel : channel.slice(0, colon);
}

/** What is wrong with the name of a channel; null if nothing is. */
export function nameFault(channel: string): string | null {
  // Characters, not UTF-16 units, of which there may be twice as many.
  if (channel.length === 0 || channel.length > 2 * MAX_NAME || [...channel].length > MAX_NAME) {
    return `channel names have 1 to ${MAX_NAME} characters`;
  }
  if (!isPrintable(channel)) {
    return "channel names hold no control characters";
  }
  return channel.includes("*") ? "channel names hold no `*`: a pattern ends with one" : null;
}

/** What is wrong with what a subscriber asks for, a name or a pattern; null if nothing is. */
export function patternFault(name: string): string | null {
  return name === "*" ? null : nameFault(name.endsWith("*") ? name.slice(0, -1) : name);
}

/** The namespaces that are served; any where the setting is empty. */
export class Namespaces {
  readonly #names: ReadonlySet<string>;

  constructor(setting: string | undefined) {
    this.#names = new Set((setting ?? "").split(/[\s,]+/).filter((name) => name !== ""));
  }

  isServed(name: string): boolean {
    return this.#names.size === 0 || this.#names.has(namespaceOf(name));
  }

  /** Why nobody can publish to a channel; null if they can. */
  channelFault(channel: string): Fault | null {
    const fault = nameFault(channel);
    if (fault !== null) {
      return [INVALID, fault];
    }
    return this.isServed(channel) ? null : [UNKNOWN, "no such namespace"];
  }

  /** Why nobody can subscribe to a name or pattern; null if they can. */
  patternFault(name: string): Fault | null {
    const fault = patternFault(name);
    if (fault !== null) {
      return [INVALID, fault];
    }
    return this.isServed(name) ? null : [UNKNOWN, "no such namespace"];
  }
}
