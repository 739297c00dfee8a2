// One WebSocket that comes back by itself: connecting → online → waiting → connecting …, stopped when told to stay away.

const VERSION = 1;
const FIRST = 100;
const LAST = 20000;

export class Connection {
  // handlers: state(name, code), welcome(frame), frame(frame)
  constructor(url, token, device, handlers) {
    Object.assign(this, { url, token, device, handlers, attempt: 0, socket: null, online: false });
    addEventListener("online", () => this.#comeBack());
    this.#connect();
  }

  send(frames) {
    // few enough frames a message that it stays below the server's 256 KiB, however long they are
    for (let start = 0; this.online && start < frames.length; start += 2) {
      this.socket.send(frames.slice(start, start + 2).map((frame) => JSON.stringify(frame)).join("\n"));
    }
  }

  #connect() {
    this.handlers.state("connecting", 0);
    const socket = (this.socket = new WebSocket(this.url));
    socket.onopen = () => socket.send(JSON.stringify({ t: "hello", id: 1, version: VERSION, token: this.token, device: this.device }));
    socket.onmessage = (event) => {
      for (const line of event.data.split("\n")) {
        const frame = JSON.parse(line);
        if (frame.t === "welcome") {
          this.online = true;
          this.attempt = 0;
          this.handlers.state("online", 0);
          this.handlers.welcome(frame);
        } else {
          this.handlers.frame(frame);
        }
      }
    };
    socket.onclose = (event) => {
      this.online = false;
      if (event.code >= 4500 && event.code < 5000) {
        this.handlers.state("stopped", event.code);
        return;
      }
      this.handlers.state("waiting", event.code);
      const wait = Math.random() * Math.min(LAST, FIRST * 2 ** Math.min(this.attempt++, 16));
      this.timer = setTimeout(() => this.#connect(), wait);
    };
  }

  #comeBack() {
    if (this.socket.readyState === WebSocket.CLOSED && this.timer) {
      clearTimeout(this.timer);
      this.#connect();
    }
  }
}
