import { Emitter } from "./events.js";

const GESTURES = ["pointerup", "keydown", "touchend"];

/**
 * Media elements that play what others send: started, unlocked by the first touch or key where the
 * browser refuses to play by itself, sent to the chosen speaker, started again after a phone's lock.
 *
 * Event: `blocked` (true or false), to show or hide a hint.
 */
export class Playback extends Emitter {
  /**
   * @param {{environment: import("./environment.js").Environment,
   *   devices: import("./devices.js").Devices}} options
   */
  constructor({ environment, devices }) {
    super();
    this.#environment = environment;
    this.#devices = devices;
    /** Whether something waits for a touch or a key. */
    this.blocked = false;
    devices.on("chosen", (kind) => kind === "speaker" && this.#redirect());
  }

  #environment;
  #devices;
  /** @type {Set<HTMLMediaElement>} */
  #elements = new Set();
  #unlock = () => this.resume();

  /**
   * Play a stream in an element.
   *
   * @param {HTMLMediaElement} element
   * @param {MediaStream | null} stream
   */
  attach(element, stream) {
    if (element.srcObject !== stream) element.srcObject = stream;
    this.#elements.add(element);
    this.#direct(element);
    if (stream) this.#play(element);
  }

  /** Let go of an element. @param {HTMLMediaElement} element */
  detach(element) {
    this.#elements.delete(element);
    element.srcObject = null;
  }

  /** Start everything that stands still. */
  async resume() {
    this.#block(false);
    for (const element of this.#elements) {
      if (element.paused && element.srcObject) this.#play(element);
    }
  }

  async #play(element) {
    try {
      await element.play();
    } catch (error) {
      // AbortError: the stream was replaced meanwhile, and that one plays.
      if (/** @type {any} */ (error)?.name === "NotAllowedError") this.#block(true);
    }
  }

  #redirect() {
    for (const element of this.#elements) this.#direct(element);
  }

  /** Not every browser lets a page choose the speaker. */
  #direct(element) {
    const id = this.#devices.chosen("speaker")?.id ?? "";
    if ("sinkId" in element && element.sinkId !== id) {
      /** @type {any} */ (element).setSinkId(id).catch(() => {});
    }
  }

  #block(blocked) {
    if (blocked === this.blocked) return;
    this.blocked = blocked;
    const { window } = this.#environment;
    for (const gesture of GESTURES) {
      if (blocked) window?.addEventListener(gesture, this.#unlock);
      else window?.removeEventListener(gesture, this.#unlock);
    }
    this.emit("blocked", blocked);
  }
}
