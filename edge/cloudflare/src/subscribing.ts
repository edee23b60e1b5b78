// `Subscribe`, answered as the Python server does: what is had, where it goes on, what is refused and why.

import { covers } from "./audience";
import { INVALID, NOT_PERMITTED, TOO_MANY, type Fault, type Namespaces } from "./channels";
import type { Delivery } from "./delivery";
import type { Subscribe, Subscribed, SubscriptionRejected } from "./messages";
import type { Session } from "./session";
import type { Standing } from "./storage";
import { may } from "./tokens";
import { positionText, readPositions, type Position, type Publication } from "./wire";

export const POLICY_VIOLATION = 1008;

const CHANNELS_OF_ONE_MESSAGE = 512;
const POSITIONS_OF_ONE_MESSAGE = 2048;
const MOST_POSITIONS_CHARACTERS = 256 * 1024;
const MOST_REFUSED = 1024;
const MOST_REFUSED_CHARACTERS = 64 * 1024;

/** A name or pattern, and what the subscriber has of it. */
export interface Ask {
  name: string;
  positions: Position[];
}

/** Tells where channels stand: for each ask, in order. */
export type Stand = (asks: Ask[]) => Standing[][] | Promise<Standing[][]>;

interface GoesOn {
  channel: string;
  sequence: number;
  isRecovered: boolean;
}

export class Subscribing {
  readonly #delivery: Delivery;
  readonly #namespaces: Namespaces;
  readonly #most: number;
  readonly #stand: Stand;
  readonly #epoch: () => string;

  constructor(delivery: Delivery, namespaces: Namespaces, most: number, stand: Stand, epoch: () => string) {
    this.#delivery = delivery;
    this.#namespaces = namespaces;
    this.#most = most;
    this.#stand = stand;
    this.#epoch = epoch;
  }

  /** Subscribe a session to what it may have, and tell it, or close it, as to what it speaks. */
  async subscribe(session: Session, message: Subscribe): Promise<void> {
    const names = [...new Set(message.channels)];
    const positions = readPositions(message.positions ?? []);
    const fault = typeof positions === "string" ? positions : slowFault(message.slow ?? "");
    if (typeof positions === "string" || fault !== null) {
      if (session.isSequenced && isAnswerable(names)) {
        refuse(session, new Map(names.map((name) => [name, [INVALID, fault ?? ""]])));
      } else {
        session.close(POLICY_VIOLATION, fault ?? "");
      }
      return;
    }
    const asks: Ask[] = [];
    const before = new Set(session.channels);
    const refused = new Map<string, Fault>();
    let room = MOST_REFUSED_CHARACTERS;
    for (const name of names) {
      const refusal = this.#namespaces.patternFault(name) ?? this.#refusal(session, name);
      if (refusal === null) {
        asks.push({ name, positions: [...positions.values()].filter((one) => covers(name, one.channel)) });
        this.#delivery.subscribe(session, name);
        continue;
      }
      refused.set(name, refusal);
      room -= name.length;
      if (!session.isSequenced || room < 0 || refused.size > MOST_REFUSED) {
        session.close(POLICY_VIOLATION, refusal[1]);
        return;
      }
    }
    let standings = asks.length > 0 ? this.#stand(asks) : [];
    if (standings instanceof Promise) {
      // What is published meanwhile may be in the answer or not: it is held, and told apart by its number.
      session.held = { publications: [], bytes: 0 };
      standings = await standings;
    }
    this.#goOn(session, asks, before, standings, refused);
  }

  #refusal(session: Session, name: string): Fault | null {
    if (session.identity !== null && !may(session.identity, "subscribe", name)) {
      return [NOT_PERMITTED, "not permitted"];
    }
    if (!session.channels.has(name) && session.channels.size >= this.#most) {
      return [TOO_MANY, `at most ${this.#most} channels for one connection`];
    }
    return null;
  }

  #goOn(
    session: Session,
    asks: Ask[],
    before: ReadonlySet<string>,
    standings: Standing[][],
    refused: ReadonlyMap<string, Fault>,
  ): void {
    const goingOn: GoesOn[] = [];
    const told = new Map<string, GoesOn>();
    const missed: Publication[] = [];
    const upTo = new Map<string, number>();
    // One name after the other, as if each came in a message of its own.
    const had = new Set(before);
    asks.forEach(({ name, positions }, place) => {
      for (const standing of standings[place] ?? []) {
        const { channel, sequence } = standing;
        let outcome = told.get(channel);
        if (outcome === undefined) {
          const isAsked = positions.length > 0;
          const isSilent = !isAsked && [...had].some((other) => covers(other, channel));
          const [first, sent] = isSilent ? [null, []] : toSend(standing);
          missed.push(...sent);
          outcome = { channel, sequence: first ?? sequence, isRecovered: !isSilent && standing.missing !== null };
          told.set(channel, outcome);
          upTo.set(channel, sequence);
        }
        goingOn.push(outcome);
      }
      had.add(name);
    });
    if (session.isSequenced) {
      accept(
        session,
        this.#epoch(),
        asks.map((ask) => ask.name),
        goingOn,
      );
      refuse(session, refused);
    }
    const held = session.held?.publications ?? [];
    session.held = null;
    for (const publication of missed) {
      this.#delivery.send(session, publication);
    }
    for (const publication of held) {
      if (publication.sequence > (upTo.get(publication.channel) ?? 0)) {
        this.#delivery.send(session, publication);
      }
    }
    this.#delivery.checkLag(session);
  }
}

/** Where a channel goes on for who is to get something of it: the number before that, and what it is. */
function toSend({ sequence, missing, latest }: Standing): [number, Publication[]] {
  if (missing !== null) {
    return [sequence - missing.length, missing];
  }
  return latest === null ? [sequence, []] : [latest.sequence - 1, [latest]];
}

function accept(session: Session, epoch: string, names: string[], goingOn: GoesOn[]): void {
  let texts = goingOn.map(({ channel, sequence }) => positionText(channel, epoch, sequence));
  if (texts.reduce((sum, text) => sum + text.length, 0) > MOST_POSITIONS_CHARACTERS) {
    texts = [];
  }
  const answers: Subscribed[] = [];
  for (let start = 0; start < texts.length; start += POSITIONS_OF_ONE_MESSAGE) {
    const end = start + POSITIONS_OF_ONE_MESSAGE;
    const recovered = goingOn.slice(start, end).filter((one) => one.isRecovered);
    const answer: Subscribed = { type: "Subscribed", channels: [], positions: texts.slice(start, end) };
    if (recovered.length > 0) {
      answer.recovered = recovered.map((one) => one.channel);
    }
    answers.push(answer);
  }
  const named = parts(names);
  const last = answers.at(-1);
  if (last !== undefined) {
    // The names come with the last positions: who reads them knows where all of them go on.
    last.channels = named.shift() ?? [];
  }
  for (const answer of [...answers, ...named.map((channels): Subscribed => ({ type: "Subscribed", channels }))]) {
    session.send(JSON.stringify(answer));
  }
}

/** Tell a session which names are refused, and why. */
export function refuse(session: Session, refused: ReadonlyMap<string, Fault>): void {
  const byReason = new Map<string, [Fault, string[]]>();
  for (const [name, fault] of refused) {
    const key = fault.join(" ");
    const names = byReason.get(key)?.[1] ?? [];
    names.push(name);
    byReason.set(key, [fault, names]);
  }
  for (const [[code, reason], names] of byReason.values()) {
    for (const channels of parts(names)) {
      const answer: SubscriptionRejected = { type: "SubscriptionRejected", channels, code, reason };
      session.send(JSON.stringify(answer));
    }
  }
}

/** Whether all of these are refused name by name; the connection is closed if not. */
export function isAnswerable(names: readonly string[]): boolean {
  return names.length <= MOST_REFUSED && names.reduce((sum, name) => sum + name.length, 0) <= MOST_REFUSED_CHARACTERS;
}

/** What is wrong with what a client asks for while it is slow; null if nothing is. */
function slowFault(slow: string): string | null {
  const match = /^(?:conflate|disconnect|drop_oldest(?::([0-9]+))?)?$/.exec(slow);
  if (match !== null && (match[1] === undefined || Number(match[1].slice(0, 10)) > 0)) {
    return null;
  }
  return "slow is one of conflate, disconnect, drop_oldest and drop_oldest:N, with N from 1 on";
}

function parts(names: readonly string[]): string[][] {
  const cut: string[][] = [];
  for (let start = 0; start < names.length; start += CHANNELS_OF_ONE_MESSAGE) {
    cut.push(names.slice(start, start + CHANNELS_OF_ONE_MESSAGE));
  }
  return cut;
}
