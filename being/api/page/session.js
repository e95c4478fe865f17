// One live session over a WebSocket: it comes back by itself, with its token, when the connection is lost.
//
// Timers of a tab that nobody looks at fire once a minute, and its video may stand still. So what the server must hear of
// follows what arrives from it: messages are handled in hidden tabs as in others, and `stats` comes each second.

import { socketAddress } from "./address.js";

const ACKNOWLEDGE_MS = 250;
const RETRY_MS = [300, 1000, 2000, 4000];

export class LiveSession extends EventTarget {
  constructor(avatar, options) {
    super();
    this.avatar = avatar;
    this.options = options;
    this.received = 0;
    this.attempts = 0;
    this.acknowledged = 0; // when, in milliseconds of the page
    this.open();
    document.addEventListener("visibilitychange", this.seen = () => this.hurry());
  }

  open() {
    const query = new URLSearchParams(this.options);
    if (this.ready) {
      query.set("session", this.ready.session);
      query.set("token", this.ready.token);
    }
    const socket = new WebSocket(socketAddress(`v1/avatars/${this.avatar}/live?${query}`));
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = (message) => this.take(message.data);
    socket.onclose = () => this.lost(socket);
  }

  take(data) {
    this.note(data);
    if (performance.now() - this.acknowledged >= ACKNOWLEDGE_MS) this.acknowledge();
  }

  note(data) {
    if (typeof data !== "string") {
      this.received += data.byteLength;
      this.emit("bytes", new Uint8Array(data));
      return;
    }
    const event = JSON.parse(data);
    if (event.type === "ready") {
      this.ready = event;
      this.received = 0;
      this.attempts = 0;
      if (this.interrupting) this.interrupt(); // the connection was lost before it was answered
    } else if (event.type === "interrupted") {
      this.interrupting = false;
    } else if (event.type === "error" && event.fatal) {
      this.problem = event.problem;
    }
    this.emit(event.type, event);
  }

  lost(socket) {
    if (socket !== this.socket || this.closed) return;
    const status = this.problem?.status;
    const wait = status === 503 ? 1000 * (this.problem.retry_after || 5) : RETRY_MS[Math.min(this.attempts, 3)];
    this.emit("lost", { problem: this.problem, wait });
    this.problem = null;
    this.attempts += 1;
    if (status && status !== 503 && status !== 408) return; // trying again would not help
    this.retry = setTimeout(() => this.again(), wait);
  }

  again() {
    this.retry = clearTimeout(this.retry);
    if (!this.closed) this.open();
  }

  // Looked at again: no reason to wait for a timer that was put off.
  hurry() {
    if (this.retry !== undefined && !document.hidden) this.again();
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  send(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(message instanceof ArrayBuffer ? message : JSON.stringify(message));
  }

  interrupt() {
    this.interrupting = true;
    this.send({ type: "interrupt" });
  }

  configure(change) {
    Object.assign(this.options, change);
    this.send({ type: "configure", ...change });
  }

  acknowledge() {
    if (!this.ready) return;
    this.acknowledged = performance.now();
    this.send({ type: "received", bytes: this.received });
  }

  close() {
    this.closed = true;
    clearTimeout(this.retry);
    document.removeEventListener("visibilitychange", this.seen);
    this.socket.close(1000);
  }
}
