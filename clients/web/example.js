// The smallest page on messenger.js: as example.html?USER in local mode.

import { login, openMessenger } from "./messenger.js";

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
const user = location.search.slice(1);
let contact = null;

$("nobody").hidden = Boolean(user);
$("form").hidden = !user;
const opened = user && openMessenger(() => login("v1/login", { user }), {
  picture({ version, conversation }) {
    const messages = conversation?.messages ?? [];
    $("said").replaceChildren(...messages.map(({ from, body, state }) => {
      const item = document.createElement("li");
      item.textContent = `${from}: ${body}${state === "sent" ? "" : ` (${state})`}`;
      return item;
    }));
    look(version, conversation?.cursor ?? 0);
  },
});

async function look(seen, read) {
  (await opened).look({ contact, seen, read, older: false, from: null });
}

$("form").onsubmit = async (event) => {
  event.preventDefault();
  contact = $("to").value;
  if ((await opened).send(contact, $("body").value)) $("body").value = "";
  look(-1, 0);
};
