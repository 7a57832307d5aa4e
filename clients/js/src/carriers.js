import { StreamSocket } from "./stream_socket.js";

const REMEMBERED = "metaport.stream";
// Where WebSocket has worked before, an outage is likelier than a network that breaks it.
const FAILURES = 3;

/** @typedef {"websocket" | "stream"} Carrier */

/**
 * Which way to the server: WebSocket, or a stream of events where the network breaks it.
 *
 * A WebSocket that ends before the server has said anything is followed by a stream at once. When
 * that works, streams it is for this page's session, until the network changes.
 */
export class Carriers {
  /** @param {import("./environment.js").Environment} environment */
  constructor(environment) {
    this.#environment = environment;
    this.#possible = typeof environment.fetch === "function" && "ReadableStream" in globalThis;
    this.#broken = this.#possible && environment.session?.getItem(REMEMBERED) === "1";
  }

  #environment;
  #possible;
  /** This network breaks WebSocket. */
  #broken;
  /** This network has carried a WebSocket. */
  #proven = false;
  /** A stream is tried because a WebSocket has just failed. */
  #trying = false;
  #failures = 0;

  /** The way of the next attempt. @returns {Carrier} */
  get next() {
    return this.#broken || this.#trying ? "stream" : "websocket";
  }

  /**
   * Begin an attempt.
   *
   * @param {string} url of the WebSocket, `wss://chat.example/ws`
   * @param {string} protocol
   * @returns {WebSocket | StreamSocket}
   */
  open(url, protocol) {
    if (this.next === "websocket") return new this.#environment.WebSocket(url, protocol);
    return new StreamSocket(url.replace(/^ws/, "http").replace(/\/ws$/, "/sse"), this.#environment);
  }

  /** The server has said welcome. */
  worked() {
    if (this.next === "websocket") this.#proven = true;
    else this.#remember(true);
    this.#trying = false;
    this.#failures = 0;
  }

  /**
   * An attempt ended before the server said anything.
   *
   * @returns {boolean} whether to try the other way at once
   */
  failed() {
    this.#failures += 1;
    if (this.#trying) {
      this.#trying = false;
      return false;
    }
    if (this.#broken) {
      if (this.#failures % FAILURES === 0) this.#remember(false);
      return false;
    }
    this.#trying = this.#possible && (!this.#proven || this.#failures % FAILURES === 0);
    return this.#trying;
  }

  /** The server was reached and wants nobody now: that says nothing about the network. */
  refused() {
    this.#trying = false;
  }

  /** Another network may carry what this one did not. */
  moved() {
    this.#proven = false;
    this.#trying = false;
    this.#failures = 0;
    this.#remember(false);
  }

  /** @param {boolean} broken */
  #remember(broken) {
    this.#broken = broken;
    try {
      if (broken) this.#environment.session?.setItem(REMEMBERED, "1");
      else this.#environment.session?.removeItem(REMEMBERED);
    } catch {
      // A full or forbidden storage: the next page finds out by itself.
    }
  }
}
