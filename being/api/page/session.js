// One live session over a WebSocket: it comes back by itself, with its token, when the connection is lost.
//
// Timers of a tab that nobody looks at fire once a minute, and its video may stand still. So what the server must hear of
// follows what arrives from it: messages are handled in hidden tabs as in others, and `stats` comes each second.

import { socketAddress } from "./address.js";
import { Sent } from "./sent.js";

const ACKNOWLEDGE_MS = 250;
const RETRY_MS = [0, 100, 200, 400, 800, 1500, 3000];

export class LiveSession extends EventTarget {
  constructor(avatar, options) {
    super();
    this.avatar = avatar;
    this.options = options;
    this.received = 0;
    this.attempts = 0;
    this.acknowledged = 0; // when, in milliseconds of the page
    this.sent = new Sent();
    this.generation = 0;
    this.open();
    document.addEventListener("visibilitychange", this.seen = () => this.hurry());
  }

  open() {
    const query = new URLSearchParams(this.options);
    if (this.ready) {
      query.set("session", this.ready.session);
      query.set("token", this.ready.token);
    }
    this.live = false; // until its `ready` has said what the server knows already
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
      this.received = 0;
      this.attempts = 0;
      if (!this.live) this.resume(event);
      this.ready = event;
    } else if (event.type === "interrupted") {
      this.interrupting = false;
      this.generation = event.generation;
    } else if (event.type === "error" && event.fatal) {
      this.problem = event.problem;
    }
    this.emit(event.type, event);
  }

  // A connection begins. The session may have gone on from what it was up to half a second before it was lost.
  resume(ready) {
    this.live = true;
    if (this.ready && this.ready.session !== ready.session) {
      this.sent.forget(this.lostAt);
      this.interrupting = false;
      this.generation = 0;
    } else if (this.ready) {
      const { background, refine } = this.options;
      this.send({ type: "configure", background, ...(ready.refine !== null && refine !== undefined && { refine }) });
    }
    if (this.interrupting || ready.generation < this.generation) this.send({ type: "interrupt" });
    for (const message of this.sent.after(ready.taken_bytes)) this.send(message);
  }

  lost(socket) {
    if (socket !== this.socket || this.closed) return;
    if (this.live) this.lostAt = performance.now();
    this.live = false;
    const status = this.problem?.status;
    const wait = status === 503 ? 1000 * (this.problem.retry_after || 5) : RETRY_MS[Math.min(this.attempts, RETRY_MS.length - 1)];
    this.emit("lost", { problem: this.problem, wait });
    this.problem = null;
    this.attempts += 1;
    if (status && status !== 503 && status !== 408) return; // trying again would not help
    if (wait) this.retry = setTimeout(() => this.again(), wait);
    else this.again(); // timers of a hidden tab wait
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
    if (message instanceof ArrayBuffer || message.type === "end") this.sent.push(message);
    if (!this.live || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(message instanceof ArrayBuffer ? message : JSON.stringify(message));
  }

  interrupt() {
    this.interrupting = true;
    this.sent.forget();
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
