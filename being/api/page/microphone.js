// In the audio thread: gathers 20 ms of the microphone and hands them over.

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(320);
    this.filled = 0;
  }

  process([[channel]]) {
    if (!channel) return true;
    for (const sample of channel) {
      this.block[this.filled++] = sample;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", MicrophoneProcessor);
