const TICK_MS = 50;
// Quiet rooms read about 0.003, a voice at arm's length 0.02 and more.
const HEARD = 0.015;

/** Measures how loud a captured microphone is, to show that it works. */
export class MicrophoneTest {
  /**
   * @param {MediaStreamTrack} track
   * @param {{environment: import("./environment.js").Environment,
   *   onLevel: (level: number, heard: boolean) => void}} options
   *   `onLevel` gets 0 to 1, evenly spread over what a voice spans, and whether a voice was ever heard
   */
  constructor(track, { environment, onLevel }) {
    this.#environment = environment;
    this.#stream = new /** @type {any} */ (environment).MediaStream([track]);
    this.#context = new /** @type {any} */ (environment).AudioContext();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#context.createMediaStreamSource(this.#stream).connect(this.#analyser);
    const samples = new Float32Array(this.#analyser.fftSize);
    const measure = () => {
      this.#analyser.getFloatTimeDomainData(samples);
      const loudness = rootMeanSquare(samples);
      this.heard ||= loudness > HEARD;
      onLevel(levelOf(loudness), this.heard);
      this.#timer = environment.setTimeout(measure, TICK_MS);
    };
    measure();
  }

  #environment;
  #stream;
  /** @type {AudioContext} */
  #context;
  /** @type {AnalyserNode} */
  #analyser;
  #timer = null;
  heard = false;

  /**
   * Record a moment, to be listened to.
   *
   * @param {number} durationMs
   * @returns {Promise<Blob>}
   */
  record(durationMs) {
    const recorder = new /** @type {any} */ (this.#environment).MediaRecorder(this.#stream);
    /** @type {Blob[]} */
    const pieces = [];
    return new Promise((resolve, reject) => {
      recorder.ondataavailable = ({ data }) => pieces.push(data);
      recorder.onerror = ({ error }) => reject(error);
      recorder.onstop = () => resolve(new Blob(pieces, { type: recorder.mimeType }));
      recorder.start();
      this.#environment.setTimeout(() => recorder.stop(), durationMs);
    });
  }

  /** Stop measuring; the track goes on. */
  stop() {
    this.#environment.clearTimeout(this.#timer);
    this.#context.close();
  }
}

/** @param {Float32Array} samples */
export function rootMeanSquare(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / samples.length);
}

/**
 * Spread -60 to -10 dBFS evenly over 0 to 1.
 *
 * @param {number} loudness root mean square of samples in -1 to 1
 */
export function levelOf(loudness) {
  const decibels = 20 * Math.log10(Math.max(loudness, 1e-6));
  return Math.min(1, Math.max(0, (decibels + 60) / 50));
}
