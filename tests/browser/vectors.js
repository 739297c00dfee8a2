// Plays a vector of clients/vectors (see its README) on the page's device; tests/sdk/vectors.py
// does the same in Python.

// The first step that gives something else than the vector says, null if none does.
export function play(Device, vector) {
  let ids = 0, now = 0;
  const newId = () => (++ids).toString(16).padStart(32, "0");
  const device = new Device("alice", stored(vector.stored), { jitter: () => 0.5, newId });
  const unshown = [];
  for (const [number, step] of vector.steps.entries()) {
    now = step.at ?? now;
    const events = expand(step).flatMap((frame) => device.receive(frame, now));
    command(device, step, now, newId);
    unshown.push(...events.filter(({ event }) => event === "message"));
    const seen = step.shown ?? (vector.slow ? 0 : unshown.length);
    unshown.splice(0, seen).forEach((message) => device.shown(message));
    const frames = device.due(now);
    const got = { frames: plain(frames), wake_at: device.wakeAt() };
    const wanted = { frames: plain(step.frames ?? []), wake_at: step.wake_at };
    if ("shows" in step) {
      got.shows = [events[0].seq, events.at(-1).seq, events.length];
      wanted.shows = [...step.shows, step.shows[1] - step.shows[0] + 1];
    } else {
      got.events = plain(events);
      wanted.events = plain(step.events ?? []);
    }
    if (sorted(got) !== sorted(wanted)) return { step: number, got, wanted };
  }
  return null;
}

function stored({ lanes = [], sends = [], ...rest } = {}) {
  return {
    ...rest,
    lanes: lanes.map(([to, outbox, nextOrdinal, round]) => ({ to, outbox, nextOrdinal, round })),
    sends: sends.map(([key, to, body, ordinal], place) => ({ key, to, body, ordinal, place })),
  };
}

function expand({ receive, seqs }) {
  if (!receive) return [];
  if (!seqs) return [receive];
  return Array.from({ length: seqs[1] - seqs[0] + 1 }, (_, index) => ({ ...receive, seq: seqs[0] + index }));
}

function command(device, step, now, newId) {
  if (step.disconnect) device.disconnected();
  if (step.submit) device.submit(step.submit.to, newId(), step.submit.body);
  if (step.change) device.change(step.change.to, newId(), step.change.seq, step.change.body);
  if (step.read) device.read(step.read.conversation, step.read.seq);
  if (step.watch) device.watch(step.watch, now);
  if (step.typing) device.typing(step.typing, now);
  if (step.renew) device.renew(step.renew);
  if (step.block) device.decide("blocked", step.block, true, now);
  if (step.unblock) device.decide("blocked", step.unblock, false, now);
  if (step.contact) device.decide("contact", step.contact, step.is ?? true, now);
  if (step.decline) device.decide("declined", step.decline, true, now);
  if (step.privacy) device.setPrivacy(step.privacy, step.reads, now);
  if (step.follow_people) device.followPeople(now);
  if (step.history) device.ask(step.history);
}

// Without what has its default value, as frames are sent.
function plain(values) {
  return values.map((value) => {
    const { missing, erased, changes, version, first, t, messages, request, ...rest } = value;
    const shown = { ...(missing && { missing }), ...(erased && { erased }), ...(changes && { changes }) };
    const kept = { ...(t && { t }), ...shown, ...(first && { first }), ...(version && { version }), ...(request && { request }) };
    if (!messages) return { ...rest, ...kept };
    return { ...rest, ...kept, messages: plain(messages) };
  });
}

const sorted = (value) => JSON.stringify(value, (_, part) =>
  part && typeof part === "object" && !Array.isArray(part)
    ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
    : part);
