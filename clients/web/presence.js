// Who of the contacts is online, was seen when, and writes now.

const WATCHED = 200;
const AGAIN = 1000; // ms until what could not be answered is asked again
const TYPING = 3000; // ms between two of our own typing frames
const WRITES = 6000; // ms that a typing frame of somebody holds

export class Presence {
  // send(frames) hands frames to the connection; nextId() numbers questions; changed() when a person stopped writing
  constructor(send, nextId, changed) {
    Object.assign(this, { send, nextId, changed, users: [], known: new Map(), writing: new Map(), asked: 0, typed: new Map() });
  }

  // A new session, or what was watched may have been forgotten.
  begin() {
    this.asked = 0;
    if (this.users.length) this.#ask();
  }

  // Watch these contacts, the first of them if they are many.
  watch(contacts) {
    const users = contacts.slice(0, WATCHED);
    if (users.length === this.users.length && users.every((user) => this.users.includes(user))) return;
    this.users = users;
    this.#ask();
  }

  // Whether the frame answers our question.
  answer(frame) {
    if (frame.id !== this.asked) return;
    frame.users.forEach((presence) => this.take(presence));
    if (frame.pending) this.#later();
  }

  error(frame) {
    if (!this.asked || frame.id !== this.asked) return false;
    if (frame.retry) this.#later();
    return true;
  }

  take({ user, online, last_seen: lastSeen }) {
    this.known.set(user, { online, lastSeen });
  }

  // Somebody writes; a message ends it.
  wrote({ user }) {
    clearTimeout(this.writing.get(user));
    this.writing.set(user, setTimeout(() => this.stopped(user), WRITES));
  }

  stopped(user) {
    clearTimeout(this.writing.get(user));
    if (this.writing.delete(user)) this.changed();
  }

  // The person writes here.
  typing(conversation) {
    const now = Date.now();
    if (now - (this.typed.get(conversation) ?? 0) < TYPING) return;
    this.typed.set(conversation, now);
    this.send([{ t: "typing", conversation }]);
  }

  // What a person reads of a contact: "online", "writes …", "last seen …", or nothing.
  text(contact) {
    if (this.writing.has(contact)) return "writes …";
    const { online, lastSeen } = this.known.get(contact) ?? {};
    if (online) return "online";
    return lastSeen ? `last seen ${new Date(lastSeen).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}` : "";
  }

  #ask() {
    this.asked = this.nextId();
    this.send([{ t: "watch", id: this.asked, users: this.users }]);
  }

  #later() {
    const asked = this.asked;
    setTimeout(() => asked === this.asked && this.#ask(), AGAIN);
  }
}
