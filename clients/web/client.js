// The device of a user in this browser: the shell around device.js. It moves frames between the
// connection and the device, keeps the outbox on disk, and makes pictures of what a tab shows. It
// knows no page: what a person does comes by methods.

import { earliest } from "./backoff.js";
import { Connection } from "./connection.js";
import { Device } from "./device.js";
import { Finder } from "./finder.js";
import { newDeviceId, newId } from "./ids.js";
import { Keeper } from "./keeper.js";
import { openOutbox } from "./outboxdb.js";
import { pictureOf, standingOf } from "./pictures.js";
import { Presence } from "./presence.js";
import { openShown } from "./showndb.js";
import { Store } from "./store.js";

const REFUSALS = { 110: "empty", 111: "too long", 112: "not text", 132: "not taken by this person", 151: "it is too old", 152: "it is not there", 153: "it is deleted" };
const LOGGED_OUT = 4505;
const TOKEN_ENDED = [4007, 4500, 4506]; // a fresh token may change that
const FORGOTTEN = [LOGGED_OUT, 4506]; // after these nothing that was said stays here
const CLOSES = {
  4500: "please log in again",
  4501: "please reload the page",
  4506: "please log in again",
  4502: "opened elsewhere with the same device",
  [LOGGED_OUT]: "logged out",
};
const PATIENCE = 2000; // ms that a log-out waits for the server
const RECENT = 100; // messages of before this page that are shown when a conversation is opened
const PAGE = 100; // messages, of a page of older ones
const LISTED = 30; // conversations whose last message is asked for at the start
const SAVE_AGAIN = 1000; // ms, after the disk did not take what was to be saved

// The gateway is where these files come from, whatever path the page has. (In node they come from
// the disk; there `location` is said by whoever runs them.)
const base = () => (import.meta.url.startsWith("file:") ? location.href : import.meta.url);

// outbox: its name on disk, null where it cannot be kept; on: changed() when there is something new
// to show, loggedOut(), tokenWanted()
export async function openClient(user, token, outbox, on) {
  const nothing = { shown: { log: "", conversations: [] }, keep: async () => {}, forget: async () => {} };
  const nowhere = { device: newDeviceId(), stored: {}, save: async () => {} };
  const kept = await openShown(user).catch(() => nothing);
  return new Client(user, token, outbox ? await openOutbox(outbox) : nowhere, kept, on);
}

export class Client {
  // connect(address, token, device, handlers) makes a Connection
  constructor(user, token, disk, kept, on, connect = (...parts) => new Connection(...parts)) {
    this.user = user;
    this.disk = disk;
    this.on = on;
    this.state = "connecting";
    this.reason = "";
    this.problem = "";
    this.noting = false;
    this.wanted = false;
    this.foretold = false;
    this.device = new Device(user, disk.stored, { jitter: Math.random, newId, recent: RECENT });
    this.store = new Store(user);
    this.keeper = new Keeper(this.store, kept, (conversation) => standingOf(this, conversation));
    this.presence = new Presence();
    this.watched = "";
    this.older = new Map(); // question → { contact, before }, whose messages below which number
    this.finder = new Finder(this.store, (contact) => this.#askOlder(contact));
    this.unsaved = []; // changes that are not on disk yet, in order
    this.unsent = []; // sends that wait for them, of this session
    this.savers = []; // called when they are
    this.saving = false;
    this.session = 0; // how many have ended
    this.timer = null;
    for (const { key, to, body, changes } of this.device.outbox.unanswered) {
      if (!changes) this.store.queue(to, key, body);
    }
    const address = new URL("v1/socket", base());
    address.protocol = address.protocol.replace("http", "ws");
    this.connection = connect(address, token, disk.device, {
      state: (state, code) => this.#connected(state, code),
      frame: (frame) => this.#received(frame),
    });
  }

  // What a tab shows that has the conversation with `contact` open (null: none), from the message
  // `from` on (see Store.window).
  picture(contact, from) {
    return pictureOf(this, contact, from, Date.now());
  }

  // A tab has this conversation open; a person has seen it there up to `read`, and wants `older`
  // messages.
  look(contact, read, older) {
    const begun = !this.store.conversations.has(contact);
    const { id, old } = this.store.look(contact, Date.now());
    const unread = this.device.inbox.unread(id);
    this.device.recall(id);
    // a tab may have read in a numbering of messages that is no more; of what an earlier life has
    // kept nobody knows yet whether it is of this one
    if (!old) this.device.read(id, Math.min(read, this.store.newest(contact)));
    if (older) this.#askOlder(contact);
    if (begun || this.device.inbox.unread(id) !== unread) this.#show();
    this.#write();
  }

  // Resolves when the message is safe: on disk, or, if there are too many, shown as refused. The
  // same key may come again.
  async queue(contact, key, body) {
    if (!this.store.has(key)) {
      const queued = this.device.submit(contact, key, body);
      this.store.queue(contact, key, body);
      if (!queued) this.store.failed(key, "refused", "too many messages wait");
      this.#show();
    }
    await this.#saved();
  }

  // Likewise a new text for message `seq`; an empty one deletes it.
  async change(contact, key, seq, body) {
    const queued = this.device.outbox.unanswered.some((send) => send.key === key);
    if (!queued && !this.device.change(contact, key, seq, body)) {
      this.store.unchanged(contact, seq, "too many messages wait");
      this.#show();
    }
    await this.#saved();
  }

  #saved() {
    return new Promise((saved) => {
      this.savers.push(saved);
      this.#write();
    });
  }

  typing(contact) {
    this.device.typing(this.store.open(contact).id, performance.now());
    this.#write();
  }

  // See Device.decide.
  decide(contact, kind, is) {
    this.device.decide(kind, contact, is, performance.now());
    this.#write();
  }

  // See Finder.find.
  find(asker, wanted, answer) {
    this.finder.find(asker, wanted, answer);
    this.#write();
  }

  // A tab has logged in, or brings the fresh token that was wanted.
  renew(token) {
    this.connection.renew(token);
    if (!this.wanted || this.state !== "online") return;
    this.wanted = false;
    this.device.renew(token);
    this.#write();
  }

  // Of several tokens that are refused in a row only the first is replaced.
  #want() {
    if (this.wanted) return;
    this.wanted = true;
    this.on.tokenWanted();
  }

  async logOut() {
    const { token, device } = this.connection;
    const asked = { method: "DELETE", headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(PATIENCE) };
    // whoever has no network is logged out here all the same
    await fetch(new URL(`v1/devices/${device}`, base()), asked).catch(() => {});
    this.connection.stop(LOGGED_OUT);
  }

  #connected(state, code) {
    if (this.state === "online" || state === "online") this.wanted = false;
    this.state = state;
    this.reason = state === "stopped" ? CLOSES[code] ?? `code ${code}` : "";
    if (state !== "online") {
      this.device.disconnected();
      this.session++;
      this.unsent = [];
    }
    if (TOKEN_ENDED.includes(code)) this.#want();
    if (state === "online" && !this.foretold) this.#foretell();
    if (state === "online") this.device.followPeople(performance.now());
    if (FORGOTTEN.includes(code)) this.keeper.forget().then(() => code === LOGGED_OUT && this.on.loggedOut());
    this.#show();
  }

  #received(frame) {
    const log = this.device.inbox.log || this.keeper.log;
    const events = this.device.receive(frame, performance.now());
    if (log && log !== this.device.inbox.log) {
      this.store.forget();
      this.older.clear();
      this.#foretell();
    }
    // only with people one has talked to there is a conversation to show
    for (const conversation of Object.keys(frame.heads ?? {})) this.store.open(this.store.contactOf(conversation));
    for (const event of events) this.#handlers[event.event]?.(event);
    this.#show();
    this.#write();
  }

  // The last message of each conversation, for the list. Where they are not to be had, the list
  // does without, until the next session.
  async #foretell() {
    this.foretold = true;
    const headers = { Authorization: `Bearer ${this.connection.token}` };
    try {
      const answer = await fetch(new URL(`v1/conversations?limit=${LISTED}`, base()), { headers });
      if (!answer.ok) throw new Error(answer.statusText);
      for (const { last } of (await answer.json()).conversations) if (last) this.store.foretell(last);
      this.#show();
    } catch {
      this.foretold = false;
    }
  }

  #askOlder(contact) {
    const { id: conversation } = this.store.open(contact);
    const before = this.store.oldest(contact);
    if (!this.store.goesBack(contact) || [...this.older.values()].some((asked) => asked.contact === contact)) return;
    this.older.set(this.device.ask({ conversation, before, limit: PAGE }), { contact, before });
  }

  // However many frames come at once, they are noted and shown once.
  #show() {
    if (this.noting) return;
    this.noting = true;
    queueMicrotask(() => {
      this.noting = false;
      this.#watch();
      if (this.state === "online") this.keeper.changed(this.device.inbox.log);
      this.on.changed();
    });
  }

  // Watch the people one has talked to, the last ones if they are many.
  #watch() {
    const cursors = this.device.inbox.timelines.cursors();
    const users = this.store.list().filter(({ id }) => cursors.get(id)).slice(0, 200).map(({ contact }) => contact);
    const watched = [...users].sort().join(" ");
    if (watched === this.watched) return;
    this.watched = watched;
    this.device.watch(users, performance.now());
    this.#write();
  }

  // Sends what is due. A `send` waits until what it rests on is on disk, in order; while the disk
  // takes nothing, none leaves.
  #write() {
    const due = this.device.due(performance.now());
    this.connection.send(due.filter(({ t }) => t !== "send"));
    this.unsent.push(...due.filter(({ t }) => t === "send"));
    this.unsaved.push(...this.device.changes());
    if (!this.saving) this.#save();
    this.#setTimer();
  }

  async #save() {
    this.saving = true;
    while (this.unsaved.length || this.unsent.length || this.savers.length) {
      const { session } = this;
      const [changes, sends, savers] = [[...this.unsaved], this.unsent.splice(0), this.savers.splice(0)];
      try {
        if (changes.length) await this.disk.save(changes);
      } catch (error) {
        this.problem = `This browser cannot keep what is sent: ${error?.message ?? error}`;
        this.#show();
        await new Promise((wait) => setTimeout(wait, SAVE_AGAIN));
        if (session === this.session) this.unsent.unshift(...sends);
        this.savers.unshift(...savers);
        continue;
      }
      this.unsaved.splice(0, changes.length);
      if (this.problem) {
        this.problem = "";
        this.#show();
      }
      savers.forEach((saved) => saved());
      if (session === this.session) this.connection.send(sends);
    }
    this.saving = false;
  }

  #setTimer() {
    clearTimeout(this.timer);
    const at = earliest([this.device.wakeAt(), this.presence.wakeAt()]);
    if (at !== null) this.timer = setTimeout(() => this.#passed(), Math.max(10, at - performance.now()));
  }

  #passed() {
    if (this.presence.passed(performance.now())) this.#show();
    this.#write();
  }

  #handlers = {
    // what is here to be shown was received, whether or not a tab shows it now
    message: (event) => {
      this.device.shown(event);
      this.presence.stopped(event.from);
      this.store.place(event);
    },
    sent: (event) => this.store.sent(event),
    failed: ({ key, to, changes, code, reason }) => {
      if (changes) this.store.unchanged(to, changes, REFUSALS[code] ?? "nobody knows whether it was");
      else if (code === undefined) this.store.failed(key, "unknown");
      else this.store.failed(key, "refused", REFUSALS[code] ?? `code ${code}`);
    },
    token_expires: () => this.#want(),
    marks: ({ conversation }) => this.store.dirty.add(this.store.contactOf(conversation)),
    typing: ({ user }) => this.presence.wrote(user, performance.now()),
    history: ({ id, messages, first }) => {
      const { contact, before } = this.older.get(id) ?? {};
      this.older.delete(id);
      if (contact && before === this.store.oldest(contact)) this.store.older(contact, messages ?? [], messages ? first : true);
      this.finder.goOn();
    },
  };
}
