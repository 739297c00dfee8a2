// What a person reads of a contact: who is online, was seen when, and writes now. Pure; times are
// milliseconds of any one clock, but for when somebody was seen.

import { lastSeen } from "./format.js";

export const WRITES = "typing…";
const HOLDS = 6000; // how long a typing event holds

export class Presence {
  constructor() {
    this.writing = new Map(); // user → until when
  }

  // Somebody writes; a message ends it.
  wrote(user, now) {
    this.writing.set(user, now + HOLDS);
  }

  stopped(user) {
    this.writing.delete(user);
  }

  // When somebody will have stopped, null if nobody writes.
  wakeAt() {
    return this.writing.size ? Math.min(...this.writing.values()) : null;
  }

  // Whether somebody has stopped since.
  passed(now) {
    const stopped = [...this.writing].filter(([, until]) => until <= now);
    stopped.forEach(([user]) => this.writing.delete(user));
    return stopped.length > 0;
  }

  // "online", "typing…", "last seen …", or nothing. known: what the server said of the user; time:
  // ms since 1970
  text(user, known, time) {
    if (this.writing.has(user)) return WRITES;
    if (known?.online) return "online";
    return known?.last_seen ? lastSeen(known.last_seen, time) : "";
  }
}
