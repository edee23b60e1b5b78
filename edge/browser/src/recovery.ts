// What of the channels was missed while there was no connection, and what proves that nothing was.
//
// - `Recovery` outlives connections. It knows which names and patterns a server has acknowledged, and where each channel
//   stands.
// - `Renewal` belongs to one connection. It presents positions, and judges what the server answers: a channel that goes on
//   exactly where it stands here has lost nothing; every other one leaves a `Gap`, told before its next message.
// - A successor runs beside the connection that it is to replace, which still moves the positions on. So what it has to say
//   is judged when it answers, and told when it takes over.
//
// The rules are those of the Python client (python/websocket_utils/_recovery.py).

import { type Gap, MOST_CHANNELS, MOST_CHARACTERS, Positions } from "./positions.js";
import { covers, type Position, positionText, readPositions } from "./publication.js";

export class Recovery {
  readonly positions: Positions;
  // What a server has acknowledged and is still wanted.
  readonly held = new Set<string>();
  // Whether nothing was missed since the last connection that was live.
  isWhole = true;
  isLive = false;
  readonly #tell: (gap: Gap) => void;

  constructor(tell: (gap: Gap) => void) {
    this.#tell = tell;
    this.positions = new Positions((gap) => this.tellGap(gap));
  }

  /** Messages of a channel may be missing here. */
  tellGap(gap: Gap): void {
    this.isWhole = false;
    this.#tell(gap);
  }

  /** A connection is made whose publications have positions. */
  begin(isSuccessor: boolean): Renewal {
    if (this.isLive) this.isWhole = true;
    return new Renewal(this, isSuccessor);
  }

  /** The connection in use is lost. */
  lost(): void {
    if (this.isLive) [this.isLive, this.isWhole] = [false, true];
  }

  /** A server has refused a subscription. */
  lose(name: string): void {
    if (this.held.delete(name)) this.isWhole = false;
  }

  /** A channel is wanted that was not: what was known of it, from an earlier time, counts no more. */
  enter(name: string, wanted: Iterable<string>): void {
    this.positions.forget([name], [...wanted].filter((one) => one !== name));
  }

  /** A channel is not wanted any more. */
  leave(name: string, wanted: Iterable<string>): void {
    this.held.delete(name);
    this.positions.forget([name], wanted);
  }
}

export class Renewal {
  isSuccessor: boolean;
  readonly #recovery: Recovery;
  // What was held before, and is still to be answered. Without any there is nothing to prove anything by.
  readonly #open: Set<string>;
  readonly #renews: boolean;
  readonly #answered = new Set<string>();
  #isComplete = false;
  // What was said of channels, which may be before their names are acknowledged; and those that were looked at.
  readonly #listed = new Map<string, Position>();
  #listedCharacters = 0;
  readonly #recovered = new Set<string>();
  readonly #judged = new Set<string>();
  // A server that has proven anything about a channel is the one that was there before.
  #isProven = false;
  // Of a successor: what it was told, and where channels go on that it has not proven. Undefined: it knows no such one.
  readonly #presented = new Map<string, Position>();
  readonly #goesOn = new Map<string, Position | undefined>();

  constructor(recovery: Recovery, isSuccessor: boolean) {
    this.#recovery = recovery;
    this.#open = new Set(recovery.held);
    this.#renews = this.#open.size > 0;
    this.isSuccessor = isSuccessor;
  }

  /** Where the channels stand that a name or pattern means, as texts; none if it was not subscribed to before. */
  present(name: string): string[] {
    if (!this.#open.has(name)) return [];
    const found = [...this.#recovery.positions.matching(name)];
    if (this.isSuccessor) for (const [channel, position] of found) this.#presented.set(channel, position);
    return found.map(([channel, position]) => positionText(channel, position));
  }

  /**
   * A server acknowledges subscriptions, and says where they go on.
   *
   * Returns false, and has changed nothing, if a position is none or there are too many.
   */
  answer(names: string[], positions: unknown[], recovered: unknown[], isWanted: (name: string) => boolean): boolean {
    const found = readPositions(positions);
    if (!found) return false;
    let characters = this.#listedCharacters;
    for (const channel of found.keys()) characters += channel.length;
    if (this.#listed.size + found.size > MOST_CHANNELS || characters > MOST_CHARACTERS) return false;
    this.#listedCharacters = characters;
    for (const [channel, position] of found) this.#listed.set(channel, position);
    for (const channel of recovered as string[]) if (found.has(channel)) this.#recovered.add(channel);
    const asked = names.filter(isWanted);
    const renewed = asked.filter((name) => this.#open.has(name));
    // What is asked for again on the same connection goes on as it did.
    const fresh = asked.filter((name) => !this.#open.has(name) && !this.#answered.has(name));
    for (const name of asked) {
      this.#answered.add(name);
      this.#recovery.held.add(name);
    }
    if (renewed.length) this.#judge(renewed);
    for (const name of renewed) this.#open.delete(name);
    const isFresh = covers(fresh);
    for (const [channel, goesOn] of this.#listed) {
      if (!this.#judged.has(channel) && isFresh(channel)) this.#begin(channel, goesOn);
    }
    if (names.length && this.#isComplete) this.#forgetAnswers();
    return true;
  }

  #forgetAnswers(): void {
    for (const one of [this.#listed, this.#recovered, this.#judged]) one.clear();
    this.#listedCharacters = 0;
  }

  #begin(channel: string, goesOn: Position): void {
    const { positions } = this.#recovery;
    // Another connection, or another of its names, may have brought it farther already.
    if (positions.position(channel)?.epoch !== goesOn.epoch) positions.set(channel, goesOn);
  }

  /** Looks at each channel that a renewed name means, known here or there. */
  #judge(renewed: string[]): void {
    const judged = this.#judged;
    const blank: string[] = [];
    for (const name of renewed) {
      const known = this.#recovery.positions.matching(name);
      if (!known.size) blank.push(name);
      for (const [channel, position] of known) {
        if (judged.has(channel)) continue;
        judged.add(channel);
        this.#judgeKnown(channel, position, this.#listed.get(channel));
      }
    }
    // A pattern that has brought nothing yet has lost nothing, if it is the same server that says so.
    const unproven = blank.filter((name) => !(name.endsWith("*") && this.#isProven));
    const [isUnproven, isRenewed] = [covers(unproven), covers(renewed)];
    for (const [channel, goesOn] of this.#listed) {
      if (judged.has(channel) || !isRenewed(channel)) continue;
      judged.add(channel);
      this.#begin(channel, goesOn);
      // It came into being meanwhile: of what it brought, the beginning or nothing is to come.
      if (goesOn.sequence > 0n && !isUnproven(channel)) this.#tell(channel);
    }
    for (const name of unproven) this.#tell(name);
  }

  #tell(channel: string, last: bigint | null = null): void {
    this.#recovery.tellGap({ channel, last, next: null });
  }

  #judgeKnown(channel: string, known: Position, goesOn: Position | undefined): void {
    const isSame = goesOn !== undefined && goesOn.epoch === known.epoch;
    const isBehind = isSame && goesOn.sequence < known.sequence;
    // Beside another connection, that one may have brought more by now than was presented.
    if ((isSame && goesOn.sequence === known.sequence) || (isBehind && this.#recovered.has(channel))) {
      this.#isProven = true;
    } else if (this.isSuccessor) {
      this.#goesOn.set(channel, goesOn);
    } else {
      this.#jump(channel, known, goesOn);
    }
  }

  #jump(channel: string, known: Position | undefined, goesOn: Position | undefined): void {
    this.#tell(channel, known?.sequence ?? null);
    if (goesOn) this.#recovery.positions.set(channel, goesOn);
    else this.#recovery.positions.forget([channel]);
  }

  /** A channel is not wanted any more: what this server said of it is of no use, nor what it has yet to say. */
  leave(name: string): void {
    this.#open.delete(name);
    this.#answered.delete(name);
  }

  /** The server refuses a subscription. */
  refuse(name: string): void {
    this.#open.delete(name);
    this.#recovery.lose(name);
  }

  /** What it was to succeed is gone: what it could not prove is told now. */
  takeOver(): void {
    this.isSuccessor = false;
    for (const [channel, there] of this.#goesOn) {
      const known = this.#recovery.positions.position(channel);
      const presented = this.#presented.get(channel) ?? there;
      if (!known || !there || !presented || known.epoch !== there.epoch) this.#jump(channel, known, there);
      // The other connection did not bring what is between; or this server has lost what it had.
      else if (there.sequence > known.sequence || there.sequence < presented.sequence) this.#jump(channel, known, there);
      // Its next publication says what is missing before it, if anything is.
      else this.#recovery.isWhole = false;
    }
    this.#goesOn.clear();
    this.#presented.clear();
  }

  /** All that was asked for is answered; returns whether nothing was missed since the connection before. */
  complete(): boolean {
    this.takeOver();
    this.#isComplete = true;
    this.#forgetAnswers();
    this.#recovery.isLive = true;
    return this.#recovery.isWhole && this.#renews;
  }
}
