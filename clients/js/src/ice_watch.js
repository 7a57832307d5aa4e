// Chromium reports `disconnected` after some 5 s of silence; most short gaps heal within 2 s more.
const HEAL_MS = 2_000;
// A restart needs one round trip for signalling and one for checks.
const RESTART_MS = 4_000;
const FIRST_CONNECT_MS = 8_000;
const RESTARTS = 3;

/**
 * Watches one peer connection and asks for ICE restarts until it is connected again.
 *
 * After `RESTARTS` in vain it asks for a new peer connection instead (`giveUp`): the other end has
 * forgotten this one.
 */
export class IceWatch {
  /**
   * @param {RTCPeerConnection} peer
   * @param {{environment: import("./environment.js").Environment, restart: () => void,
   *   giveUp: () => void}} options
   */
  constructor(peer, { environment, restart, giveUp }) {
    this.#peer = peer;
    this.#environment = environment;
    this.#restart = restart;
    this.#giveUp = giveUp;
    peer.addEventListener("connectionstatechange", () => this.#changed());
  }

  #peer;
  #environment;
  #restart;
  #giveUp;
  #timer = null;
  #restarts = 0;
  #paused = false;
  #stopped = false;

  /** An offer and its answer are in place: from now on it should become connected. */
  negotiated() {
    if (this.#peer.connectionState === "new") this.#expectWithin(FIRST_CONNECT_MS);
  }

  /** Restart at once: the network changed, or the device woke up. */
  restartNow() {
    if (this.#peer.connectionState === "new" || this.#paused || this.#stopped) return;
    this.#again();
  }

  /** Signalling is away: restarts would go nowhere. Media may well go on. */
  pause() {
    this.#paused = true;
    this.#environment.clearTimeout(this.#timer);
  }

  /** Signalling is back. */
  resume() {
    this.#paused = false;
    this.#restarts = 0;
    if (this.#stopped) return;
    const { connectionState } = this.#peer;
    if (connectionState === "disconnected" || connectionState === "failed") this.#again();
    else if (connectionState === "connecting") this.#expectWithin(RESTART_MS);
  }

  stop() {
    this.#stopped = true;
    this.#environment.clearTimeout(this.#timer);
  }

  #changed() {
    if (this.#paused || this.#stopped) return;
    const { connectionState } = this.#peer;
    if (connectionState === "connected") {
      this.#environment.clearTimeout(this.#timer);
      this.#restarts = 0;
    } else if (connectionState === "disconnected") this.#expectWithin(HEAL_MS);
    else if (connectionState === "failed") this.#again();
  }

  #expectWithin(delayMs) {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = this.#environment.setTimeout(() => {
      if (this.#peer.connectionState !== "connected") this.#again();
    }, delayMs);
  }

  #again() {
    if (this.#restarts >= RESTARTS) {
      this.stop();
      this.#giveUp();
      return;
    }
    this.#restarts += 1;
    this.#expectWithin(RESTART_MS);
    this.#restart();
  }
}
