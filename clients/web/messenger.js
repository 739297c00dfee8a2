// The client for a page of one's own: what app.js is made on (README.md, "A page of your own").

import { Link } from "./link.js";

// There is no network, or no server that answers.
export class NoNetwork extends Error {}

/**
 * Logs in by `POST url`, which answers { user, token }, or a problem (docs/PROTOCOL.md, "HTTP").
 * @param {string} url of this page's origin
 * @param {object} body
 * @returns {Promise<{ user: string, token: string }>}
 */
export async function login(url, body) {
  const headers = { "Content-Type": "application/json" };
  const sent = JSON.stringify(body);
  const response = await fetch(url, { method: "POST", mode: "same-origin", headers, body: sent }).catch((error) => {
    throw new NoNetwork(error.message);
  });
  if (response.status >= 502) throw new NoNetwork(response.statusText);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

/**
 * Opens the device that all tabs of this user share. Resolves when it is there, with or without a
 * network. Then say by `look` what the page shows: pictures of it come as long as you look again
 * after each.
 * @param {() => Promise<{ user: string, token: string }>} logIn asked at the start, when the token
 *   ends, and when it was refused; fails with NoNetwork while there is none
 * @param {import("./messenger.js").Handlers} on
 * @param {string | null} last who was logged in here last, and is shown without a network
 * @returns {Promise<import("./messenger.js").Messenger>}
 */
export async function openMessenger(logIn, on, last = null) {
  const { user, token } = await logIn().catch((error) => {
    if (error instanceof NoNetwork && last) return { user: last, token: "" };
    throw error;
  });
  // of another user the device would be another one
  const fresh = () => logIn().then(
    (answer) => (answer.user === user ? answer.token : null),
    (error) => {
      if (error instanceof NoNetwork) throw error;
      return null;
    },
  );
  return new Promise((resolve, reject) => {
    const link = new Link(user, token, fresh, {
      ...on,
      attached: () => resolve(link),
      failed: (reason) => {
        reject(new Error(reason));
        on.failed?.(reason);
      },
    });
  });
}
