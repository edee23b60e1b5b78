// From a publication to the sockets of those who get it.

import { Audience } from "./audience";
import { SLOW } from "./channels";
import type { Session } from "./session";
import { byteLength, positioned, unpositioned, type Payload, type Publication } from "./wire";

// Bytes that may wait for all sessions of one object together, which has 128 MB for everything.
const MOST_WAITING = 48 * 1024 * 1024;
// Channels of one session whose own publications it did not get: for more it gets them.
const MOST_SKIPPED = 64;

/** The sessions of one object, and who of them gets what. */
export class Delivery {
  readonly #epoch: () => string;
  readonly #maxLag: number;
  readonly #audience = new Audience<Session>();
  // What waits for those of whom something did when they were looked at last.
  readonly #lags = new Map<Session, number>();
  // Their sum.
  #waiting = 0;
  readonly sessions = new Map<WebSocket, Session>();

  /** `epoch` tells the number of the channels' incarnation, `maxLag` is bytes that may wait for one session. */
  constructor(epoch: () => string, maxLag: number) {
    this.#epoch = epoch;
    this.#maxLag = maxLag;
  }

  add(session: Session): void {
    this.sessions.set(session.socket, session);
    for (const name of session.channels) {
      this.#audience.add(name, session);
    }
  }

  remove(session: Session): void {
    session.isOpen = false;
    this.sessions.delete(session.socket);
    this.#note(session, 0);
    for (const name of session.channels) {
      this.#audience.remove(name, session);
    }
  }

  subscribe(session: Session, name: string): void {
    session.channels.add(name);
    this.#audience.add(name, session);
  }

  unsubscribe(session: Session, name: string): boolean {
    this.#audience.remove(name, session);
    return session.channels.delete(name);
  }

  /** Send publications to those who get them: each is one frame, made once for all with the same form. */
  deliver(publications: readonly Publication[]): void {
    const reached = new Set<Session>();
    for (const publication of publications) {
      let frame: Payload | null = null;
      for (const session of this.#audience.of(publication.channel)) {
        if (session.held !== null) {
          this.#hold(session, publication);
          continue;
        }
        reached.add(session);
        if (!session.isSequenced) {
          if (!this.#isOwn(session, publication)) {
            session.send(publication.payload);
          }
        } else if (session.skipped.size === 0 && publication.sender === undefined) {
          frame ??= positioned(this.#epoch(), publication, publication.sequence - 1);
          session.send(frame);
        } else {
          this.send(session, publication);
        }
      }
    }
    for (const session of reached) {
      this.checkLag(session);
    }
  }

  /** Send one publication to one session, if it is to get it. */
  send(session: Session, publication: Publication): void {
    const { channel, sequence, payload } = publication;
    const before = session.skipped.get(channel);
    if (this.#isOwn(session, publication) && (before !== undefined || session.skipped.size < MOST_SKIPPED)) {
      // What comes next follows what it got last: its chain stays whole.
      session.skipped.set(channel, before ?? sequence - 1);
      return;
    }
    session.skipped.delete(channel);
    session.send(session.isSequenced ? positioned(this.#epoch(), publication, before ?? sequence - 1) : payload);
  }

  #isOwn(session: Session, publication: Publication): boolean {
    return !session.hasEcho && publication.sender === session.id;
  }

  #hold(session: Session, publication: Publication): void {
    if (session.held === null) {
      return;
    }
    session.held.publications.push(publication);
    session.held.bytes += byteLength(publication.payload) + publication.channel.length;
    if (session.held.bytes > this.#maxLag) {
      session.held.publications = [];
      session.close(SLOW, "too slow: more came than may wait while its subscription was looked up");
    }
  }

  /** Send to all but one session, in no channel; returns to how many. */
  broadcast(payload: Payload, except: string | undefined, isReady: (session: Session) => boolean): number {
    const marked = unpositioned(payload);
    const sessions = [...this.sessions.values()].filter((one) => one.id !== except && one.isOpen && isReady(one));
    for (const session of sessions) {
      session.send(session.isSequenced ? marked : payload);
      this.checkLag(session);
    }
    return sessions.length;
  }

  /** Close a session whose socket has not taken what was sent; nothing but the close frame is sent behind that. */
  checkLag(session: Session): void {
    const waiting = session.isOpen ? bufferedBytes(session.socket) : 0;
    this.#note(session, waiting);
    if (waiting > this.#maxLag) {
      this.#cut(session, `too slow: ${waiting} bytes wait`);
    }
    if (this.#waiting > MOST_WAITING) {
      // The slowest go first; those that read since they were looked at stay.
      for (const [slow] of [...this.#lags].sort(([, one], [, other]) => other - one)) {
        const now = bufferedBytes(slow.socket);
        this.#note(slow, now);
        if (this.#waiting > MOST_WAITING) {
          this.#cut(slow, `too slow: ${now} bytes wait, and too many for all`);
        }
      }
    }
  }

  #note(session: Session, waiting: number): void {
    this.#waiting += waiting - (this.#lags.get(session) ?? 0);
    if (waiting > 0) {
      this.#lags.set(session, waiting);
    } else {
      this.#lags.delete(session);
    }
  }

  #cut(session: Session, reason: string): void {
    console.warn(`session ${session.id} is ${reason}`);
    session.close(SLOW, reason);
    this.remove(session);
  }
}

/** Bytes that a socket has not taken yet; 0 in runtimes that do not tell. */
function bufferedBytes(socket: WebSocket): number {
  const { bufferedAmount } = socket as WebSocket & { bufferedAmount?: unknown };
  return typeof bufferedAmount === "number" ? bufferedAmount : 0;
}
