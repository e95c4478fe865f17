// What was said lately: a worker that was lost did not hear all of it, and the next one says from where on it wants it.

const KEPT_MS = 30000; // deposits of a session are half a second apart; a network may be gone for longer

export class Sent {
  constructor() {
    this.entries = []; // of { at, when, message }: bytes of sound before it, milliseconds of the page, sound or `end`
    this.bytes = 0;
  }

  push(message) {
    const when = performance.now();
    this.entries.push({ at: this.bytes, when, message });
    this.bytes += message.byteLength ?? 0;
    while (when - this.entries[0].when > KEPT_MS) this.entries.shift();
  }

  // The server has taken so many bytes: what is to be sent to it, and counted anew from there.
  after(taken) {
    const rest = [];
    for (const { at, message } of this.entries) {
      const length = message.byteLength;
      if (length === undefined ? at >= taken : at + length > taken) {
        rest.push(at < taken ? message.slice(taken - at) : message);
      }
    }
    this.entries = [];
    this.bytes = taken;
    return rest;
  }

  // Nothing of before is wanted any more.
  forget(before = Infinity) {
    this.entries = this.entries.filter(({ when }) => when >= before);
  }
}
