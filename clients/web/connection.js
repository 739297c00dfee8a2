// One WebSocket that comes back by itself: connecting → online → waiting → connecting … It stops
// when the server does not want the device back, until somebody logs in again.

const VERSION = 1;
const FIRST = 100;
const LAST = 20000;
const WELCOME = 10000;
const LASTING = 5000; // a session that ends sooner counts as another failed attempt

export class Connection {
  // handlers: state(name, code); frame(frame) with each frame, the welcome included
  constructor(url, token, device, handlers) {
    this.url = url;
    this.token = token;
    this.device = device;
    this.handlers = handlers;
    this.attempt = 0;
    this.socket = null;
    this.online = false;
    this.stopped = false;
    this.waiting = null;
    this.heard = 0;
    addEventListener("online", () => this.#comeBack());
    // with a goodbye the user is offline at once, without it after a grace; a browser says it for a
    // worker that ends
    addEventListener("pagehide", () => this.socket?.close(1000));
    this.#connect();
  }

  // The token of a later login, or a fresh one.
  renew(token) {
    this.token = token;
    if (this.stopped) this.#connect();
  }

  // As if the server had closed with this code.
  stop(code) {
    if (this.socket) this.end(code);
    else if (!this.stopped) this.#stop(code);
  }

  send(frames) {
    // few enough frames a message that it stays below the server's 256 KiB, however long they are
    for (let start = 0; this.online && start < frames.length; start += 2) {
      this.socket.send(frames.slice(start, start + 2).map((frame) => JSON.stringify(frame)).join("\n"));
    }
  }

  #connect() {
    this.waiting = null;
    this.stopped = false;
    this.handlers.state("connecting", 0);
    const socket = (this.socket = new WebSocket(this.url));
    let since = 0;
    const end = (this.end = (code) => this.#ended(socket, since, watch, code));
    let watch = setTimeout(() => end(0), WELCOME);
    socket.onopen = () => socket.send(JSON.stringify({ t: "hello", id: 1, version: VERSION, token: this.token, device: this.device, stay: true })); // a page talks to its own origin only
    socket.onmessage = (event) => {
      this.heard = Date.now();
      for (const line of event.data.split("\n").filter(Boolean)) {
        const frame = JSON.parse(line);
        if (frame.t === "welcome") {
          this.online = true;
          since = Date.now();
          clearTimeout(watch);
          watch = this.#heartbeat(socket, frame.heartbeat * 1000, () => end(0));
          this.handlers.state("online", 0);
        }
        this.handlers.frame(frame);
      }
    };
    socket.onclose = (event) => end(event.code);
  }

  // A browser does not tell a page that the network is dead: ask for a sign of life, and give the
  // socket up when none comes.
  #heartbeat(socket, period, dead) {
    return setInterval(() => {
      if (Date.now() - this.heard >= period * 1.9) dead();
      else if (Date.now() - this.heard >= period * 0.9) socket.send(JSON.stringify({ t: "ping", id: 1 }));
    }, period);
  }

  #ended(socket, since, watch, code) {
    if (socket !== this.socket || this.waiting !== null) return;
    clearTimeout(watch); // clears an interval as well
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.socket = null;
    this.online = false;
    if (code >= 4500 && code < 5000) {
      this.#stop(code);
      return;
    }
    this.handlers.state("waiting", code);
    if (since && Date.now() - since >= LASTING) this.attempt = 0;
    this.waiting = setTimeout(() => this.#connect(), Math.random() * Math.min(LAST, FIRST * 2 ** Math.min(this.attempt++, 16)));
  }

  #stop(code) {
    clearTimeout(this.waiting);
    this.waiting = null;
    this.stopped = true;
    this.handlers.state("stopped", code);
  }

  // The browser says that there is a network again.
  #comeBack() {
    if (this.waiting !== null) {
      clearTimeout(this.waiting);
      this.#connect();
    }
  }
}
