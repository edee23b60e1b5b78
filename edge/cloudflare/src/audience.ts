// Which sessions get a channel: by its name, or by a pattern that it matches.

// Channels whose patterns are remembered.
const MOST_REMEMBERED = 10_000;

/** Members by name and pattern; each is told of a channel once, however many of its subscriptions match. */
export class Audience<Member> {
  readonly #names = new Map<string, Set<Member>>();
  readonly #prefixes = new Map<string, Set<Member>>();
  // Matching prefixes of a channel, so that not all are looked at for each publication.
  readonly #matching = new Map<string, string[]>();

  add(name: string, member: Member): void {
    const [map, key] = this.#place(name);
    const members = map.get(key);
    if (members === undefined) {
      map.set(key, new Set([member]));
      this.#onChange(map);
    } else {
      members.add(member);
    }
  }

  remove(name: string, member: Member): void {
    const [map, key] = this.#place(name);
    const members = map.get(key);
    if (members?.delete(member) === true && members.size === 0) {
      map.delete(key);
      this.#onChange(map);
    }
  }

  /** Those who get a channel. */
  of(channel: string): Iterable<Member> {
    const sets: Set<Member>[] = [];
    const direct = this.#names.get(channel);
    if (direct !== undefined) {
      sets.push(direct);
    }
    for (const prefix of this.#prefixesOf(channel)) {
      sets.push(this.#prefixes.get(prefix) ?? new Set());
    }
    const [only] = sets;
    return only !== undefined && sets.length === 1 ? only : new Set(sets.flatMap((set) => [...set]));
  }

  #prefixesOf(channel: string): string[] {
    let matching = this.#matching.get(channel);
    if (matching === undefined) {
      matching = [...this.#prefixes.keys()].filter((prefix) => channel.startsWith(prefix));
      if (this.#matching.size >= MOST_REMEMBERED) {
        this.#matching.clear();
      }
      this.#matching.set(channel, matching);
    }
    return matching;
  }

  #place(name: string): [Map<string, Set<Member>>, string] {
    return name.endsWith("*") ? [this.#prefixes, name.slice(0, -1)] : [this.#names, name];
  }

  #onChange(map: Map<string, Set<Member>>): void {
    if (map === this.#prefixes) {
      this.#matching.clear();
    }
  }
}

/** Whether a name, or a pattern, stands for a channel. */
export function covers(name: string, channel: string): boolean {
  return name.endsWith("*") ? channel.startsWith(name.slice(0, -1)) : name === channel;
}
