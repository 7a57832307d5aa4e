import { Pace } from "./pace.js";

const TICK_S = 0.1;

/** @typedef {{user: string, kind: string, value: any}} State `value` is `null` when it is gone */

/**
 * What is true only now in one room: others' last values, and our own kept up to date.
 *
 * Ours are told at most once a tick with their last value, and again whenever the room is joined
 * anew: the server forgets them with our last connection.
 */
export class States {
  /**
   * @param {{room: string, connection: import("./connection.js").Connection,
   *   environment: import("./environment.js").Environment,
   *   ready: () => boolean, changed: (state: State) => void}} options
   */
  constructor({ room, connection, environment, ready, changed }) {
    this.#room = room;
    this.#connection = connection;
    this.#environment = environment;
    this.#ready = ready;
    this.#changed = changed;
    /** Last values by user id and kind. @type {Map<string, Map<string, any>>} */
    this.values = new Map();
  }

  #room;
  #connection;
  #environment;
  #ready;
  #changed;
  /** @type {Map<string, any>} */
  #own = new Map();
  /** Kinds of ours to tell. @type {Set<string>} */
  #due = new Set();
  #pace = new Pace(0, 1);
  /** The limits `#pace` keeps: each welcome brings its own. @type {object | null} */
  #paceOf = null;
  #notBeforeMs = 0;
  #timer = null;

  /** @param {string} kind @param {any} value `null` takes it away */
  set(kind, value) {
    if (value === null || value === undefined) this.#own.delete(kind);
    else this.#own.set(kind, value);
    this.#due.add(kind);
    this.#flush();
  }

  /** The room is joined, perhaps again. @param {State[]} [everything] what others show */
  resume(everything) {
    if (everything) this.#replace(everything);
    for (const kind of this.#own.keys()) this.#due.add(kind);
    this.#flush();
  }

  /** The room is left: nothing is shown, to us or by us. */
  end() {
    this.#environment.clearTimeout(this.#timer);
    this.#own.clear();
    this.#due.clear();
    this.#replace([]);
  }

  /** @param {{states: State[], all?: boolean}} frame */
  receive({ states, all }) {
    if (all) this.#replace(states);
    else states.forEach((state) => this.#take(state));
  }

  /** @param {State[]} everything */
  #replace(everything) {
    const here = new Set(everything.map(({ user, kind }) => `${kind} ${user}`));
    for (const [user, kinds] of [...this.values]) {
      for (const kind of [...kinds.keys()]) {
        if (!here.has(`${kind} ${user}`)) this.#take({ user, kind, value: null });
      }
    }
    everything.forEach((state) => this.#take(state));
  }

  /** @param {State} state */
  #take({ user, kind, value }) {
    const kinds = this.values.get(user) ?? new Map();
    if (value === null) kinds.delete(kind);
    else kinds.set(kind, value);
    if (kinds.size > 0) this.values.set(user, kinds);
    else this.values.delete(user);
    this.#changed({ user, kind, value });
  }

  #flush() {
    this.#environment.clearTimeout(this.#timer);
    const { limits } = this.#connection;
    // A server of before knows no states.
    if (this.#due.size === 0 || !this.#ready() || limits.state_bytes === undefined) return;
    if (this.#paceOf !== limits) {
      this.#paceOf = limits;
      this.#pace = new Pace(limits.state_per_s ?? 0, limits.state_burst ?? 1);
    }
    const nowMs = this.#environment.elapsed();
    if (nowMs < this.#notBeforeMs) return this.#wake(this.#notBeforeMs - nowMs);
    for (const kind of this.#due) {
      const waitMs = this.#pace.take(nowMs);
      if (waitMs > 0) return this.#wake(waitMs);
      const value = this.#own.get(kind) ?? null;
      this.#connection.tell({ t: "state", room: this.#room, kind, value });
      this.#due.delete(kind);
    }
    this.#notBeforeMs = nowMs + (limits.state_tick_s ?? TICK_S) * 1000;
  }

  #wake(delayMs) {
    this.#timer = this.#environment.setTimeout(() => this.#flush(), delayMs);
  }
}
