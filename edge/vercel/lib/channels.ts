/** Names of channels, as the feed has them. */

// What Python's str.isprintable refuses; the feed judges names again, by its own version of Unicode.
const unprintable = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const maxName = 256;

/** What is wrong with the name of a channel; undefined if nothing is. */
export function nameFault(name: string): string | undefined {
  // Characters, not the UTF-16 units that `length` counts.
  const length = name.length > 2 * maxName ? name.length : [...name].length;
  if (length < 1 || length > maxName) return `channel names have 1 to ${maxName} characters`;
  if (unprintable.test(name)) return "channel names hold no control characters";
  return name.includes("*") ? "channel names hold no `*`: a pattern ends with one" : undefined;
}

/** What is wrong with a name or a pattern; undefined if nothing is. */
export function patternFault(name: string): string | undefined {
  return name === "*" ? undefined : nameFault(name.replace(/\*$/, ""));
}

/** Whether a pattern speaks of a channel; of another pattern, whether it speaks of all channels that it can be. */
export function covers(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Whether one of the patterns speaks of a channel. */
export function allows(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => covers(pattern, name));
}
