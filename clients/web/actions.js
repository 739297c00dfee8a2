// What a person can do with one message: buttons that come to the message under the pointer, or
// that has the focus. Messages have the arrow keys.

import { $, icon, make } from "./dom.js";

// An action: { name (of its icon, too), label, key (a letter, on a message with the focus),
// fits(message, me), run(message) }.
export class Actions {
  // messages: the message of an element, by `of(element)`
  constructor(list, of, me, actions) {
    this.list = list;
    this.of = of;
    this.me = me;
    this.actions = actions;
    this.bar = make("div", { class: "actions", role: "toolbar", "aria-label": "This message" });
    list.addEventListener("pointerover", ({ target }) => this.#show(target.closest(".message")));
    list.addEventListener("pointerleave", () => this.#show(document.activeElement.closest(".message")));
    list.addEventListener("focusin", ({ target }) => this.#show(target.closest(".message")));
    list.addEventListener("keydown", (event) => this.#pressed(event));
  }

  #show(element) {
    if (!element || !this.list.contains(element)) {
      this.bar.remove();
      return;
    }
    if (this.bar.parentElement === element) return;
    const message = this.of(element);
    const buttons = this.actions.filter(({ fits }) => fits(message, this.me)).map(({ name, label, run }) => {
      const button = make("button", { type: "button", class: "tool", "aria-label": label, title: label }, icon(name));
      button.onclick = () => run(this.of(element));
      return button;
    });
    this.bar.replaceChildren(...buttons);
    element.append(this.bar);
  }

  #pressed(event) {
    const here = event.target.closest(".message");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["ArrowUp", "ArrowDown"].includes(event.key)) this.#go(event, here);
    const action = here && event.target === here && this.actions.find(({ key }) => key === event.key);
    if (action?.fits(this.of(here), this.me)) {
      event.preventDefault();
      action.run(this.of(here));
    }
  }

  // From message to message; from the list itself to the last one.
  #go(event, here) {
    const all = [...this.list.querySelectorAll(".message")];
    const step = event.key === "ArrowUp" ? -1 : 1;
    const next = here ? all[all.indexOf(here) + step] : all.at(-1);
    event.preventDefault();
    next?.focus();
  }
}
