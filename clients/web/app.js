// The chat page: login, then connection, outbox and store wired to the view.

import { CatchUp } from "./catchup.js";
import { Connection } from "./connection.js";
import { claimDevice } from "./device.js";
import { Marks } from "./marks.js";
import { Presence } from "./presence.js";
import { ScrollBack } from "./scrollback.js";
import { Outbox } from "./outbox.js";
import { openOutbox } from "./outboxdb.js";
import { Store } from "./store.js";
import { View } from "./view.js";

const REFUSALS = { 110: "empty", 111: "too long", 112: "not text" };
const CLOSES = {
  4500: "please log in again",
  4501: "please reload the page",
  4502: "opened elsewhere with the same device",
  4505: "this device was logged out",
};

const newId = () => {
  // not crypto.randomUUID, which plain http on another host does not have
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

async function login(name) {
  const response = await fetch("v1/login", { method: "POST", body: JSON.stringify({ user: name }) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function run({ user, token }) {
  const store = new Store(user);
  const device = await claimDevice(user, newId);
  const disk = device.outbox ? await openOutbox(device.outbox, newId) : { saved: null, save: async () => {} };
  const changes = [];
  const outbox = new Outbox(newId, disk.saved, (change) => changes.push(change));
  for (const { key, to, body } of outbox.unanswered) store.queue(to, key, body);
  let questions = 1;
  const nextId = () => ++questions;
  const catchUp = new CatchUp(store, (frames) => connection.send(frames), nextId);
  const scrollBack = new ScrollBack(store, (frames) => connection.send(frames), nextId);
  const marks = new Marks(user, (frames) => connection.send(frames), nextId);
  const presence = new Presence((frames) => connection.send(frames), nextId, () => show());
  let current = null;
  let timer = null;
  let logId = null;

  let drawing = false;
  let noting = false;

  // However many frames come, the page is drawn once a picture; what nobody looks at is noted and not drawn.
  const show = () => {
    if (document.hidden && !noting) {
      noting = true;
      queueMicrotask(() => {
        noting = false;
        noteSeen();
      });
    }
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      noteSeen();
      // only with people one has talked to there is a presence to watch
      if (connection.online) presence.watch(store.list().filter(({ cursor, floor }) => cursor || floor).map(({ contact }) => contact));
      view.contacts(store.list(), current, unread, (contact) => presence.text(contact));
      view.peer(current && presence.text(current));
      view.messages(store.conversations.get(current), user, current && marks.of(store.open(current).id, current));
      if (current !== null && connection.online && view.atTop()) scrollBack.more(current);
    });
  };
  // What is shown was received; what is shown in the open conversation, while somebody looks, was read. Who writes has read.
  const noteSeen = () => {
    for (const { contact, id, cursor } of store.conversations.values()) {
      marks.seen(id, store.last(contact, contact));
      marks.seen(id, store.last(contact, user), true);
      if (contact === current && cursor && !document.hidden) marks.seen(id, cursor, true);
    }
    if (connection.online) marks.say();
  };
  const unread = ({ id, cursor, floor }) => Math.max(0, (cursor ?? floor ?? 0) - Math.max(marks.readUpTo(id), 0));
  // Nothing leaves the page before it is safe; what is safe leaves in order, since saving does.
  const flush = () => {
    const frames = connection.online ? outbox.transmit(Date.now()) : [];
    disk.save(changes.splice(0)).then(
      () => frames.length && connection.send(frames),
      (error) => view.problem(`This browser cannot keep what is sent: ${error?.message ?? error}`),
    );
    if (!connection.online) return;
    clearTimeout(timer);
    const at = outbox.resendAt();
    if (at !== null) timer = setTimeout(flush, Math.max(10, at - Date.now()));
  };
  const view = new View({
    open(contact) {
      if (contact === user || !/^[a-z0-9][a-z0-9._-]{0,63}$/.test(contact)) return;
      store.open(contact);
      store.recall(contact);
      catchUp.ask();
      if (contact !== current) view.clearText();
      current = contact;
      view.opened(contact);
      show();
    },
    typing() {
      if (connection.online) presence.typing(store.open(current).id);
    },
    scrolled() {
      if (current !== null && connection.online && view.atTop()) scrollBack.more(current);
    },
    send(text) {
      const key = newId();
      if (!outbox.add(current, key, text)) {
        view.problem("Too many messages wait to be sent. They go out when the connection is back.");
        return;
      }
      view.problem("");
      store.queue(current, key, text);
      view.clearText();
      show();
      flush();
    },
  });
  // One's own message, seen, is an answer, too.
  const own = (frame) => {
    if (frame.from === user) outbox.answered(store.contactOf(frame.conversation), frame.key, Date.now());
  };
  const handlers = {
    sent(frame) {
      outbox.answered(store.contactOf(frame.conversation), frame.key, Date.now());
      if (store.has(frame.key)) store.take({ ...frame, from: user });
      else store.heads({ [frame.conversation]: frame.seq }); // of an earlier life of this device: fetch what was said
    },
    refused(frame) {
      outbox.answered(store.contactOf(frame.conversation), frame.key, Date.now());
      store.mark(frame.key, "refused", REFUSALS[frame.code] ?? `code ${frame.code}`);
    },
    out_of_step(frame) {
      for (const key of outbox.outOfStep(store.contactOf(frame.conversation), frame, Date.now())) store.mark(key, "unknown");
    },
    message(frame) {
      own(frame);
      presence.stopped(frame.from);
      store.take(frame);
    },
    page(frame) {
      frame.messages.forEach(own);
      if (!scrollBack.page(frame)) catchUp.page(frame);
    },
    heads(frame) {
      const begun = store.begun;
      catchUp.heads(frame);
      if (store.begun && !begun) marks.begin([...store.cursors().keys()]);
    },
    presence(frame) {
      presence.take(frame);
    },
    presences(frame) {
      presence.answer(frame);
    },
    user_typing(frame) {
      presence.wrote(frame);
    },
    mark(frame) {
      marks.take(frame);
    },
    marks(frame) {
      marks.answer(frame);
    },
    resync() {
      catchUp.sync();
      presence.begin();
      marks.begin([...store.cursors().keys()]);
    },
    error(frame) {
      if (marks.error(frame) || presence.error(frame)) return;
      if (scrollBack.error(frame) || catchUp.error(frame)) return;
      for (const key of outbox.failed(frame, Date.now())) store.mark(key, "refused", frame.reason);
    },
  };
  const address = new URL("v1/socket", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const connection = new Connection(address, token, device.id, {
    state: (state, code) => view.connection(state, state === "stopped" ? CLOSES[code] ?? `code ${code}` : ""),
    welcome(frame) {
      if (logId !== null && logId !== frame.log) {
        store.forget();
        marks.forget();
      }
      logId = frame.log;
      outbox.reconnected();
      flush();
      scrollBack.begin();
      presence.begin();
      catchUp.begin();
      marks.begin([...store.cursors().keys()]);
    },
    frame(frame) {
      handlers[frame.t]?.(frame);
      catchUp.ask();
      show();
      flush();
    },
  });
  document.onvisibilitychange = show;
  view.start(user);
  show();
}

document.getElementById("login-form").onsubmit = async (event) => {
  event.preventDefault();
  const problem = document.getElementById("login-error");
  try {
    await run(await login(document.getElementById("name").value.trim()));
  } catch (error) {
    problem.textContent = error.message;
  }
};
