import { pause } from "./environment.js";
import { BROKEN, LATER, PING } from "./wire.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;
const BATCH_BYTES = 100_000;
const POST_MS = 10_000;
const AGAIN_MS = 500;
const AGAIN_LONGEST_MS = 4_000;
// A server gives a silent client 90 s; what cannot be sent for so long is better sent anew.
const GIVE_UP_MS = 30_000;
// Whoever sent something lately need not answer a heartbeat.
const ALIVE_MS = 10_000;

/**
 * What a `WebSocket` does, by server-sent events and POST: for networks that break WebSocket.
 *
 * Frames go up in numbered requests, one at a time; one whose answer got lost is sent again with
 * its number, and the server takes it once. As far as `Connection` uses it, it is a WebSocket.
 */
export class StreamSocket {
  /**
   * @param {string} url where the stream is opened, `https://chat.example/sse`
   * @param {import("./environment.js").Environment} environment
   */
  constructor(url, environment) {
    this.#url = url;
    this.#environment = environment;
    this.readyState = CONNECTING;
    /** @type {((event: any) => void) | null} */
    this.onopen = null;
    /** @type {((event: {data: string}) => void) | null} */
    this.onmessage = null;
    /** @type {((event: {code: number, reason: string}) => void) | null} */
    this.onclose = null;
    /** @type {((event: any) => void) | null} */
    this.onerror = null;
    this.#run();
  }

  #url;
  #environment;
  #aborter = new AbortController();
  #stream = "";
  /** @type {string[]} */
  #queue = [];
  #posting = false;
  #number = 0;
  #postedMs = 0;

  /** @param {string} text one frame */
  send(text) {
    this.#queue.push(text);
    this.#flush();
  }

  /** Let go of it; nothing more is heard. */
  close() {
    this.readyState = CLOSED;
    this.#aborter.abort();
  }

  async #run() {
    try {
      const response = await this.#environment.fetch(this.#url, {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal: this.#aborter.signal,
      });
      if (!response.ok || !response.body) return this.#refused(response);
      await this.#read(response.body.getReader());
      this.#end(BROKEN);
    } catch {
      this.#end(BROKEN);
    }
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #read(reader) {
    const decoder = new TextDecoder();
    let text = "";
    while (this.readyState !== CLOSED) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) this.#take(event);
    }
  }

  /** @param {string} event its lines, without the blank one */
  #take(event) {
    let type = "message";
    let data = "";
    for (const line of event.split("\n")) {
      if (line.startsWith("event: ")) type = line.slice(7);
      else if (line.startsWith("data: ")) data = line.slice(6);
      else if (line.startsWith(":")) this.#answerHeartbeat();
    }
    if (!data || this.readyState === CLOSED) return;
    if (type === "message") return this.onmessage?.({ data });
    const told = JSON.parse(data);
    if (type === "close") return this.#end(told.code, told.reason);
    if (type === "open") {
      this.#stream = told.stream;
      this.readyState = OPEN;
      this.onopen?.({});
      this.#flush();
    }
  }

  /** The server cannot see whether we are here unless we say so. */
  #answerHeartbeat() {
    const idleMs = this.#environment.elapsed() - this.#postedMs;
    if (this.readyState === OPEN && idleMs > ALIVE_MS) this.send(PING);
  }

  async #flush() {
    if (this.#posting || this.readyState !== OPEN) return;
    this.#posting = true;
    while (this.#queue.length > 0 && this.readyState === OPEN) {
      this.#number += 1;
      if (!(await this.#deliver(this.#batch()))) this.#end(BROKEN);
    }
    this.#posting = false;
  }

  #batch() {
    let size = 0;
    let count = 0;
    for (const text of this.#queue) {
      // A character of Korean is three bytes.
      size += text.length * 3;
      if (count > 0 && size > BATCH_BYTES) break;
      count += 1;
    }
    return this.#queue.splice(0, count).join("\n");
  }

  /** @param {string} body @returns {Promise<boolean>} whether the server has it */
  async #deliver(body) {
    const startedMs = this.#environment.elapsed();
    let waitMs = AGAIN_MS;
    while (this.readyState === OPEN) {
      const { status, retryAfterMs } = await this.#post(body);
      if (status === 204) return true;
      const again = status === 0 || status === 429 || status >= 500;
      if (!again || this.#environment.elapsed() - startedMs > GIVE_UP_MS) return false;
      await pause(this.#environment, Math.max(retryAfterMs, waitMs) * (0.5 + this.#environment.random()));
      waitMs = Math.min(AGAIN_LONGEST_MS, waitMs * 2);
    }
    return true;
  }

  /** @param {string} body @returns {Promise<{status: number, retryAfterMs: number}>} 0: no answer */
  async #post(body) {
    const aborter = new AbortController();
    const timer = this.#environment.setTimeout(() => aborter.abort(), POST_MS);
    this.#postedMs = this.#environment.elapsed();
    try {
      // Text and nothing else: a request that needs no preflight from pages of another origin.
      const response = await this.#environment.fetch(
        `${this.#url}/${this.#stream}?n=${this.#number}`,
        { method: "POST", body, signal: aborter.signal },
      );
      return { status: response.status, retryAfterMs: retryAfterMs(response) };
    } catch {
      return { status: 0, retryAfterMs: 0 };
    } finally {
      this.#environment.clearTimeout(timer);
    }
  }

  /** Full, draining, too many from this address: the server says when to come back. */
  #refused(response) {
    const later = response.status === 503 || response.status === 429;
    if (later) this.#end(LATER, `refused ${retryAfterMs(response) || 1_000}`);
    else this.#end(BROKEN, `HTTP ${response.status}`);
  }

  /** @param {number} code @param {string} [reason] */
  #end(code, reason = "") {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#aborter.abort();
    this.onclose?.({ code, reason });
  }
}

/** @param {Response} response */
function retryAfterMs(response) {
  return (Number(response.headers.get("Retry-After")) || 0) * 1000;
}
