// One live session over a WebSocket: it comes back by itself, with its token, when the connection is lost.

const ACKNOWLEDGE_MS = 250;
const RETRY_MS = [300, 1000, 2000, 4000];

export class LiveSession extends EventTarget {
  constructor(avatar, options) {
    super();
    this.avatar = avatar;
    this.options = options;
    this.received = 0;
    this.attempts = 0;
    this.open();
    this.timer = setInterval(() => this.acknowledge(), ACKNOWLEDGE_MS);
  }

  open() {
    const query = new URLSearchParams(this.options);
    if (this.ready) {
      query.set("session", this.ready.session);
      query.set("token", this.ready.token);
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/v1/avatars/${this.avatar}/live?${query}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = (message) => this.take(message.data);
    socket.onclose = () => this.lost(socket);
  }

  take(data) {
    if (typeof data !== "string") {
      this.received += data.byteLength;
      this.tell("bytes", new Uint8Array(data));
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
    this.tell(event.type, event);
  }

  lost(socket) {
    if (socket !== this.socket || this.closed) return;
    const status = this.problem?.status;
    const wait = status === 503 ? 1000 * (this.problem.retry_after || 5) : RETRY_MS[Math.min(this.attempts, 3)];
    this.tell("lost", { problem: this.problem, wait });
    this.problem = null;
    this.attempts += 1;
    if (status && status !== 503 && status !== 408) return; // trying again would not help
    setTimeout(() => this.closed || this.open(), wait);
  }

  tell(type, detail) {
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
    if (this.ready) this.send({ type: "received", bytes: this.received });
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.socket.close(1000);
  }
}
