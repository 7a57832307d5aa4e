import { pause } from "./environment.js";
import { Participants } from "./participants.js";

// Connecting takes some 0.3 s; who has not come by then, will not for this.
const ARRIVE_MS = 4_000;
const LOOK_MS = 50;

/**
 * A change to another media server while the old one still carries: what is shown stays what it was
 * until the new connections bring the same voices and pictures.
 */
export class Moving {
  /**
   * @param {{environment: import("./environment.js").Environment, shown: Participants,
   *   transports: {close: () => void}[]}} options `shown`: who is there and what they send by the
   *   old server, `transports`: what carries it
   */
  constructor({ environment, shown, transports }) {
    this.#environment = environment;
    this.#shown = shown;
    this.#transports = transports;
  }

  #environment;
  #shown;
  #transports;
  #over = false;
  /** Who is there and what they send, by the new server. */
  participants = new Participants();

  /**
   * Wait until the new server carries what the old one does, or nobody else can be waited for.
   *
   * @param {() => boolean} sending whether what we send arrives there
   */
  async arrived(sending) {
    const untilMs = this.#environment.elapsed() + ARRIVE_MS;
    while (!this.#over && this.#environment.elapsed() < untilMs && !(sending() && this.#carried())) {
      await pause(this.#environment, LOOK_MS);
    }
  }

  #carried() {
    const carried = new Set(this.participants.tracks().filter(flows).map(nameOf));
    return this.#shown.tracks().every((track) => !flows(track) || carried.has(nameOf(track)));
  }

  /** End the old connections. */
  close() {
    this.#over = true;
    for (const transport of this.#transports) transport.close();
  }
}

/** Whether packets of a track arrive. What its publisher muted sends none. */
function flows({ mediaTrack, muted }) {
  return mediaTrack !== null && !mediaTrack.muted && !muted;
}

/** People and tracks have other ids on another server. */
function nameOf({ user, source }) {
  return JSON.stringify([user, source]);
}
