// The chat page: login, then the view wired to the device of this browser, which all its tabs
// share. Where the page has <meta name="messenger-login" content="URL">, the application that
// embeds it answers POST URL of the same origin with { user, token } (docs/PROTOCOL.md, "Tokens").

import { login, openMessenger } from "./messenger.js";
import { View } from "./view.js";

const TOO_MANY = "Too many messages wait to be sent. They go out when the connection is back.";
const UNSEEN = 1000; // ms from one picture to the next, for a page that nobody looks at
const USER = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const LAST = "messenger/last"; // who was logged in here last

const embedded = document.querySelector('meta[name="messenger-login"]')?.getAttribute("content");

// Resolves when the tab is shown.
async function run(again, last) {
  let current = null;
  let picture = null;
  let drawing = false;
  let turnedAway = "";
  let view = null;

  const link = await openMessenger(again, {
    failed: (reason) => view?.connection("stopped", reason),
    picture(latest) {
      if (latest.contact !== current) return;
      picture = latest;
      view.notice(picture);
      if (document.hidden) setTimeout(() => document.hidden && look(), UNSEEN);
      if (drawing) return;
      drawing = true;
      requestAnimationFrame(draw);
    },
    found: (found) => view.found(found),
    loggedOut() {
      view?.forget();
      localStorage.removeItem(LAST);
      location.reload();
    },
  }, last);
  const { user } = link;
  const look = () => {
    const sight = view.messages.sight();
    // of what was open before, or another part of it: the next picture is needed at once
    const same = picture?.contact === current && (picture.from ?? null) === sight.from;
    link.look({ contact: current, seen: same ? picture.version : -1, ...sight });
  };
  // The page is drawn once a frame, and asks for the next picture when it has been; what nobody
  // looks at is not drawn.
  const draw = () => {
    drawing = false;
    if (picture.contact !== current) return;
    view.draw(picture);
    view.problem(turnedAway || picture.problem);
    look();
  };
  view = new View(user, {
    open(contact) {
      if (contact === user || !USER.test(contact)) return;
      if (contact === current) {
        view.focus();
        return;
      }
      turnedAway = "";
      current = contact;
      view.opened(contact);
      look();
    },
    close() {
      current = null;
      view.closed();
      look();
    },
    typing: () => link.typing(current),
    moved: () => current !== null && look(),
    send(text) {
      const taken = !picture?.full && link.send(current, text);
      turnedAway = taken ? "" : TOO_MANY;
      view.problem(turnedAway);
      return taken;
    },
    decide: (kind, is) => link.decide(current, kind, is),
    change(seq, body) {
      const taken = link.change(current, seq, body);
      turnedAway = taken ? "" : TOO_MANY;
      view.problem(turnedAway);
      return taken;
    },
    find: (text, before) => link.find(current, text, before),
    logOut: () => link.logOut(),
  });
  localStorage.setItem(LAST, user);
  view.start();
  look();
  document.addEventListener("visibilitychange", look);
}

const problem = document.getElementById("login-error");

if (embedded) {
  document.getElementById("login-form").hidden = true;
  document.getElementById("login").append(problem);
  run(() => login(embedded, {}), localStorage.getItem(LAST)).catch((error) => (problem.textContent = error.message));
} else {
  const name = /** @type {HTMLInputElement} */ (document.getElementById("name"));
  let joining = false;
  name.value = localStorage.getItem(LAST) ?? "";
  name.select();
  document.getElementById("login-form").onsubmit = async (event) => {
    event.preventDefault();
    if (joining) return;
    joining = true;
    const user = name.value.trim();
    const last = user === localStorage.getItem(LAST) ? user : null;
    await run(() => login("v1/login", { user }), last).catch((error) => {
      problem.textContent = error.message;
      joining = false;
    });
  };
  // the application that embeds the page has a service worker of its own, or none
  navigator.serviceWorker?.register("sw.js", { updateViaCache: "none" }).catch(() => {});
}
