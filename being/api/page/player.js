// Plays fragmented MP4 as it arrives, close to its newest moment: a small buffer, held by nudging the playing speed.

const HOLD = 0.14; // seconds of buffer aimed for: what the network and the server's pace may vary by
const LATE = 0.6; // more than this is skipped, not caught up with
const KEEP = 4; // seconds kept behind the playhead
const CATCH_UP = 1.08;
const SLOW_DOWN = 0.94;
const SEEK_MS = 1000; // a seek into a hole of the stream never ends: it is tried elsewhere after so long, then twice that

export class Player {
  constructor(video) {
    this.video = video;
    this.queue = [];
    this.source = null;
    this.buffer = null;
    this.hold = HOLD;
    this.muteUntil = -1;
    this.hushed = false;
    this.wanted = false;
    this.sought = 0;
    this.seekMs = SEEK_MS;
    video.addEventListener("seeked", () => { this.seekMs = SEEK_MS; });
    this.timer = setInterval(() => this.steer(), 40);
  }

  // A new stream begins; mediaType as the server's `ready` has it.
  open(mediaType) {
    this.close();
    const Source = window.ManagedMediaSource || window.MediaSource;
    if (!Source || !Source.isTypeSupported(mediaType)) throw new Error(`this browser cannot play ${mediaType}`);
    if (window.ManagedMediaSource) this.video.disableRemotePlayback = true;
    const source = new Source();
    this.source = source;
    this.url = URL.createObjectURL(source);
    this.video.src = this.url;
    source.addEventListener("sourceopen", () => {
      if (this.source !== source) return;
      this.buffer = source.addSourceBuffer(mediaType);
      this.buffer.addEventListener("updateend", () => this.feed());
      this.feed();
    }, { once: true });
    this.started = false;
  }

  append(bytes) {
    this.queue.push(bytes);
    this.feed();
    if (document.hidden) this.steer(); // its timer is put off there, and what is behind the playhead may be let go of
  }

  feed() {
    const buffer = this.buffer;
    if (!buffer || buffer.updating || this.source.readyState !== "open") return;
    const behind = this.video.currentTime - KEEP;
    if (buffer.buffered.length && buffer.buffered.start(0) < behind - KEEP) {
      buffer.remove(0, behind);
      return;
    }
    if (!this.queue.length) return;
    const bytes = this.queue.length === 1 ? this.queue[0] : new Uint8Array(joined(this.queue));
    this.queue = [];
    try {
      buffer.appendBuffer(bytes);
    } catch (error) {
      if (error.name === "QuotaExceededError") buffer.remove(0, Math.max(0.1, behind));
      else throw error;
    }
  }

  // Seconds that are there and not shown yet.
  get ahead() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) - this.video.currentTime : 0;
  }

  // Nothing is heard until `resume` says from when on: what was said before may still be arriving.
  hush() {
    this.hushed = true;
    this.steer();
  }

  // Nothing of what was said before second `time` of the stream is heard; after it all is.
  resume(time) {
    this.hushed = false;
    this.muteUntil = Math.max(this.muteUntil, time);
    this.steer();
  }

  get sound() {
    return this.wanted;
  }

  set sound(on) {
    this.wanted = on;
    this.steer();
  }

  steer() {
    const video = this.video;
    this.silence();
    if (!this.buffer || !video.buffered.length) return;
    if (video.seeking && performance.now() - this.sought < this.seekMs) return;
    const now = video.currentTime;
    const end = video.buffered.end(video.buffered.length - 1);
    const start = video.buffered.start(video.buffered.length - 1);
    if (!this.started) {
      if (end - start < this.hold) return;
      this.started = true;
      this.seek(Math.max(start, end - this.hold));
      video.play().catch(() => {});
    } else if (end - now > LATE || now < start) {
      this.seek(Math.max(start, end - this.hold));
    } else if (this.muteUntil > now && this.muteUntil < end - 0.02) {
      this.seek(this.muteUntil); // what was cut off need not be watched either
    } else {
      const off = end - now - this.hold;
      video.playbackRate = off > 0.08 ? CATCH_UP : off < -0.08 ? SLOW_DOWN : 1;
      if (video.paused && !document.hidden) video.play().catch(() => {});
    }
    this.silence();
  }

  seek(time) {
    if (this.video.seeking) this.seekMs *= 2;
    this.sought = performance.now();
    this.video.currentTime = time;
  }

  silence() {
    const video = this.video;
    const cut = this.hushed || video.currentTime < this.muteUntil || (video.seeking && this.muteUntil >= 0);
    video.muted = !this.wanted || cut;
  }

  close() {
    this.queue = [];
    this.buffer = null;
    this.source = null;
    this.muteUntil = -1;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}
