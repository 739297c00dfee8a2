// Searching in the open conversation: from the newest message to the oldest, as far back as there
// are messages. The device looks; this asks it, and shows what it found.

import { $, say } from "./dom.js";

export class Search {
  // on: find(text, before) for the newest message below the number `before` (null: of all);
  // show(seq, text) a message that was found, seq null for none; ended()
  constructor(on) {
    this.on = on;
    this.found = [];
    this.asked = false;
    $("search").onclick = () => ($("search-bar").hidden ? this.begin() : this.end());
    $("search-end").onclick = () => this.end();
    $("search-older").onclick = () => this.#older();
    $("search-newer").onclick = () => this.#newer();
    $("search-bar").onsubmit = (event) => {
      event.preventDefault();
      this.#older();
    };
    $("search-text").oninput = () => this.#begin();
    $("search-text").onkeydown = (event) => {
      if (event.key === "Escape") this.end();
      else if (event.key === "Enter" && event.shiftKey) this.#newer();
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
  }

  begin() {
    $("search-bar").hidden = false;
    $("search").setAttribute("aria-expanded", "true");
    this.#begin();
    $("search-text").select();
    $("search-text").focus();
  }

  end() {
    if ($("search-bar").hidden) return;
    this.closed();
    this.on.ended();
  }

  // Another conversation is open.
  closed() {
    $("search-bar").hidden = true;
    $("search").setAttribute("aria-expanded", "false");
    $("search-text").value = "";
    this.#forget();
  }

  // The device has found a message, or none (null).
  answered({ text, seq }) {
    if (!this.asked || text !== this.#text()) return;
    this.asked = false;
    if (seq !== null) this.found.push(seq);
    this.#draw(seq === null);
    if (seq !== null) this.on.show(seq, text);
  }

  #text() {
    return $("search-text").value.trim();
  }

  #forget() {
    this.found = [];
    this.asked = false;
    this.on.show(null, "");
    this.#draw(false);
  }

  #begin() {
    this.#forget();
    if (this.#text()) this.#ask(null);
  }

  #older() {
    if (!this.asked && this.#text()) this.#ask(this.found.at(-1) ?? null);
  }

  #newer() {
    if (this.asked || this.found.length < 2) return;
    this.found.pop();
    this.#draw(false);
    this.on.show(this.found.at(-1), this.#text());
  }

  #ask(before) {
    this.asked = true;
    this.#draw(false);
    this.on.find(this.#text(), before);
  }

  #draw(end) {
    $("search-newer").disabled = this.found.length < 2;
    $("search-older").disabled = !this.#text();
    const none = this.found.length ? "Nothing earlier" : "Nothing found";
    say($("search-state"), this.asked ? "Searching…" : end ? none : this.found.length ? `${this.found.length}` : "");
  }
}
