// The chat page: login, then the view wired to the device of this browser, which all its tabs
// share. Where the page has <meta name="messenger-login" content="URL">, the application that
// embeds it answers POST URL of the same origin with { user, token } (docs/PROTOCOL.md, "Tokens").

import { Link } from "./link.js";
import { View } from "./view.js";

const TOO_MANY = "Too many messages wait to be sent. They go out when the connection is back.";
const USER = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const embedded = document.querySelector('meta[name="messenger-login"]')?.content;

async function login(url, body) {
  const asked = { method: "POST", mode: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(url, asked);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

// Resolves when the tab is shown.
async function run(again) {
  const { user, token } = await again();
  // of another user the device would be another one
  const fresh = () => again().then((answer) => (answer.user === user ? answer.token : null)).catch(() => null);
  let current = null;
  let picture = null;
  let drawing = false;
  let turnedAway = "";

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
  const view = new View(user, {
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
    logOut: () => link.logOut(),
  });
  let link;
  return new Promise((resolve, reject) => {
    link = new Link(user, token, fresh, {
      attached() {
        if (!picture) {
          view.start();
          look();
        }
        resolve();
      },
      failed(reason) {
        view.connection("stopped", reason);
        reject(new Error(reason));
      },
      picture(latest) {
        if (latest.contact !== current) return;
        picture = latest;
        if (drawing) return;
        drawing = true;
        requestAnimationFrame(draw);
      },
      loggedOut: () => location.reload(),
    });
    document.addEventListener("visibilitychange", look);
  });
}

let joining = false;

document.getElementById("login-form").onsubmit = async (event) => {
  event.preventDefault();
  if (joining) return;
  joining = true;
  const problem = document.getElementById("login-error");
  try {
    const user = document.getElementById("name").value.trim();
    await run(() => login("v1/login", { user }));
  } catch (error) {
    problem.textContent = error.message;
    joining = false;
  }
};

if (embedded) {
  const problem = document.getElementById("login-error");
  document.getElementById("login-form").hidden = true;
  document.getElementById("login").append(problem);
  run(() => login(embedded, {})).catch((error) => (problem.textContent = error.message));
}
