// A device's queue of sends; outbox.py of the Python SDK: ordinals given at the first transmission,
// at most 64 unanswered per conversation, sent again from the oldest unanswered, rounds. Pure;
// times are milliseconds of any one clock.

import { earliest } from "./backoff.js";

export const WINDOW = 64;
const RESEND = 5000;
const MAX_RESEND = 60000;
const MAX_QUEUED = 1000;

class Lane {
  constructor(outbox) {
    // base: the oldest unanswered ordinal when this round began; transmitted: how many of `open`
    // were in it
    this.outbox = outbox;
    this.nextOrdinal = 1;
    this.open = [];
    this.waiting = [];
    this.round = 1;
    this.base = 1;
    this.transmitted = 0;
    this.resendAt = 0;
    this.patience = RESEND;
    this.turnedAway = false;
  }
}

export class Outbox {
  // newId() gives 32 random hex digits. `stored` { outbox, lanes, sends } is what an earlier outbox
  // gave to its journal: { send }, { lane } put, { finished: key } gone. It must be saved before
  // the frames that `transmit` gives leave the device.
  constructor(newId, stored = {}, journal = (change) => {}) {
    this.newId = newId;
    this.journal = journal;
    this.id = stored.outbox || newId();
    this.lanes = new Map();
    this.place = 0;
    for (const { to, outbox, nextOrdinal, round } of stored.lanes ?? []) {
      this.lanes.set(to, Object.assign(new Lane(outbox), { nextOrdinal, round }));
    }
    for (const { key, to, body, ordinal, place, changes = 0 } of stored.sends ?? []) {
      const lane = this.#lane(to);
      (ordinal ? lane.open : lane.waiting).push({ key, body, ordinal, place, changes });
      this.place = Math.max(this.place, place);
    }
    this.reconnected();
  }

  // Sends without an answer: { key, to, body, changes }.
  get unanswered() {
    const ofLane = ([to, { open, waiting }]) => [...open, ...waiting].map((queued) => ended(to, queued));
    return [...this.lanes].flatMap(ofLane);
  }

  get size() {
    return [...this.lanes.values()].reduce((sum, lane) => sum + lane.open.length + lane.waiting.length, 0);
  }

  // Whether too many wait.
  get full() {
    return this.size >= MAX_QUEUED;
  }

  // Queues a message, or with `changes` a new text for that message (empty: it is deleted); false
  // if too many wait.
  add(to, key, body, changes = 0) {
    if (this.full) return false;
    const queued = { key, body, ordinal: 0, place: ++this.place, changes };
    this.#lane(to).waiting.push(queued);
    this.journal({ send: { to, ...queued } });
    return true;
  }

  // The frames that should go out now, in order.
  transmit(now) {
    const frames = [];
    for (const [to, lane] of this.lanes) {
      const known = lane.open.length;
      while (lane.waiting.length && lane.open.length < WINDOW) {
        const queued = lane.waiting.shift();
        queued.ordinal = lane.nextOrdinal++;
        lane.open.push(queued);
        this.journal({ send: { to, ...queued } });
      }
      if (lane.open.length > known) this.#changed(to, lane);
      if (lane.open.length && lane.transmitted && now >= lane.resendAt) {
        lane.patience = Math.min(lane.patience * 2, MAX_RESEND);
        this.#again(to, lane);
      }
      if (lane.transmitted < lane.open.length) {
        if (!lane.transmitted) lane.resendAt = now + lane.patience;
        for (const { ordinal, key, body, changes } of lane.open.slice(lane.transmitted)) {
          const head = { to, outbox: lane.outbox, ordinal, key, round: lane.round };
          if (!changes) frames.push({ t: "send", ...head, body });
          else if (body) frames.push({ t: "edit", ...head, seq: changes, body });
          else frames.push({ t: "delete", ...head, seq: changes });
        }
        lane.transmitted = lane.open.length;
      }
    }
    return frames;
  }

  reconnected() {
    for (const [to, lane] of this.lanes) {
      if (lane.open.length) {
        lane.patience = RESEND;
        this.#again(to, lane);
      }
    }
  }

  // When transmit will have something if nothing happens before; null if never.
  wakeAt() {
    return earliest([...this.lanes.values()].filter((lane) => lane.open.length).map((lane) => lane.resendAt));
  }

  // sent, refused, or the user's own message seen: the send that ends, [{ key, to, body, changes }]
  // or [].
  // The repeat of those behind it is put off.
  answered(to, key, now) {
    const lane = this.lanes.get(to);
    const index = lane ? lane.open.findIndex((queued) => queued.key === key) : -1;
    if (index < 0) return [];
    const [queued] = lane.open.splice(index, 1);
    this.journal({ finished: key });
    if (index < lane.transmitted) lane.transmitted--;
    lane.patience = RESEND;
    if (!lane.turnedAway) lane.resendAt = now + lane.patience;
    return [ended(to, queued)];
  }

  // The sends whose fate the server no longer knows.
  outOfStep(to, frame, now) {
    const lane = this.lanes.get(to);
    if (!lane || frame.outbox !== lane.outbox || frame.round !== lane.round || !lane.open.length) return [];
    if (frame.reason !== "gap") return this.answered(to, frame.key, now);
    // whatever the server expects in this round is not below the oldest unanswered ordinal at its
    // beginning
    if (frame.next < lane.base) return this.#beginAnew(to, lane);
    this.#again(to, lane);
    return [];
  }

  // Nothing was taken. The sends that will never be; if it may change, the lane goes again after a
  // second, or later if the gateway says so.
  failed(frame, now) {
    const lane = this.lanes.get(frame.to);
    if (!lane || frame.outbox !== lane.outbox || !lane.open.length) return [];
    if (!frame.retry) return this.#beginAnew(frame.to, lane);
    lane.resendAt = Math.min(lane.resendAt, now + Math.max(1000, frame.retry_after ?? 0));
    lane.turnedAway = true;
    return [];
  }

  #lane(to) {
    if (!this.lanes.has(to)) this.lanes.set(to, new Lane(this.id));
    return this.lanes.get(to);
  }

  #changed(to, { outbox, nextOrdinal, round }) {
    this.journal({ lane: { to, outbox, nextOrdinal, round } });
  }

  #again(to, lane) {
    lane.round++;
    this.#changed(to, lane);
    lane.base = lane.open[0].ordinal;
    lane.transmitted = 0;
    lane.turnedAway = false;
  }

  #beginAnew(to, lane) {
    const sends = lane.open.map((queued) => ended(to, queued));
    for (const { key } of sends) this.journal({ finished: key });
    Object.assign(lane, { open: [], outbox: this.newId(), nextOrdinal: 1, transmitted: 0, turnedAway: false });
    Object.assign(lane, { round: lane.round + 1, base: 1 });
    this.#changed(to, lane);
    return sends;
  }
}

const ended = (to, { key, body, changes }) => ({ key, to, body, ...(changes && { changes }) });
