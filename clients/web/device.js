// One device of a user, as a pure object: frames and commands in, events and frames out; device.py
// of the Python SDK, and held by the same vectors (clients/vectors). It knows no socket, no clock
// and no disk. Whoever drives it (client.js, a test)
//
// - gives it each frame of the server (`receive`) and says when a session has ended
//   (`disconnected`),
// - sends what `due` gives, now and again at `wakeAt`; before the frames leave, the `changes` that
//   the device made until then have to be saved,
// - says when a message event has been seen (`shown`).
//
// Times are milliseconds of any one clock. Events: message, sent, failed, marks, presence, person,
// privacy, decided, typing, history, token_expires.

import { earliest } from "./backoff.js";
import { CATCHING_UP } from "./catchup.js";
import { AT_ONCE, History, LookUps } from "./history.js";
import { Inbox } from "./inbox.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { WatchList } from "./watchlist.js";

const TYPING = 3000; // from one `typing` frame of a conversation to the next

export class Device {
  // stored: { outbox, lanes, sends, log, begun, shown, received, read } of an earlier life;
  // jitter() from [0, 1); newId() gives 32 random hex digits; recent: how many messages of before
  // the device began are shown
  constructor(user, stored, { jitter, newId, recent = 0 }) {
    let questions = 1;
    const nextId = () => ++questions;
    this.user = user;
    this.online = false;
    this.made = [];
    this.typed = new Map();
    this.writes = [];
    this.parts = { jitter, nextId, recent };
    this.outbox = new Outbox(newId, stored, (change) => void this.made.push(change));
    this.history = new History(jitter, nextId);
    this.lookUps = new LookUps(this.history);
    this.watchList = new WatchList(jitter, nextId);
    this.people = new People(jitter, nextId);
    this.inbox = new Inbox(user, stored, this.parts);
  }

  // A frame has come. What happened because of it, in order.
  receive(frame, now) {
    return this.#handlers[frame.t]?.(frame, now) ?? [];
  }

  // The session has ended. After the next welcome the device sends and asks again for everything
  // that has no answer.
  disconnected() {
    this.online = false;
    this.writes = [];
  }

  // The frames to send now, in order; none while there is no session.
  due(now) {
    if (!this.online) return [];
    const { catchUp, marks, room } = this.inbox;
    const frames = [...this.outbox.transmit(now), ...marks.receipts()];
    frames.push(...[marks.question(now), this.watchList.question(now)].filter(Boolean));
    frames.push(...this.people.questions(now));
    frames.push(...this.history.questions(now, Math.min(AT_ONCE, CATCHING_UP - catchUp.underWay)));
    frames.push(...catchUp.questions(now, CATCHING_UP - this.history.underWay, room));
    return [...frames, ...this.writes.splice(0)];
  }

  // When something will be due if nothing happens before; null if never.
  wakeAt() {
    const { catchUp, marks } = this.inbox;
    const parts = [this.outbox, catchUp, marks, this.watchList, this.people, this.history];
    return this.online ? earliest(parts.map((part) => part.wakeAt())) : null;
  }

  // What was changed since this was last called. To be saved before frames that `due` gave leave.
  changes() {
    return this.made.splice(0);
  }

  // Queues a message; false if too many wait. A `sent` or `failed` with the key is its result.
  submit(to, key, body) {
    return this.outbox.add(to, key, body);
  }

  // Queues a new text for message `seq` that this user has sent to `to`; an empty one deletes it
  // for everybody.
  change(to, key, seq, body) {
    return this.outbox.add(to, key, body, seq);
  }

  // Asks for messages { conversation, before, after, limit }; the id of the `history` event that
  // answers.
  ask(question) {
    return this.history.ask(question);
  }

  // A message event has been seen, and all before it.
  shown(message) {
    this.inbox.shown(message);
  }

  // The person has read all up to `seq`.
  read(conversation, seq) {
    this.inbox.marks.read(conversation, seq);
  }

  // Tell of the presence of these users, the first 200 of them, and of no others.
  watch(users, now) {
    this.watchList.set(users, now);
  }

  // Block a user (kind "blocked"), or have them as a contact ("contact"); or do so no more. Or decline
  // their request ("declined"). A `decided` is the result.
  decide(kind, user, is, now) {
    this.people.decide(kind, user, is, now);
  }

  // Who sees whether this user is there ("everyone", "contacts" or "nobody"), and whether others
  // see what they have read.
  setPrivacy(presence, reads, now) {
    this.people.setPrivacy(presence, reads, now);
  }

  // Keep what this user has decided about others in step with all devices.
  followPeople(now) {
    this.people.follow(now);
  }

  // The person is writing. At most one frame in TYPING says so.
  typing(conversation, now) {
    if (!this.online || now - (this.typed.get(conversation) ?? -TYPING) < TYPING) return;
    this.typed.set(conversation, now);
    this.writes.push({ t: "typing", conversation });
  }

  // A fresh token for this session, of the same user; the next `hello` has one of its own.
  renew(token) {
    if (this.online) this.writes.push({ t: "renew", id: this.parts.nextId(), token });
  }

  // Show the last messages of a conversation of which nothing was shown yet.
  recall(conversation) {
    this.inbox.timelines.recall(conversation);
  }

  #resync(now) {
    this.inbox.resync(now);
    this.watchList.begin(now);
    this.people.begin(now);
  }

  #other(conversation) {
    const [first, second] = conversation.split(":");
    return first === this.user ? second : first;
  }

  #answered({ conversation, key }, now) {
    return this.outbox.answered(this.#other(conversation), key, now);
  }

  // The user's own message, seen with its key, is an answer to its send, too.
  #ownSeen(message, now) {
    if (message.from !== this.user) return [];
    const { conversation, seq, time } = message;
    return this.#answered(message, now).map(({ key }) => ({ event: "sent", key, conversation, seq, time }));
  }

  #historyEnded(ended) {
    const lookedUp = this.lookUps.answer(ended, this.user);
    if (lookedUp === true) return [];
    return [lookedUp || ended];
  }

  #handlers = {
    welcome: ({ log }, now) => {
      if (this.inbox.log && this.inbox.log !== log) this.inbox = new Inbox(this.user, {}, this.parts);
      this.inbox.log = log;
      this.online = true;
      this.outbox.reconnected();
      this.history.begin();
      this.inbox.begin(now);
      this.watchList.begin(now);
      this.people.begin(now);
    },
    resync: (_, now) => this.#resync(now),
    message: (frame, now) => [...this.#ownSeen(frame, now), ...this.inbox.message(frame)],
    sent: (frame, now) => {
      const { conversation, seq, key, time } = frame;
      const [send] = this.#answered(frame, now);
      // answered already, or of an earlier life, to which nobody pushes the message
      if (!send) return this.inbox.goesOn(conversation, seq);
      const { body, changes } = send;
      const change = changes && { changes, version: seq, erased: !body };
      const own = { conversation, seq, from: this.user, key, time, body, ...change };
      return [{ event: "sent", key, conversation, seq, time }, ...this.inbox.message(own)];
    },
    refused: (frame, now) => this.#answered(frame, now).map((send) => ({ event: "failed", ...send, code: frame.code })),
    out_of_step: (frame, now) => {
      const reason = frame.reason === "gap" ? "forgotten" : frame.reason;
      for (const send of this.outbox.outOfStep(this.#other(frame.conversation), frame, now)) {
        this.lookUps.begin({ event: "failed", ...send, reason }, frame.conversation);
      }
      return [];
    },
    heads: (frame, now) => this.inbox.heads(frame, now),
    page: (frame, now) => {
      const own = frame.messages.flatMap((message) => this.#ownSeen(message, now));
      const ended = this.history.answer(frame);
      return [...own, ...(ended ? this.#historyEnded(ended) : this.inbox.page(frame, now))];
    },
    error: (frame, now) => {
      if (this.inbox.marks.error(frame, now) || this.watchList.error(frame, now)) return [];
      const decided = this.people.error(frame, now);
      if (decided) return decided;
      const ended = this.history.error(frame, now);
      if (ended) return ended === true ? [] : this.#historyEnded(ended);
      const news = this.inbox.gone(frame, now);
      if (news) return news;
      return this.outbox.failed(frame, now).map((send) => ({ event: "failed", ...send, code: frame.code }));
    },
    presence: (frame) => changed(this.watchList.accept(frame) ? [frame] : []),
    presences: (frame, now) => changed(this.watchList.answer(frame, now)),
    token_expires: ({ expires }) => [{ event: "token_expires", expires }],
    person: (frame, now) => this.people.decided(frame, now),
    privacy: (frame, now) => this.people.decided(frame, now),
    people: (frame, now) => this.people.answer(frame, now),
    user_typing: ({ conversation, user }) => {
      const { blocked, request } = this.people.people.get(user) ?? {};
      return blocked || request ? [] : [{ event: "typing", conversation, user }];
    },
    mark: (frame) => this.inbox.marksChanged(this.inbox.marks.accept(frame) ? [frame] : []),
    marks: (frame, now) => this.inbox.marksChanged(this.inbox.marks.answer(frame, now)),
  };
}

const changed = (news) => news.map(({ user, online, last_seen }) => ({ event: "presence", user, online, last_seen }));
