// A device's queue of sends, as in the Python SDK: ordinals given at the first transmission, at most 64 unanswered per
// conversation, sent again from the oldest unanswered, rounds. Pure: time is an argument, in milliseconds.

export const WINDOW = 64;
const RESEND = 5000;
const MAX_RESEND = 60000;
const MAX_QUEUED = 1000;

class Lane {
  constructor(outbox) {
    Object.assign(this, { outbox, nextOrdinal: 1, open: [], waiting: [], round: 1, base: 1, transmitted: 0, resendAt: 0, patience: RESEND, turnedAway: false });
  }
}

export class Outbox {
  // newId() gives 32 random hex digits. `saved` { id, lanes, sends } is what an earlier outbox told its journal:
  // { send }, { lane } put, { finished: key } gone.
  constructor(newId, saved = null, journal = () => {}) {
    Object.assign(this, { newId, journal, id: saved?.id ?? newId(), lanes: new Map(), place: 0 });
    for (const { to, outbox, nextOrdinal, round } of saved?.lanes ?? []) {
      this.lanes.set(to, Object.assign(new Lane(outbox), { nextOrdinal, round }));
    }
    for (const { key, to, body, ordinal, place } of saved?.sends ?? []) {
      const lane = this.#lane(to);
      (ordinal ? lane.open : lane.waiting).push({ key, body, ordinal, place });
      this.place = Math.max(this.place, place);
    }
    this.reconnected();
  }

  // Sends without an answer: { key, to, body }.
  get unanswered() {
    return [...this.lanes].flatMap(([to, lane]) => [...lane.open, ...lane.waiting].map(({ key, body }) => ({ key, to, body })));
  }

  get size() {
    return [...this.lanes.values()].reduce((sum, lane) => sum + lane.open.length + lane.waiting.length, 0);
  }

  // Whether too many wait.
  get full() {
    return this.size >= MAX_QUEUED;
  }

  // Queues a message; false if too many wait.
  add(to, key, body) {
    if (this.full) return false;
    const queued = { key, body, ordinal: 0, place: ++this.place };
    this.#lane(to).waiting.push(queued);
    this.journal({ send: { to, ...queued } });
    return true;
  }

  // The frames that should go out now, in order.
  transmit(now) {
    const frames = [];
    for (const [to, lane] of this.lanes) {
      while (lane.waiting.length && lane.open.length < WINDOW) {
        const queued = lane.waiting.shift();
        queued.ordinal = lane.nextOrdinal++;
        lane.open.push(queued);
        this.journal({ send: { to, ...queued } });
        this.#changed(to, lane);
      }
      if (lane.open.length && lane.transmitted && now >= lane.resendAt) {
        lane.patience = Math.min(lane.patience * 2, MAX_RESEND);
        this.#again(to, lane);
      }
      if (lane.transmitted < lane.open.length) {
        if (!lane.transmitted) lane.resendAt = now + lane.patience;
        for (const { ordinal, key, body } of lane.open.slice(lane.transmitted)) {
          frames.push({ t: "send", to, outbox: lane.outbox, ordinal, key, round: lane.round, body });
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

  // When transmit will have something without being asked; null if never.
  resendAt() {
    const times = [...this.lanes.values()].filter((lane) => lane.open.length).map((lane) => lane.resendAt);
    return times.length ? Math.min(...times) : null;
  }

  // sent, refused, or one's own message seen: the keys that are done. The repeat of those behind it is put off.
  answered(to, key, now) {
    const lane = this.lanes.get(to);
    const index = lane ? lane.open.findIndex((queued) => queued.key === key) : -1;
    if (index < 0) return [];
    lane.open.splice(index, 1);
    this.journal({ finished: key });
    if (index < lane.transmitted) lane.transmitted--;
    lane.patience = RESEND;
    if (!lane.turnedAway) lane.resendAt = now + lane.patience;
    return [key];
  }

  // The keys whose fate the server no longer knows.
  outOfStep(to, frame, now) {
    const lane = this.lanes.get(to);
    if (!lane || frame.outbox !== lane.outbox || frame.round !== lane.round || !lane.open.length) return [];
    if (frame.reason !== "gap") return this.answered(to, frame.key, now);
    // whatever the server expects in this round is not below the oldest unanswered ordinal at its beginning
    if (frame.next < lane.base) return this.#beginAnew(to, lane);
    this.#again(to, lane);
    return [];
  }

  // Nothing was taken. The keys that will never be; if it may change, the lane goes again after a second.
  failed(frame, now) {
    const lane = this.lanes.get(frame.to);
    if (!lane || frame.outbox !== lane.outbox || !lane.open.length) return [];
    if (!frame.retry) return this.#beginAnew(frame.to, lane);
    lane.resendAt = Math.min(lane.resendAt, now + 1000);
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
    const keys = lane.open.map((queued) => queued.key);
    for (const key of keys) this.journal({ finished: key });
    Object.assign(lane, { open: [], outbox: this.newId(), nextOrdinal: 1, transmitted: 0, turnedAway: false, round: lane.round + 1, base: 1 });
    this.#changed(to, lane);
    return keys;
  }
}
