import { CatchUp } from "./catch_up.js";
import { MetaportError } from "./errors.js";
import { Emitter } from "./events.js";
import { Media } from "./media.js";
import { Message } from "./message.js";
import { Outgoing } from "./outgoing.js";
import { Past } from "./past.js";
import { States } from "./states.js";
import { Timeline } from "./timeline.js";

const REJOIN_MS = 2_000;
// A timer of more than 2^31 - 1 ms fires at once: who is kept out for a month must not hammer.
const LONGEST_REJOIN_MS = 3_600_000;
// What was asked may have been answered, and the answer is lost.
const UNHEARD = ["disconnected", "timeout"];

/** @typedef {"idle" | "joining" | "joined" | "left"} RoomState */
/** @typedef {{user: string, name: string}} Member */

/**
 * One room: its messages in order without holes, its members, its media.
 *
 * Events: `message` ({message, origin: "live" | "recovered" | "history"}) for each message once, in
 * order, one's own included; `outgoing` (message) when one of our own appears or changes state;
 * `older` ({messages, more}) when `loadOlder` put messages before the first;
 * `gap` ({missing}) when messages were lost for good; `members`; `shown` ({user, kind, value}) for
 * what is true only now; `removed` ({reason, and by a moderator: by, note, retryAfterMs, to}) when
 * the server ended our being here; `muted` ({what, until, by, note}) when something of ours is muted
 * or no longer; `withdrawn` ({message, by, note}) when a moderator removed a message; `state`; `error`.
 */
export class Room extends Emitter {
  /**
   * @param {{name: string, connection: import("./connection.js").Connection,
   *   devices: import("./devices.js").Devices,
   *   environment: import("./environment.js").Environment}} options
   */
  constructor({ name, connection, devices, environment }) {
    super();
    this.name = name;
    this.#connection = connection;
    this.#environment = environment;
    /** @type {RoomState} */
    this.state = "idle";
    /** @type {string | null} */
    this.epoch = null;
    this.offset = 0;
    /** Who is here, by user id; empty where the room is too big to say. @type {Map<string, Member>} */
    this.members = new Map();
    /** How many are here, as the server last said. @type {number | null} */
    this.count = null;
    /** What a moderator has muted of us here: `text`, `audio`, `video`. @type {string[]} */
    this.muted = [];
    this.#timeline = new Timeline();
    this.#past = new Past({
      connection,
      room: name,
      timeline: this.#timeline,
      top: () => (this.epoch === null ? null : { epoch: this.epoch, offset: this.offset + 1 }),
    });
    this.#catchUp = new CatchUp({ connection, room: name });
    this.#outgoing = new Outgoing({
      connection,
      room: name,
      environment,
      ready: () => this.state === "joined",
      settled: (message, reply) => this.#acknowledged(message, reply),
      concluded: (message) => this.emit("outgoing", message),
    });
    this.#states = new States({
      connection,
      room: name,
      environment,
      ready: () => this.state === "joined",
      changed: (state) => this.emit("shown", state),
    });
    this.media = new Media({ room: this, connection, devices, environment });
  }

  #connection;
  #environment;
  #timeline;
  #past;
  #catchUp;
  #outgoing;
  #states;
  #history = 0;
  #presence = false;
  #state = false;
  #space = false;
  #rejoinTimer = null;
  /** Counts attempts to join, so that the reply to an overtaken one is ignored. */
  #attempt = 0;

  /** Messages in order; those on their way last. @returns {readonly Message[]} */
  get messages() {
    return this.#timeline.messages;
  }

  /**
   * Join, or join again with other wishes.
   *
   * @param {{history?: number, presence?: boolean, state?: boolean, space?: boolean}} [wishes] how
   *   many past messages to begin with; whether to hear what others show, and what the space shows
   */
  async join({ history = 50, presence = true, state = false, space = false } = {}) {
    this.#history = history;
    this.#presence = presence;
    this.#state = state;
    this.#space = space;
    await this.#join(false);
    // The connection was lost meanwhile: it comes back by itself, and so does the room.
    while (this.state === "joining") await this.next("state");
  }

  /** Leave; what is still on its way is sent when the room is joined again. */
  async leave() {
    this.#attempt += 1;
    this.#environment.clearTimeout(this.#rejoinTimer);
    const here = this.state === "joined" || this.state === "joining";
    await this.media.leave();
    this.#become("left");
    this.#states.end();
    if (here && this.#connection.state === "connected") {
      await this.#connection.request({ t: "leave", room: this.name });
    }
  }

  /** Whether older messages may be there than `messages` holds. */
  get hasOlder() {
    return this.#past.more;
  }

  /**
   * Read on into the past: put the messages before the first at its head, and tell `older`.
   *
   * @param {number} [limit] at most so many
   * @returns {Promise<Message[]>} oldest first; empty where there are none. Rejects with
   *   `history_away` (try again later) and the errors of the connection.
   */
  async loadOlder(limit = 50) {
    const messages = await this.#past.load(limit);
    this.emit("older", { messages, more: this.hasOlder });
    return messages;
  }

  /**
   * Send a message.
   *
   * @param {any} body a string, or a map of JSON values
   * @returns {Message} in state `sending`; `outgoing` tells what becomes of it
   */
  send(body) {
    const message = this.#outgoing.add(body);
    this.#timeline.append(message);
    this.emit("outgoing", message);
    return message;
  }

  /** Send a failed message again. @param {Message} message */
  retry(message) {
    if (message.state !== "failed") return;
    this.#timeline.remove(message);
    this.#timeline.append(message);
    this.#outgoing.retry(message);
    this.emit("outgoing", message);
  }

  /** Forget a failed message. @param {Message} message */
  discard(message) {
    if (message.state !== "failed") return;
    this.#timeline.remove(message);
    this.emit("discarded", message);
  }

  /** Last values others show, by user id and kind. @returns {Map<string, Map<string, any>>} */
  get states() {
    return this.#states.values;
  }

  /**
   * Show a value to the room until the next one of its kind, or until we leave: a position, an
   * avatar, a status, typing. It is not a message: not kept, and the last one counts.
   *
   * @param {string} kind 1 to 32 letters, digits or `-_.:`; at most 16 kinds
   * @param {any} value JSON of at most 1 KiB; `null` takes it away
   */
  setState(kind, value) {
    this.#states.set(kind, value);
  }

  /** The connection is back: catch up from the last offset seen. */
  resume() {
    if (this.state === "joining") this.#join(true).catch(() => {});
  }

  /** The connection is gone; it will be back. */
  suspend() {
    if (this.state !== "joined") return;
    this.#become("joining");
    this.media.suspend();
  }

  /** Take a frame of this room. @param {import("./connection.js").Frame} frame */
  receive(frame) {
    if (frame.t === "message") this.#live(frame);
    else if (frame.t === "joined") this.#subscribed(frame);
    else if (frame.t === "left") this.#removed(/** @type {any} */ (frame));
    else if (frame.t === "muted") this.#muted(/** @type {any} */ (frame));
    else if (frame.t === "removed") this.#withdraw(/** @type {any} */ (frame));
    else if (frame.t === "presence") this.#present(frame);
    else if (frame.t === "states") this.#states.receive(/** @type {any} */ (frame));
    else if (frame.t.startsWith("media.")) this.media.receive(frame);
  }

  /**
   * @param {boolean} again by ourselves, so failures are tried again instead of thrown
   */
  async #join(again) {
    const attempt = ++this.#attempt;
    this.#environment.clearTimeout(this.#rejoinTimer);
    this.#become("joining");
    try {
      if (this.#catchUp.needed) await this.#readOn(attempt);
      if (attempt !== this.#attempt) return;
      const since = this.#place();
      let reply = await this.#ask(since);
      if (attempt !== this.#attempt) return;
      if (since && !reply.recovered) {
        this.#lost(reply);
        reply = await this.#ask(undefined);
        if (attempt !== this.#attempt) return;
      }
      this.#catchUp.done();
      this.#joined(reply, since && reply.recovered ? "recovered" : "history");
    } catch (error) {
      if (this.epoch !== null && UNHEARD.includes(/** @type {MetaportError} */ (error).reason)) this.#catchUp.cut();
      if (attempt === this.#attempt) this.#refused(/** @type {MetaportError} */ (error), again);
    }
  }

  #place() {
    return this.epoch === null ? undefined : { epoch: this.epoch, offset: this.offset };
  }

  /** Take what was missed in pages, so that a line that breaks all the time makes progress. */
  async #readOn(attempt) {
    const since = this.#place();
    if (!since) return;
    await this.#catchUp.read(since, (frames) => {
      if (attempt !== this.#attempt || this.epoch !== since.epoch) return null;
      for (const frame of frames) {
        if (frame.offset > this.offset) this.#accept(frame, "recovered");
      }
      this.offset = Math.max(this.offset, frames.at(-1).offset);
      return this.offset;
    });
  }

  #ask(since) {
    return this.#connection.request({
      t: "join",
      room: this.name,
      ...(since ? { since } : { history: this.#history }),
      ...(this.#presence ? { presence: true } : {}),
      ...(this.#state ? { state: true } : {}),
      ...(this.#space ? { space: true } : {}),
    });
  }

  /** @param {any} reply @param {"recovered" | "history"} origin */
  #joined(reply, origin) {
    if (reply.epoch !== this.epoch) this.#timeline.begin(reply.epoch);
    const known = reply.epoch === this.epoch ? this.offset : 0;
    this.epoch = reply.epoch;
    for (const frame of reply.messages) {
      if (frame.offset > known) this.#accept(frame, origin);
    }
    for (const offset of reply.removed ?? []) this.#withdraw({ epoch: reply.epoch, offset });
    // What still holds is told again after this.
    this.muted = [];
    this.offset = reply.offset;
    if (reply.members) this.#replaceMembers(reply.members);
    this.count = reply.count ?? (reply.members ? this.members.size : null);
    this.#become("joined");
    this.emit("members", this.members);
    this.#outgoing.flush();
    this.#states.resume(reply.states);
    this.media.resume();
  }

  /** We are in without having asked. */
  #subscribed(frame) {
    // Our own join is under way, or was answered: its reply says more.
    if (this.state === "joining" || this.state === "joined") return;
    this.#history = 0;
    this.#presence = false;
    this.#state = false;
    const behind = this.epoch !== null && (frame.epoch !== this.epoch || frame.offset !== this.offset);
    if (behind) this.#join(true);
    else this.#joined(frame, "history");
  }

  /** The server took us out: a token that opens less, a room that was closed to us. */
  #removed({ reason = "unsubscribed", by, note, to, retry_after_ms: retryAfterMs }) {
    if (this.state !== "joined" && this.state !== "joining") return;
    this.#attempt += 1;
    this.#environment.clearTimeout(this.#rejoinTimer);
    this.media.leave().catch(() => {});
    this.#become("left");
    this.#states.end();
    const told = { reason, by, note, to, retryAfterMs };
    this.emit("removed", Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined)));
  }

  #muted({ what, until, by, note }) {
    this.muted = what;
    this.emit("muted", { what, until, by, note });
  }

  /**
   * A moderator has removed a message: its place stays, what it said does not.
   * @param {{epoch: string, offset: number, by?: string, note?: string}} removal
   */
  #withdraw({ epoch, offset, by, note }) {
    const message = epoch === this.epoch ? this.#timeline.at(offset) : undefined;
    if (!message || message.removed) return;
    message.removed = true;
    message.body = null;
    this.emit("withdrawn", { message, by, note });
  }

  #lost(reply) {
    const missing = reply.epoch === this.epoch ? reply.offset - this.offset : null;
    this.emit("gap", { missing });
  }

  /** @param {MetaportError} error @param {boolean} again */
  #refused(error, again) {
    // `resume` follows the next welcome.
    if (error.reason === "disconnected") return;
    const passing = error.retryAfterMs !== undefined || error.reason === "timeout";
    if (again && passing) {
      const delayMs = Math.min(error.retryAfterMs ?? REJOIN_MS, LONGEST_REJOIN_MS);
      this.#rejoinTimer = this.#environment.setTimeout(() => this.resume(), delayMs);
      return;
    }
    this.#become("left");
    this.emit("error", error);
    if (!again) throw error;
  }

  #live(frame) {
    // While joining, the reply brings everything up to its offset.
    if (this.state !== "joined" || frame.offset <= this.offset) return;
    if (frame.offset !== this.offset + 1) {
      this.#join(true);
      return;
    }
    this.offset = frame.offset;
    this.#accept(frame, "live");
  }

  #accept(frame, origin) {
    const own = frame.from === this.#connection.user?.id;
    const message =
      this.#timeline.at(frame.offset) ||
      (own && this.#outgoing.echoed(frame.body)) ||
      received(frame, own);
    this.#timeline.confirm(message, frame);
    if (frame.removed) Object.assign(message, { removed: true, body: null });
    this.emit("message", { message, origin });
  }

  /**
   * Put a sent message where the server put it. Its echo may have come first, or may have been
   * mistaken for another message with the same body: the offset decides.
   */
  #acknowledged(message, reply) {
    if (reply.epoch && reply.epoch !== this.epoch) return this.#acknowledgedBefore(message, reply);
    const there = this.#timeline.at(reply.offset);
    if (there !== message) {
      if (message.offset !== null) this.#timeline.confirm(copyOf(message), place(message));
      if (there) this.#timeline.remove(there);
      this.#timeline.confirm(message, { offset: reply.offset, id: reply.message_id, at: reply.at });
      if (there) this.emit("merged", { message, duplicate: there });
    }
    this.emit("outgoing", message);
  }

  /** It got its place before the room began anew. */
  #acknowledgedBefore(message, reply) {
    const there = this.#timeline.at(reply.offset, reply.epoch);
    if (there && there !== message) {
      this.#timeline.remove(message);
      this.emit("merged", { message: there, duplicate: message });
    } else {
      this.#timeline.confirmEarlier(message, { offset: reply.offset, id: reply.message_id, at: reply.at }, reply.epoch);
    }
    this.emit("outgoing", message);
  }

  #present(frame) {
    if (Array.isArray(frame.members)) this.#replaceMembers(frame.members);
    else if (frame.event === "joined") this.members.set(frame.user, { user: frame.user, name: frame.name });
    else if (frame.event === "left") this.members.delete(frame.user);
    this.count = frame.count ?? this.members.size;
    this.emit("members", this.members);
  }

  #replaceMembers(members) {
    this.members = new Map(members.map(({ user, name }) => [user, { user, name }]));
  }

  /** @param {RoomState} state */
  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}

function received(frame, own) {
  const { room, from, name, body, at } = frame;
  return new Message({ room, from, name, body, at, own, state: own ? "sent" : "received" });
}

function copyOf(message) {
  const { room, from, name, body, at } = message;
  return new Message({ room, from, name, body, at, own: true, state: "sent" });
}

function place({ offset, id, at }) {
  return { offset, id, at };
}
