// The marks of both users of each conversation, as a device knows them, and the receipts it sends;
// marks.py of the Python SDK. Pure; times are milliseconds of any one clock.
//
// A receipt holds for all messages up to its seq. The device keeps the highest of each conversation
// and sends it once. It sends it again if the server's marks do not show it: a receipt of an
// earlier session may have been lost, or the server did not take it.

import { askAgain, earliest, LOST } from "./backoff.js";

const MARKED = 500; // conversations in one question

export class Marks {
  // jitter() from [0, 1); nextId() numbers questions; received, read: what an earlier life had
  constructor(jitter, nextId, received = {}, read = {}) {
    this.user = "";
    this.jitter = jitter;
    this.nextId = nextId;
    this.marks = new Map();
    this.toAsk = [];
    this.asked = null;
    this.askedAfter = new Set();
    this.failures = 0;
    this.refusals = 0;
    this.doubtAt = null;
    this.unsent = new Set();
    this.receivedUpTo = new Map(Object.entries(received));
    this.readUpTo = new Map(Object.entries(read));
  }

  // This device has shown all up to `seq`.
  received(conversation, seq) {
    this.#raise(this.receivedUpTo, conversation, seq);
  }

  // The person has read all up to `seq` here.
  read(conversation, seq) {
    this.#raise(this.readUpTo, conversation, seq);
  }

  // A message is shown, and all before it. A user who writes has read.
  shown({ conversation, seq, from }) {
    if (from === this.user) this.read(conversation, seq);
  }

  // The receipts to send now.
  receipts() {
    const frames = [];
    for (const conversation of this.unsent) {
      const read = this.readUpTo.get(conversation) ?? 0;
      const received = this.receivedUpTo.get(conversation) ?? 0;
      if (read) frames.push({ t: "read", conversation, seq: read });
      if (received > read) frames.push({ t: "received", conversation, seq: received });
    }
    this.unsent.clear();
    return frames;
  }

  // A new session, or pushes may have been missed: ask after these conversations.
  begin(conversations, now) {
    this.asked = null;
    this.doubtAt = null;
    this.toAsk = [];
    this.askedAfter = new Set();
    this.found(conversations, now);
  }

  // There are these conversations, too.
  found(conversations, now) {
    const fresh = conversations.filter((conversation) => !this.askedAfter.has(conversation));
    fresh.forEach((conversation) => this.askedAfter.add(conversation));
    this.toAsk.push(...stretches(fresh, now));
  }

  // What to ask now: one question at a time, null if nothing.
  question(now) {
    if (this.asked && this.asked.lostAt <= now) {
      this.toAsk.unshift({ at: now, conversations: this.asked.conversations });
      this.asked = null;
    }
    if (this.doubtAt !== null && this.doubtAt <= now) {
      this.doubtAt = null;
      const claimed = new Set([...this.receivedUpTo.keys(), ...this.readUpTo.keys()]);
      this.toAsk.unshift(...stretches(this.#notKnown([...claimed]), now));
    }
    if (this.asked || !this.toAsk.length || this.toAsk[0].at > now) return null;
    const { conversations } = this.toAsk.shift();
    this.asked = { id: this.nextId(), conversations, lostAt: now + LOST };
    return { t: "get_marks", id: this.asked.id, conversations };
  }

  // When to look for a question again, if no answer comes before.
  wakeAt() {
    return this.asked ? this.asked.lostAt : earliest([this.toAsk[0]?.at ?? null, this.doubtAt]);
  }

  // The answer to a question: the marks that are news. Receipts that the server does not know are
  // sent again.
  answer(frame, now) {
    const asked = this.#answered(frame.id);
    if (!asked) return [];
    if (frame.pending) this.#askLater(asked, now);
    else this.failures = 0;
    const news = frame.marks.filter((mark) => this.accept(mark));
    const notKnown = this.#notKnown(asked);
    notKnown.forEach((conversation) => this.unsent.add(conversation));
    if (!notKnown.length) this.refusals = 0;
    return news;
  }

  // Whether the error is about marks. An error that names no command is of a receipt that the
  // server did not take: the device finds out which by asking for its marks, in a while.
  error(frame, now) {
    if (frame.retry && frame.id === undefined && frame.to === undefined) {
      this.doubtAt ??= now + askAgain(this.refusals++, this.jitter());
      return true;
    }
    const asked = this.#answered(frame.id);
    if (asked && frame.retry) this.#askLater(asked, now);
    return Boolean(asked);
  }

  // A mark has come, pushed or in an answer; whether it is news.
  accept(mark) {
    const known = this.mark(mark.conversation, mark.user);
    if (mark.received <= known.received && mark.read <= known.read && this.marks.has(nameOf(mark))) return false;
    const received = mark.received > known.received ? mark : known;
    const read = mark.read > known.read ? mark : known;
    this.marks.set(nameOf(mark), {
      conversation: mark.conversation, user: mark.user,
      received: received.received, received_at: received.received_at, read: read.read, read_at: read.read_at,
    });
    return true;
  }

  // What a user has received and read of a conversation, as far as is known.
  mark(conversation, user) {
    const none = { conversation, user, received: 0, received_at: 0, read: 0, read_at: 0 };
    return this.marks.get(nameOf(none)) ?? none;
  }

  // What this user has read, here or elsewhere.
  readHere(conversation) {
    return Math.max(this.readUpTo.get(conversation) ?? 0, this.mark(conversation, this.user).read);
  }

  #raise(claims, conversation, seq) {
    if (seq <= (claims.get(conversation) ?? 0)) return;
    claims.set(conversation, seq);
    this.unsent.add(conversation);
  }

  // Those of which this device has sent more than the server's marks show.
  #notKnown(conversations) {
    return conversations.filter((conversation) => {
      const mine = this.mark(conversation, this.user);
      const received = this.receivedUpTo.get(conversation) ?? 0;
      return received > mine.received || (this.readUpTo.get(conversation) ?? 0) > mine.read;
    });
  }

  #answered(id) {
    if (!this.asked || this.asked.id !== id) return null;
    const { conversations } = this.asked;
    this.asked = null;
    return conversations;
  }

  #askLater(conversations, now) {
    this.toAsk.push({ at: now + askAgain(this.failures++, this.jitter()), conversations });
  }
}

const nameOf = ({ conversation, user }) => `${conversation} ${user}`;

function stretches(conversations, at) {
  const names = [...conversations].sort();
  const cut = [];
  for (let start = 0; start < names.length; start += MARKED) {
    cut.push({ at, conversations: names.slice(start, start + MARKED) });
  }
  return cut;
}
