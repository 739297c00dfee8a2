// What is seen. Text from people is only ever set as textContent.

const $ = (id) => document.getElementById(id);
const TICKS = { queued: "queued", sent: "✓ sent", refused: "✗ refused", unknown: "? not known" };
const RECEIVED = "✓✓ delivered";
const READ = "✓✓ read";

const isHere = (presence) => ["online", "writes …"].includes(presence);

export class View {
  // actions: open(contact), scrolled(), typing(), send(text), logOut()
  constructor(actions) {
    $("contact-form").onsubmit = (event) => {
      event.preventDefault();
      actions.open($("contact").value.trim());
      $("contact").value = "";
    };
    $("send-form").onsubmit = (event) => {
      event.preventDefault();
      if ($("text").value) actions.send($("text").value);
    };
    $("text").onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        $("send-form").requestSubmit();
      }
    };
    $("text").oninput = () => actions.typing();
    $("messages").onscroll = () => actions.scrolled();
    $("logout").onclick = () => actions.logOut();
    $("back").onclick = () => $("chat").classList.remove("open");
    this.actions = actions;
  }

  start(me) {
    $("login").hidden = true;
    $("chat").hidden = false;
    $("me").textContent = me;
    document.title = `${me} – Messenger`;
    $("contact").focus();
  }

  connection(state, reason) {
    for (const element of document.querySelectorAll(".connection")) {
      element.dataset.state = state;
      element.textContent = reason ? `${state}: ${reason}` : state;
    }
  }

  opened(contact) {
    $("peer").textContent = contact;
    $("chat").classList.add("open");
    $("text").disabled = $("send").disabled = false;
    $("text").focus();
  }

  // The oldest messages are in sight, or nearly.
  atTop() {
    return $("messages").scrollTop < $("messages").clientHeight;
  }

  problem(text) {
    $("send-problem").textContent = text;
  }

  clearText() {
    $("text").value = "";
  }

  // A device's picture.
  draw({ state, reason, contacts, contact, conversation }, me) {
    this.connection(state, reason);
    this.#contacts(contacts, contact);
    this.#peer(conversation?.presence ?? "");
    this.#messages(conversation, me);
  }

  #peer(presence) {
    $("presence").textContent = presence;
    $("presence").dataset.online = String(isHere(presence));
  }

  #contacts(contacts, current) {
    $("contacts").replaceChildren(
      ...contacts.map(({ contact, last, earlier, unread, presence }) => {
        const item = document.createElement("li");
        const button = item.appendChild(document.createElement("button"));
        button.type = "button";
        button.setAttribute("aria-current", String(contact === current));
        button.onclick = () => this.actions.open(contact);
        this.#add(button, "span", "name", contact);
        item.dataset.online = String(isHere(presence));
        this.#add(button, "span", "last", last ?? (earlier ? "open to see the last messages" : "no messages yet"));
        if (unread) this.#add(button, "span", "unread", unread > 99 ? "99+" : String(unread));
        return item;
      }),
    );
  }

  #messages(conversation, me) {
    const list = $("messages");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    const shown = new Map([...list.children].map((element) => [`${element.dataset.from} ${element.dataset.key}`, element]));
    const fromEnd = list.scrollHeight - list.scrollTop;
    const [first] = list.children;
    const wanted = [];
    if (conversation?.whole) wanted.push(this.#note("the beginning of the conversation"));
    for (const message of conversation?.messages ?? []) {
      if (message.missing) wanted.push(this.#note(`${message.missing} earlier messages can no longer be had here`));
      wanted.push(this.#message(message, me, conversation.mark, shown.get(`${message.from} ${message.key}`)));
    }
    list.replaceChildren(...wanted);
    if (atEnd) list.scrollTop = list.scrollHeight;
    else if (list.children[0] !== first) list.scrollTop = list.scrollHeight - fromEnd; // older ones came: what was in sight stays
  }

  #note(text) {
    const note = document.createElement("li");
    note.className = "gap";
    note.textContent = text;
    return note;
  }

  // mark: what the other one has received and read
  #message(message, me, mark, element) {
    element ??= $("message-template").content.firstElementChild.cloneNode(true);
    element.dataset.key = message.key;
    element.dataset.from = message.from;
    element.dataset.state = message.state;
    element.classList.toggle("own", message.from === me);
    element.classList.toggle("refused", message.state === "refused");
    element.querySelector(".body").textContent = message.body;
    const time = new Date(message.time);
    element.querySelector("time").dateTime = time.toISOString();
    element.querySelector("time").textContent = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const tick = message.from === me ? this.#tick(message, mark) : "";
    element.querySelector(".tick").textContent = message.reason ? `${tick}: ${message.reason}` : tick;
    return element;
  }

  #tick({ state, seq }, mark) {
    if (state !== "sent" || seq > mark.received) return TICKS[state];
    return seq > mark.read ? RECEIVED : READ;
  }

  #add(parent, tag, className, text) {
    const element = parent.appendChild(document.createElement(tag));
    element.className = className;
    element.textContent = text;
  }
}
