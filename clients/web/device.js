// The device of a user in this browser: connection, outbox and what is known, wired together. It knows no page: what a person
// does comes by methods, what a tab shows is a `picture`.

import { CatchUp } from "./catchup.js";
import { Connection } from "./connection.js";
import { newDeviceId, newId } from "./ids.js";
import { Marks } from "./marks.js";
import { Outbox } from "./outbox.js";
import { openOutbox } from "./outboxdb.js";
import { Presence } from "./presence.js";
import { ScrollBack } from "./scrollback.js";
import { Store } from "./store.js";

const REFUSALS = { 110: "empty", 111: "too long", 112: "not text" };
const LOGGED_OUT = 4505;
const CLOSES = {
  4500: "please log in again",
  4501: "please reload the page",
  4502: "opened elsewhere with the same device",
  [LOGGED_OUT]: "logged out",
};
const PATIENCE = 2000; // ms that a log-out waits for the server

// outbox: its name on disk, null where it cannot be kept; on: changed() when there is something new to show, loggedOut()
export async function openDevice(user, token, outbox, on) {
  const nowhere = { device: newDeviceId(), saved: null, save: async () => {} };
  return new Device(user, token, outbox ? await openOutbox(outbox) : nowhere, on);
}

class Device {
  constructor(user, token, disk, on) {
    Object.assign(this, { user, disk, on, state: "connecting", reason: "", problem: "", logId: null, timer: null, noting: false });
    let questions = 1;
    const nextId = () => ++questions;
    const send = (frames) => this.connection.send(frames);
    this.store = new Store(user);
    this.changes = []; // of the outbox, not on disk yet
    this.outbox = new Outbox(newId, disk.saved, (change) => this.changes.push(change));
    for (const { key, to, body } of this.outbox.unanswered) this.store.queue(to, key, body);
    this.catchUp = new CatchUp(this.store, send, nextId);
    this.scrollBack = new ScrollBack(this.store, send, nextId);
    this.marks = new Marks(user, send, nextId);
    this.presence = new Presence(send, nextId, () => this.#show());
    const address = new URL("v1/socket", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.connection = new Connection(address, token, disk.device, {
      state: (state, code) => this.#connected(state, code),
      welcome: (frame) => this.#welcome(frame),
      frame: (frame) => {
        this.#handlers[frame.t]?.(frame);
        this.catchUp.ask();
        this.#show();
        this.#flush();
      },
    });
  }

  // What a tab shows that has the conversation with `contact` open (null: none).
  picture(contact) {
    const { store, marks, presence } = this;
    const open = contact === null ? null : store.open(contact);
    return {
      state: this.state, reason: this.reason, problem: this.problem, full: this.outbox.full, contact,
      contacts: store.list().map((conversation) => ({
        contact: conversation.contact, last: conversation.messages.at(-1)?.body ?? null, earlier: Boolean(conversation.floor),
        unread: this.#unread(conversation), presence: presence.text(conversation.contact),
      })),
      conversation: open && {
        messages: open.messages, whole: open.whole, cursor: open.cursor,
        mark: marks.of(open.id, contact), presence: presence.text(contact),
      },
    };
  }

  // A tab has this conversation open; a person has seen it there up to `read`, and wants `older` messages.
  look(contact, read, older) {
    const begun = !this.store.conversations.has(contact);
    const { id, cursor } = this.store.open(contact);
    this.store.recall(contact);
    this.catchUp.ask();
    // a tab may have read in a numbering of messages that is no more
    const seen = this.marks.seen(id, Math.min(read, cursor ?? 0), true);
    if (begun || seen) this.#show();
    if (older && this.connection.online) this.scrollBack.more(contact);
  }

  // Whether the message is safe now: on disk, or, if there are too many, shown as refused. The same key may come again.
  async queue(contact, key, body) {
    if (!this.store.has(key)) {
      const queued = this.outbox.add(contact, key, body);
      this.store.queue(contact, key, body);
      if (!queued) this.store.mark(key, "refused", "too many messages wait");
      this.#show();
    }
    return this.#flush();
  }

  typing(contact) {
    if (this.connection.online) this.presence.typing(this.store.open(contact).id);
  }

  // A tab has logged in.
  renew(token) {
    this.connection.renew(token);
  }

  async logOut() {
    const { token, device } = this.connection;
    const asked = { method: "DELETE", headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(PATIENCE) };
    // whoever has no network is logged out here all the same
    await fetch(`v1/devices/${device}`, asked).catch(() => {});
    this.connection.stop(LOGGED_OUT);
  }

  #connected(state, code) {
    this.state = state;
    this.reason = state === "stopped" ? CLOSES[code] ?? `code ${code}` : "";
    if (state === "stopped" && code === LOGGED_OUT) this.on.loggedOut();
    this.#show();
  }

  #welcome({ log }) {
    if (this.logId !== null && this.logId !== log) {
      this.store.forget();
      this.marks.forget();
    }
    this.logId = log;
    this.outbox.reconnected();
    this.#flush();
    this.scrollBack.begin();
    this.presence.begin();
    this.catchUp.begin();
    this.#askMarks();
  }

  #askMarks() {
    this.marks.begin([...this.store.cursors().keys()]);
  }

  // However many frames come at once, they are noted and told once.
  #show() {
    if (this.noting) return;
    this.noting = true;
    queueMicrotask(() => {
      this.noting = false;
      this.#noteSeen();
      // only with people one has talked to there is a presence to watch
      const known = this.store.list().filter(({ cursor, floor }) => cursor || floor);
      if (this.connection.online) this.presence.watch(known.map(({ contact }) => contact));
      this.on.changed();
    });
  }

  // What is here to be shown was received, whether or not a tab shows it now. Who writes has read.
  #noteSeen() {
    for (const { contact, id } of this.store.conversations.values()) {
      this.marks.seen(id, this.store.last(contact, contact));
      this.marks.seen(id, this.store.last(contact, this.user), true);
    }
    if (this.connection.online) this.marks.say();
  }

  #unread({ id, cursor, floor }) {
    return Math.max(0, (cursor ?? floor ?? 0) - Math.max(this.marks.readUpTo(id), 0));
  }

  // Nothing leaves before it is safe; what is safe leaves in order, since saving does. Whether it is safe.
  #flush() {
    const frames = this.connection.online ? this.outbox.transmit(Date.now()) : [];
    const saved = this.disk.save(this.changes.splice(0)).then(
      () => {
        if (frames.length) this.connection.send(frames);
        this.problem = "";
        return true;
      },
      (error) => {
        this.problem = `This browser cannot keep what is sent: ${error?.message ?? error}`;
        this.#show();
        return false;
      },
    );
    if (this.connection.online) {
      clearTimeout(this.timer);
      const at = this.outbox.resendAt();
      if (at !== null) this.timer = setTimeout(() => this.#flush(), Math.max(10, at - Date.now()));
    }
    return saved;
  }

  #answered(frame) {
    this.outbox.answered(this.store.contactOf(frame.conversation), frame.key, Date.now());
  }

  // One's own message, seen, is an answer, too.
  #own(frame) {
    if (frame.from === this.user) this.#answered(frame);
  }

  #handlers = {
    sent: (frame) => {
      this.#answered(frame);
      if (this.store.has(frame.key)) this.store.take({ ...frame, from: this.user });
      else this.store.heads({ [frame.conversation]: frame.seq }); // of an earlier life of this device: fetch what was said
    },
    refused: (frame) => {
      this.#answered(frame);
      this.store.mark(frame.key, "refused", REFUSALS[frame.code] ?? `code ${frame.code}`);
    },
    out_of_step: (frame) => {
      const keys = this.outbox.outOfStep(this.store.contactOf(frame.conversation), frame, Date.now());
      for (const key of keys) this.store.mark(key, "unknown");
    },
    message: (frame) => {
      this.#own(frame);
      this.presence.stopped(frame.from);
      this.store.take(frame);
    },
    page: (frame) => {
      for (const message of frame.messages) this.#own(message);
      if (!this.scrollBack.page(frame)) this.catchUp.page(frame);
    },
    heads: (frame) => {
      this.catchUp.heads(frame);
      this.marks.found(Object.keys(frame.heads));
    },
    presence: (frame) => this.presence.take(frame),
    presences: (frame) => this.presence.answer(frame),
    user_typing: (frame) => this.presence.wrote(frame),
    mark: (frame) => this.marks.take(frame),
    marks: (frame) => this.marks.answer(frame),
    resync: () => {
      this.catchUp.sync();
      this.presence.begin();
      this.#askMarks();
    },
    error: (frame) => {
      if (this.marks.error(frame) || this.presence.error(frame)) return;
      if (this.scrollBack.error(frame) || this.catchUp.error(frame)) return;
      for (const key of this.outbox.failed(frame, Date.now())) this.store.mark(key, "refused", frame.reason);
    },
  };
}
