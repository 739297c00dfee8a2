// What a person reads of a contact: who is online, was seen when, and writes now. Pure; times are
// milliseconds of any one clock.

const WRITES = 6000; // how long a typing event holds

export class Presence {
  constructor() {
    this.writing = new Map(); // user → until when
  }

  // Somebody writes; a message ends it.
  wrote(user, now) {
    this.writing.set(user, now + WRITES);
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

  // "online", "writes …", "last seen …", or nothing. known: what the server said of the user
  text(user, known) {
    if (this.writing.has(user)) return "writes …";
    if (known?.online) return "online";
    if (!known?.last_seen) return "";
    const seen = new Date(known.last_seen).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    return `last seen ${seen}`;
  }
}
