import { MetaportError } from "./errors.js";
import { Message } from "./message.js";
import { Pace } from "./pace.js";

// The server remembers a key for 5 minutes; resending later could deliver twice.
const RESEND_MS = 4.5 * 60_000;
const REFUSALS = 8;

/**
 * @typedef {object} Entry
 * @property {Message} message
 * @property {number} startedMs
 * @property {number} notBeforeMs
 * @property {number} refusals
 * @property {boolean} inFlight
 */

/**
 * What this client sends into one room, in order, until each message is `sent` or `failed`.
 *
 * A lost connection keeps everything: `flush` after the next join sends it again with the same
 * keys, so the server delivers once. A refusal that names a delay is tried again after it.
 */
export class Outgoing {
  /**
   * @param {{connection: import("./connection.js").Connection, room: string,
   *   environment: import("./environment.js").Environment,
   *   ready: () => boolean, settled: (message: Message, reply: any) => void,
   *   concluded: (message: Message) => void}} options
   */
  constructor({ connection, room, environment, ready, settled, concluded }) {
    this.#connection = connection;
    this.#room = room;
    this.#environment = environment;
    this.#ready = ready;
    this.#settled = settled;
    this.#concluded = concluded;
  }

  #connection;
  #room;
  #environment;
  #ready;
  #settled;
  #concluded;
  /** @type {Entry[]} */
  #entries = [];
  #pace = new Pace(0, 1);
  /** The limits `#pace` keeps: each welcome brings its own. @type {object | null} */
  #paceOf = null;
  #timer = null;

  /**
   * Start sending a message.
   *
   * @param {any} body
   * @returns {Message}
   */
  add(body) {
    const user = this.#connection.user ?? { id: "", name: "" };
    const message = new Message({
      room: this.#room,
      from: user.id,
      name: user.name,
      body,
      at: this.#environment.now(),
      state: "sending",
      own: true,
      key: this.#environment.key(),
    });
    this.#enqueue(message);
    return message;
  }

  /**
   * Send a failed message again, as a new attempt of the same message.
   *
   * @param {Message} message
   */
  retry(message) {
    if (message.state !== "failed") return;
    message.state = "sending";
    message.error = null;
    // The old key may be forgotten by now, and it was refused, not lost.
    message.key = this.#environment.key();
    this.#enqueue(message);
  }

  /**
   * Find the message on its way whose echo this is: the oldest with the same body.
   *
   * @param {any} body
   * @returns {Message | undefined}
   */
  echoed(body) {
    const text = JSON.stringify(body);
    return this.#entries.find(
      ({ message }) => message.offset === null && JSON.stringify(message.body) === text,
    )?.message;
  }

  /** Send everything that may go now; called after each join. */
  flush() {
    this.#environment.clearTimeout(this.#timer);
    this.#expire();
    const nowMs = this.#environment.elapsed();
    if (!this.#ready()) return this.#wake(this.#entries[0]?.startedMs + RESEND_MS - nowMs);
    for (const entry of this.#entries.filter((each) => !each.inFlight)) {
      const waitMs = Math.max(entry.notBeforeMs - nowMs, 0) || this.#paced(nowMs);
      // Those behind wait as well: order matters more than the delay.
      if (waitMs > 0) return this.#wake(waitMs);
      this.#transmit(entry);
    }
  }

  /** @param {Message} message */
  #enqueue(message) {
    const startedMs = this.#environment.elapsed();
    this.#entries.push({ message, startedMs, notBeforeMs: 0, refusals: 0, inFlight: false });
    // After the caller has the message in hand: a refusal must not come first.
    queueMicrotask(() => this.flush());
  }

  #paced(nowMs) {
    const limits = this.#connection.limits;
    if (this.#paceOf !== limits) {
      this.#paceOf = limits;
      this.#pace = new Pace(limits.send_per_s ?? 0, limits.send_burst ?? 1);
    }
    return this.#pace.take(nowMs);
  }

  /** @param {Entry} entry */
  async #transmit(entry) {
    const { message } = entry;
    const limit = this.#connection.limits.body_bytes;
    if (limit && bodyBytes(message.body) > limit) {
      return this.#fail(entry, new MetaportError("body_too_big", `over ${limit} bytes`));
    }
    entry.inFlight = true;
    const { body, key } = message;
    try {
      const reply = await this.#connection.request({ t: "send", room: this.#room, body, key });
      this.#remove(entry);
      message.state = "sent";
      this.#settled(message, reply);
    } catch (error) {
      entry.inFlight = false;
      this.#refused(entry, /** @type {MetaportError} */ (error));
    }
  }

  /** @param {Entry} entry @param {MetaportError} error */
  #refused(entry, error) {
    if (error.reason === "disconnected") return;
    const again = error.reason === "timeout" || error.retryAfterMs !== undefined;
    entry.refusals += 1;
    if (!again || entry.refusals >= REFUSALS) return this.#fail(entry, error);
    entry.notBeforeMs = this.#environment.elapsed() + (error.retryAfterMs ?? 0);
    this.flush();
  }

  #expire() {
    const dueMs = this.#environment.elapsed() - RESEND_MS;
    const late = this.#entries.filter((each) => !each.inFlight && each.startedMs <= dueMs);
    for (const entry of late) {
      this.#fail(entry, new MetaportError("not_sent_in_time", "no connection for too long"));
    }
  }

  /** @param {Entry} entry @param {MetaportError} error */
  #fail(entry, error) {
    this.#remove(entry);
    // Its echo was seen: only the acknowledgement got lost.
    const arrived = entry.message.offset !== null;
    entry.message.state = arrived ? "sent" : "failed";
    entry.message.error = arrived ? null : error;
    this.#concluded(entry.message);
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.#entries = this.#entries.filter((each) => each !== entry);
  }

  #wake(delayMs) {
    if (this.#entries.length === 0) return;
    this.#timer = this.#environment.setTimeout(() => this.flush(), delayMs);
  }
}

/** @param {any} body */
function bodyBytes(body) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new TextEncoder().encode(text).length;
}
