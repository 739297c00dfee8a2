/** Asks this worker for the overview every other second, and shows it. */

import { span } from "./dom.js";
import { oneWorker, wholeSystem } from "./view.js";

const EVERY_MS = 2000;
const ANSWER_MS = 5000;
const KEY = "status-token";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const when = /** @type {HTMLElement} */ (document.getElementById("when"));
const form = /** @type {HTMLFormElement} */ (document.getElementById("token-form"));
const token = /** @type {HTMLInputElement} */ (document.getElementById("token"));
const wrong = /** @type {HTMLElement} */ (document.getElementById("token-error"));

/** @type {import("./view.js").Overview | null} */
let seen = null;
let answered = performance.now();
let timer = 0;

async function look() {
  clearTimeout(timer);
  const kept = sessionStorage.getItem(KEY);
  try {
    const answer = await fetch("/overview/", {
      headers: kept ? { Authorization: `Bearer ${kept}` } : {}, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (answer.status === 401) {
      askForToken(kept !== null);
      return;
    }
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    seen = await answer.json();
    answered = performance.now();
    show();
  } catch (error) {
    silent(error instanceof TypeError ? "it cannot be reached" : error instanceof Error ? error.message : String(error));
  }
  timer = setTimeout(look, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

function show() {
  form.hidden = true;
  if (!seen) return;
  draw(seen);
  const problems = seen.findings.filter((one) => one.level === "problem").length;
  tell(problems ? "problem" : "good", problems ? `${problems} problem${problems === 1 ? "" : "s"}` : "all is well");
  when.textContent = `by worker ${seen.by}, ${new Date(seen.now).toLocaleTimeString()}`;
}

/** @param {import("./view.js").Overview} overview */
function draw(overview) {
  const worker = decodeURIComponent(location.hash.slice(1));
  main.replaceChildren(...(worker ? oneWorker(overview, worker) : wholeSystem(overview)));
}

/** @param {string} why */
function silent(why) {
  const part = `worker ${seen?.by ?? location.host}`;
  tell("problem", `${part} does not answer`);
  when.textContent = `for ${span((performance.now() - answered) / 1000)}; below is what it said last`;
  const gone = { level: "problem", part, what: `does not answer: ${why}`, do: "See whether it runs. Each other worker has this page, too." };
  if (seen) draw({ ...seen, findings: [gone, ...seen.findings] });
}

/** @param {string} level @param {string} text */
function tell(level, text) {
  state.dataset.level = level;
  state.textContent = text;
  document.title = level === "problem" ? `(!) ${text}` : "Messenger: overview";
}

/** @param {boolean} again */
function askForToken(again) {
  sessionStorage.removeItem(KEY);
  main.replaceChildren();
  wrong.textContent = again ? "The worker does not take this token." : "";
  tell("unknown", "a token is needed");
  when.textContent = "";
  form.hidden = false;
  token.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, token.value.trim());
  token.value = "";
  look();
});
addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});
document.addEventListener("visibilitychange", () => document.hidden || look());
look();
