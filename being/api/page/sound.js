// Sound on its way up: the microphone through an AudioWorklet, files and samples in pieces a little ahead of real time.

export const RATE = 16000;
const PIECE = 0.2; // seconds
const AHEAD = 1.0; // seconds a file is sent ahead of its playing, so that interrupting it stops soon

export function pcm16(samples) {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) out[i] = Math.max(-1, Math.min(1, samples[i])) * 32767;
  return out.buffer;
}

export class Microphone {
  // onSound(Float32Array at RATE)
  async start(onSound) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule(new URL("microphone.js", import.meta.url));
    const node = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = (message) => onSound(message.data);
    this.context.createMediaStreamSource(this.stream).connect(node);
    await this.context.resume();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
  }
}

// Any file the browser can decode -> mono samples at RATE.
export async function decode(bytes) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(bytes);
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let i = 0; i < mixed.length; i++) mixed[i] += samples[i] / sound.numberOfChannels;
  }
  return mixed;
}

export class Playback {
  constructor(samples, onSound, onEnd) {
    this.samples = samples;
    this.at = 0;
    this.onSound = onSound;
    this.onEnd = onEnd;
    this.started = performance.now();
    this.timer = setInterval(() => this.send(), 50);
    this.send();
  }

  // What is due by now; called by whoever wakes up.
  send() {
    if (this.done) return;
    const due = ((performance.now() - this.started) / 1000 + AHEAD) * RATE;
    while (this.at < Math.min(due, this.samples.length)) {
      this.onSound(this.samples.subarray(this.at, this.at + PIECE * RATE));
      this.at += PIECE * RATE;
    }
    if (this.at >= this.samples.length) {
      this.stop();
      this.onEnd();
    }
  }

  stop() {
    this.done = true;
    clearInterval(this.timer);
  }
}
