import { Backoff } from "./backoff.js";
import { Carriers } from "./carriers.js";
import { MetaportError } from "./errors.js";
import { Emitter } from "./events.js";
import { Renewal } from "./renewal.js";
import { BROKEN, delayIn, PING, SUBPROTOCOL, WIRE_VERSION } from "./wire.js";

const HANDSHAKE_MS = 8_000;
const REPLY_MS = 15_000;
const PONG_MS = 5_000;
// A connection that lasted this long was a good one: the next attempt starts from the short delays.
const STABLE_MS = 5_000;
// A timer this much later than asked means that the page was frozen, not that the server was silent.
const FROZEN_MS = 3_000;
const AT_ONCE_JITTER_MS = 500;
// After a change of network the old connection is dead more often than not.
const SUSPECT_MS = 2_500;
const DELAYED_MS = 5_000;
const LONGEST_DELAY_MS = 3_600_000;

// What a new token may mend: whoever was signed out everywhere gets none.
const RENEWABLE = ["token_expired", "bad_token", "token_revoked"];

/** @typedef {"idle" | "connecting" | "connected" | "waiting" | "closed"} ConnectionState */
/** @typedef {string | ((fresh: boolean) => string | Promise<string>)} TokenSource */
/** @typedef {Record<string, any> & {t: string}} Frame */

/**
 * One chat connection that comes back by itself.
 *
 * Events: `state` ({state, error, retryAtMs}), `open` (the `welcome` frame, each time),
 * `lost` (the error, each time), `frame` (everything the server says unasked).
 */
export class Connection extends Emitter {
  /**
   * @param {{url: string, token: TokenSource,
   *   environment: import("./environment.js").Environment}} options
   */
  constructor({ url, token, environment }) {
    super();
    this.#url = url;
    this.#token = token;
    this.#environment = environment;
    this.#backoff = new Backoff(environment.random);
    this.#carriers = new Carriers(environment);
    this.#renewal = new Renewal({
      environment,
      token: async () => /** @type {Exclude<TokenSource, string>} */ (this.#token)(true),
      present: (token) => /** @type {Promise<any>} */ (this.request({ t: "refresh", token })),
    });
    /** @type {ConnectionState} */
    this.state = "idle";
    /** @type {import("./account.js").User | null} */
    this.user = null;
    /** @type {string | null} */
    this.session = null;
    /** @type {Record<string, number>} */
    this.limits = {};
    /** When the next attempt starts, while `waiting`. @type {number | null} */
    this.retryAtMs = null;
  }

  #url;
  #token;
  #environment;
  #backoff;
  #carriers;
  #renewal;
  /** @type {WebSocket | import("./stream_socket.js").StreamSocket | null} */
  #socket = null;
  /** Whether the server has said anything on this socket. */
  #answered = false;
  #nextId = 1;
  /** @type {Map<number, {resolve: (frame: any) => void, reject: (error: Error) => void, timer: any}>} */
  #pending = new Map();
  #retryTimer = null;
  #handshakeTimer = null;
  #pingTimer = null;
  #pingS = 25;
  #heard = 0;
  #heardMs = 0;
  #openedMs = 0;
  #freshToken = false;
  /** @type {MetaportError | null} */
  #lastError = null;

  /**
   * Connect and stay connected.
   *
   * @returns {Promise<void>} at the first `welcome`; rejects when the server says not to come back
   */
  connect() {
    if (this.state === "connected") return Promise.resolve();
    /** @type {Promise<void>} */
    const outcome = new Promise((resolve, reject) => {
      const off = this.on("state", ({ state, error }) => {
        if (state === "connected") resolve();
        else if (state === "closed") reject(error ?? new MetaportError("closed"));
        else return;
        off();
      });
    });
    if (this.state === "idle" || this.state === "closed") this.#open();
    return outcome;
  }

  /** Close for good; `connect` starts anew. */
  close() {
    this.#drop(new MetaportError("closed", "closed by this client"), 1000);
    this.#become("closed");
  }

  /**
   * Send a request and wait for its reply.
   *
   * @param {Frame} frame without `id`
   * @param {number} [timeoutMs]
   * @returns {Promise<Frame>} rejects with the server's error, `disconnected` or `timeout`
   */
  request(frame, timeoutMs = REPLY_MS) {
    const socket = this.#socket;
    if (this.state !== "connected" || !socket) return Promise.reject(disconnected());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = this.#environment.setTimeout(() => {
        this.#pending.delete(id);
        reject(new MetaportError("timeout", `no reply to ${frame.t}`));
        this.probe();
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ ...frame, id }));
    });
  }

  /** Send what nobody answers; dropped while not connected. @param {Frame} frame */
  tell(frame) {
    if (this.state === "connected") this.#socket?.send(JSON.stringify(frame));
  }

  /**
   * Make sure the connection is alive, now: after sleep, a network change, a missing reply.
   *
   * @param {number} [timeoutMs]
   */
  probe(timeoutMs = PONG_MS) {
    if (this.state === "waiting") this.#open();
    else if (this.state === "connected") this.#ping(timeoutMs);
  }

  /** How the server is reached now. @returns {import("./carriers.js").Carrier} */
  get carrier() {
    return this.#carriers.next;
  }

  /** The network is another one: what it broke may work now. */
  networkChanged() {
    this.#carriers.moved();
    this.probe(SUSPECT_MS);
  }

  async #open() {
    this.#environment.clearTimeout(this.#retryTimer);
    this.retryAtMs = null;
    this.#become("connecting");
    let token;
    try {
      token = typeof this.#token === "string" ? this.#token : await this.#token(this.#freshToken);
    } catch (error) {
      const failure = asMetaportError(error);
      if (this.state === "connecting") this.#failed(failure, !failure.permanent);
      return;
    }
    if (this.state !== "connecting" || this.#socket) return;
    this.#start(token);
  }

  /** @param {string} token */
  #start(token) {
    const socket = this.#carriers.open(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    this.#answered = false;
    this.#lastError = null;
    const mine = (handler) => (event) => this.#socket === socket && handler(event);
    socket.onopen = mine(() =>
      socket.send(JSON.stringify({ t: "hello", token, v: WIRE_VERSION })),
    );
    socket.onmessage = mine((event) => this.#receive(event.data));
    socket.onclose = mine(({ code, reason }) => {
      if (!this.#otherwise(code, token)) this.#closed(code, reason);
    });
    // `close` follows and tells more.
    socket.onerror = () => {};
    this.#handshakeTimer = this.#environment.setTimeout(() => {
      const error = new MetaportError("timeout", "no welcome");
      this.#drop(error, 4000);
      if (!this.#otherwise(BROKEN, token)) this.#failed(error, true);
    }, HANDSHAKE_MS);
  }

  /**
   * Try the other way to the server when this one broke before the server said anything.
   *
   * @param {number} code
   * @param {string} token
   */
  #otherwise(code, token) {
    if (this.state !== "connecting" || this.#answered) return false;
    // Who is told to come back later has reached the server.
    if (code >= 4000) this.#carriers.refused();
    else if (this.#carriers.failed()) {
      this.#drop(disconnected());
      this.#start(token);
      return true;
    }
    return false;
  }

  /** @param {string} data */
  #receive(data) {
    this.#answered = true;
    this.#heard += 1;
    this.#heardMs = this.#environment.elapsed();
    /** @type {Frame} */
    const frame = JSON.parse(data);
    if (frame.t === "welcome") this.#welcome(frame);
    else if (this.#settle(frame)) return;
    else if (frame.t === "error") this.#complaint(MetaportError.fromFrame(frame));
    else if (frame.t !== "pong") this.emit("frame", frame);
  }

  #welcome(frame) {
    this.#environment.clearTimeout(this.#handshakeTimer);
    this.#carriers.worked();
    this.user = frame.user;
    this.session = frame.session;
    this.limits = frame.limits ?? {};
    this.#pingS = frame.ping_s ?? this.#pingS;
    this.#openedMs = this.#environment.elapsed();
    this.#freshToken = false;
    // A token that cannot be renewed is used to its end.
    if (typeof this.#token !== "string") this.#renewal.begin(frame.expires_in);
    this.#watch();
    this.#become("connected");
    this.emit("open", frame);
  }

  /** Give a reply to whoever waits for it. The `id` of a `message` is a string and never a reply's. */
  #settle(frame) {
    if (typeof frame.id !== "number") return false;
    const waiting = this.#pending.get(frame.id);
    if (!waiting) return false;
    this.#pending.delete(frame.id);
    this.#environment.clearTimeout(waiting.timer);
    if (frame.t === "error") waiting.reject(MetaportError.fromFrame(frame));
    else waiting.resolve(frame);
    return true;
  }

  /** @param {MetaportError} error */
  #complaint(error) {
    this.#lastError = error;
    this.emit("complaint", error);
  }

  /**
   * Decide by the close code whether and when to come back: 4000–4099 at once with jitter,
   * 4100–4199 after the delay told, 4200–4299 not at all, anything else with growing delays.
   *
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    const told = this.#lastError;
    const error = told ?? new MetaportError("disconnected", reason || `closed with ${code}`, { code });
    this.#drop(error);
    // Its time ran out while connected: the next hello needs a new one, whatever our clock says.
    if (error.reason === "token_lapsed") this.#freshToken = true;
    if (code >= 4000 && code < 4100) return this.#retryIn(error, this.#jitter());
    if (code >= 4100 && code < 4200) {
      return this.#retryIn(error, (delayTold(told, reason) ?? DELAYED_MS) + this.#jitter());
    }
    if (code >= 4200 && code < 4300) {
      // It is there and wants another token: no reason to wait, however long it was away.
      return this.#mayRenew(error) ? this.#retryIn(error, this.#jitter()) : this.#failed(error, false);
    }
    this.#failed(error, true);
  }

  /** A refused token is renewed once; a second refusal is final. */
  #mayRenew(error) {
    if (!RENEWABLE.includes(error.reason) || typeof this.#token === "string" || this.#freshToken) return false;
    this.#freshToken = true;
    return true;
  }

  #abandon(error) {
    this.#drop(error, 4000);
    this.#failed(error, true);
  }

  /** @param {MetaportError} error @param {boolean} again */
  #failed(error, again) {
    if (!again) return this.#become("closed", error);
    const lastedMs = this.#environment.elapsed() - this.#openedMs;
    if (this.#openedMs && lastedMs >= STABLE_MS) this.#backoff.reset();
    this.#openedMs = 0;
    this.#retryIn(error, Math.max(this.#backoff.next(), error.retryAfterMs ?? 0));
  }

  #retryIn(error, wantedMs) {
    // A timer of more than 2^31 - 1 ms fires at once: who is sent away for a month must not hammer.
    const delayMs = Math.min(wantedMs, LONGEST_DELAY_MS);
    this.#environment.clearTimeout(this.#retryTimer);
    this.retryAtMs = this.#environment.now() + delayMs;
    this.#retryTimer = this.#environment.setTimeout(() => this.#open(), delayMs);
    this.#become("waiting", error);
  }

  #jitter() {
    return Math.round(this.#environment.random() * AT_ONCE_JITTER_MS);
  }

  /** Let go of the socket and fail what waits for a reply. */
  #drop(error, code) {
    const socket = this.#socket;
    this.#socket = null;
    this.#renewal.stop();
    for (const timer of [this.#handshakeTimer, this.#pingTimer, this.#retryTimer]) {
      this.#environment.clearTimeout(timer);
    }
    if (code !== undefined && socket && socket.readyState <= 1) socket.close(code);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      this.#environment.clearTimeout(timer);
      reject(disconnected(error));
    }
    if (this.state === "connected") this.emit("lost", error);
  }

  /** Ask for a sign of life whenever the server has been silent for its own ping interval. */
  #watch() {
    const dueMs = this.#pingS * 1000;
    this.#environment.clearTimeout(this.#pingTimer);
    this.#pingTimer = this.#environment.setTimeout(() => {
      if (this.#environment.elapsed() - this.#heardMs >= dueMs) this.#ping(PONG_MS);
      else this.#watch();
    }, dueMs);
  }

  /**
   * @param {number} timeoutMs
   * @param {boolean} [once] a late timer was forgiven before: those of a hidden tab are always late
   */
  #ping(timeoutMs, once = false) {
    const askedMs = this.#environment.elapsed();
    const heard = this.#heard;
    this.#socket?.send(PING);
    this.#environment.clearTimeout(this.#pingTimer);
    this.#pingTimer = this.#environment.setTimeout(() => {
      const nowMs = this.#environment.elapsed();
      if (this.#heard > heard) this.#watch();
      else if (!once && nowMs - askedMs - timeoutMs > FROZEN_MS) this.#ping(timeoutMs, true);
      else this.#abandon(new MetaportError("timeout", "the server is silent"));
    }, timeoutMs);
  }

  /** @param {ConnectionState} state @param {MetaportError} [error] */
  #become(state, error) {
    if (state === this.state && !error) return;
    this.state = state;
    this.emit("state", { state, error: error ?? null, retryAtMs: this.retryAtMs });
  }
}

/** @param {unknown} [cause] */
function disconnected(cause) {
  return new MetaportError("disconnected", "not connected", { cause });
}

/** @param {unknown} error */
function asMetaportError(error) {
  return error instanceof MetaportError
    ? error
    : new MetaportError("unreachable", String(error), { cause: error });
}

/** The delay is in the `error` frame before the close, or a number in the close reason. */
function delayTold(error, reason) {
  if (error?.retryAfterMs !== undefined) return error.retryAfterMs;
  return delayIn(reason);
}
