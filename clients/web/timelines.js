// What a device has shown of each conversation, and what it still has to ask for; timelines.py of
// the Python SDK. Pure.
//
// A device shows each conversation as 1, 2, 3 …: it buffers a message that comes early until those
// before it have come. What there was before the device began is history: a conversation that
// existed then begins at the first message seen, or after the head it had, less `recent`; one that
// did not begins at 1.

const BUFFERED = 200; // early messages that are buffered of one conversation; those beyond come again in pages
const BUFFERED_IN_ALL = 2000;
const SYNC_CONVERSATIONS = 1000;

class Timeline {
  constructor(cursor) {
    // the last seq shown, or that counts as shown; the last that is history; the last known to
    // exist
    this.cursor = cursor;
    this.floor = cursor;
    this.head = cursor;
    this.buffered = new Map();
    this.missing = 0;
  }
}

export class Timelines {
  // shown: conversation → cursor, of a device that goes on; begun: it had its first heads before
  constructor(shown = {}, begun = false, recent = 0) {
    this.lines = new Map(Object.entries(shown).map(([name, cursor]) => [name, new Timeline(cursor)]));
    this.recent = recent;
    this.behind = new Set(); // conversations known to go on after their cursor
    this.floors = new Map(); // by the first heads: what counts as shown of conversations of which nothing was shown
    this.buffered = 0;
    this.begun = begun; // the first heads have all come
  }

  // conversation → last seq shown, or that counts as shown.
  cursors() {
    return new Map([...this.floors, ...[...this.lines].map(([name, { cursor }]) => /** @type {const} */ ([name, cursor]))]);
  }

  // The last seq known to exist.
  head(conversation) {
    return this.lines.get(conversation)?.head ?? this.floors.get(conversation) ?? 0;
  }

  // The cursor, 0 if nothing was shown.
  after(conversation) {
    return this.lines.get(conversation)?.cursor ?? 0;
  }

  // Show the last messages of a conversation of which nothing was shown yet.
  recall(conversation) {
    const floor = this.floors.get(conversation);
    if (floor) this.#goOn(conversation, this.#begin(conversation, floor, floor));
  }

  // A message has come, pushed or in a page. What can be shown now, in order: { message, missing }.
  // Without `room` the message is dropped: only that it exists is remembered, so a page brings it.
  accept(message, room = true) {
    const { conversation, seq } = message;
    let line = this.lines.get(conversation);
    if (!line) {
      const floor = this.floors.get(conversation) ?? (this.begun ? 0 : seq);
      line = this.#begin(conversation, Math.min(floor, seq - 1), floor);
    }
    if (seq <= line.cursor) return [];
    line.head = Math.max(line.head, seq);
    if (room && (seq === line.cursor + 1 || this.#mayBuffer(line, seq))) {
      if (!line.buffered.has(seq)) this.buffered++;
      line.buffered.set(seq, message);
    }
    return this.#goOn(conversation, line);
  }

  // The server has said up to which seq these conversations go.
  heads(heads) {
    for (const [conversation, head] of Object.entries(heads)) {
      let line = this.lines.get(conversation);
      if (!line && !this.begun) {
        this.floors.set(conversation, head);
        continue;
      }
      if (!line) {
        const floor = this.floors.get(conversation) ?? 0;
        line = this.#begin(conversation, floor, floor);
      }
      line.head = Math.max(line.head, head);
      this.#goOn(conversation, line);
    }
  }

  // A page has come; `first`: nothing before it is kept. What can be shown now.
  page(messages, first = false) {
    const line = first && messages.length ? this.lines.get(messages[0].conversation) : null;
    if (line) this.#passOver(line, messages[0].seq - 1);
    return messages.flatMap((message) => this.accept(message));
  }

  // The server cannot give what is after the cursor: show on with what there is.
  gone(conversation) {
    const line = this.lines.get(conversation);
    this.#passOver(line, Math.min(...(line.buffered.size ? line.buffered.keys() : [line.head + 1])) - 1);
    return this.#goOn(conversation, line);
  }

  // `before`: what is up to it was said before what is to be shown first.
  #begin(conversation, before, head) {
    const line = new Timeline(Math.max(0, before - this.recent));
    line.head = head;
    this.floors.delete(conversation);
    this.lines.set(conversation, line);
    return line;
  }

  #mayBuffer({ buffered }, seq) {
    return buffered.has(seq) || (buffered.size < BUFFERED && this.buffered < BUFFERED_IN_ALL);
  }

  // What is up to `cursor` cannot be had any more.
  #passOver(line, cursor) {
    if (cursor <= line.cursor) return;
    line.missing += cursor - line.cursor;
    line.cursor = cursor;
    for (const seq of line.buffered.keys()) if (seq <= cursor && line.buffered.delete(seq)) this.buffered--;
  }

  #goOn(conversation, line) {
    const shown = [];
    for (let message; (message = line.buffered.get(line.cursor + 1)); ) {
      line.buffered.delete(message.seq);
      this.buffered--;
      shown.push({ message, missing: line.missing });
      line.cursor = message.seq;
      line.missing = 0;
    }
    if (line.head > line.cursor) this.behind.add(conversation);
    else this.behind.delete(conversation);
    return shown;
  }
}

// The questions, without their ids, that ask after all conversations of a device, also those that
// it does not know.
export function syncs(cursors) {
  const known = [...cursors].sort(([a], [b]) => (a < b ? -1 : 1));
  const questions = [];
  for (let start = 0; start === 0 || start < known.length; start += SYNC_CONVERSATIONS) {
    const stretch = known.slice(start, start + SYNC_CONVERSATIONS);
    const question = { t: "sync", cursors: Object.fromEntries(stretch) };
    if (start) question.after = known[start - 1][0];
    if (start + SYNC_CONVERSATIONS < known.length) question.until = stretch.at(-1)[0];
    questions.push(question);
  }
  return questions;
}
