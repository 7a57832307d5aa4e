import { Account } from "./account.js";
import { Connection } from "./connection.js";
import { Devices } from "./devices.js";
import { browserEnvironment } from "./environment.js";
import { MetaportError } from "./errors.js";
import { Emitter } from "./events.js";
import { Interruptions } from "./interruptions.js";
import { Message } from "./message.js";
import { MicrophoneTest } from "./microphone.js";
import { Playback } from "./playback.js";
import { Room } from "./room.js";

// By name: of what is imported and exported again, the compiler writes broken declarations.
export { Account, browserEnvironment, Devices, Emitter, Message, MetaportError, MicrophoneTest };

/**
 * A client of one Metaport Chat server.
 *
 * 1. `connection` holds one WebSocket, or a stream of events where the network breaks it
 *    (`carriers.js`), and brings it back when it breaks.
 * 2. Each `Room` catches up from the last offset it saw and sends again what was not acknowledged.
 * 3. Each room's `media` claims its place again, or takes a new one.
 *
 * **What `message` events deliver is in the room's order, each message once, without holes; where
 * that became impossible, a `gap` event says so.** Not supported: more than one server, end-to-end
 * encryption.
 *
 * Events: `state` ({state, error, retryAtMs}), `room` (one we are in without having asked),
 * `online` ({user, online}) for those who are watched, `complaint` (an error no request caused).
 */
export class Metaport extends Emitter {
  /**
   * @param {object} [options]
   * @param {string} [options.server] origin of the server; default: the page's own
   * @param {string} [options.name] enter as a guest of this name
   * @param {import("./connection.js").TokenSource} [options.token] a token of your own backend,
   *   or a function that fetches one (its argument: a new one is needed, for the last was refused
   *   or is about to run out)
   * @param {Account} [options.account] one that has signed in already
   * @param {Partial<import("./environment.js").Environment>} [options.environment]
   */
  constructor({ server = globalThis.location?.origin, name, token, account, environment } = {}) {
    super();
    this.#environment = browserEnvironment(environment);
    /** The account behind this client; `null` with a `token` of your own. @type {Account | null} */
    this.account = token ? null : (account ?? new Account(server, this.#environment));
    this.#guestName = name;
    this.devices = new Devices(this.#environment);
    this.playback = new Playback({ environment: this.#environment, devices: this.devices });
    this.connection = new Connection({
      url: `${server.replace(/^http/, "ws").replace(/\/$/, "")}/ws`,
      token: token ?? ((fresh) => this.#accountToken(fresh)),
      environment: this.#environment,
    });
    /** Rooms by name, left ones included. @type {Map<string, Room>} */
    this.rooms = new Map();
    /** Whether those who are watched are online, by user id. @type {Map<string, boolean>} */
    this.online = new Map();
    /** What the spaces show that were asked for, by name. @type {Map<string, {revision: number, state: Record<string, any>}>} */
    this.spaces = new Map();
    this.#listen();
  }

  #environment;
  #guestName;
  /** @type {string[]} */
  #watched = [];
  /** @type {Interruptions | null} */
  #interruptions = null;

  get state() {
    return this.connection.state;
  }

  get user() {
    return this.connection.user;
  }

  /** Connect and stay connected; `join` does it by itself. */
  async connect() {
    this.#interruptions ??= this.#watch();
    await this.connection.connect();
  }

  /**
   * Join a room.
   *
   * @param {string} name
   * @param {{history?: number, presence?: boolean, state?: boolean, space?: boolean}} [wishes] how
   *   many past messages to begin with (50); whether to know who is there (yes); whether to hear
   *   what others show with `setState` (no), and what the space of the room shows (no)
   * @returns {Promise<Room>}
   */
  async join(name, wishes) {
    await this.connect();
    const room = this.room(name);
    await room.join(wishes);
    return room;
  }

  /**
   * Return a room without joining it, to listen before the first message comes.
   *
   * @param {string} name
   * @returns {Room}
   */
  room(name) {
    const known = this.rooms.get(name);
    if (known) return known;
    const { connection, devices } = this;
    const room = new Room({ name, connection, devices, environment: this.#environment });
    this.rooms.set(name, room);
    return room;
  }

  /**
   * Ask who of some users is online now, in whatever room.
   *
   * @param {string[]} users ids, at most `connection.limits.watched_users`
   * @returns {Promise<Map<string, boolean>>}
   */
  async whoIsOnline(users) {
    await this.connect();
    const reply = await this.connection.request({ t: "online", users });
    return new Map(Object.entries(reply.users));
  }

  /**
   * Watch whether users come online and go; `online` tells changes, also those that happened while
   * the connection was away. A list takes the place of the one before.
   *
   * @param {string[]} users ids, at most `connection.limits.watched_users`
   * @returns {Promise<Map<string, boolean>>} who is online now
   */
  async watchOnline(users) {
    this.#watched = [...users];
    await this.connect();
    await this.#askOnline();
    return this.online;
  }

  async #askOnline() {
    const users = this.#watched;
    const reply = await this.connection.request({ t: "online", users, watch: true });
    if (users !== this.#watched) return;
    for (const user of this.online.keys()) if (!users.includes(user)) this.online.delete(user);
    this.#take(reply.users);
  }

  #take(users) {
    for (const [user, online] of Object.entries(users)) {
      if (this.online.get(user) === online) continue;
      this.online.set(user, online);
      this.emit("online", { user, online });
    }
  }

  #show({ space, revision, state }) {
    this.spaces.set(space, { revision, state });
    this.emit("space", { space, revision, state });
  }

  /** Leave everything and close the connection. */
  async close() {
    this.#interruptions?.stop();
    this.#interruptions = null;
    const leaving = [...this.rooms.values()].map((room) => room.leave().catch(() => {}));
    await Promise.all(leaving);
    this.connection.close();
  }

  async #accountToken(fresh) {
    const account = /** @type {Account} */ (this.account);
    if (account.user === null && this.#guestName) await account.enterAsGuest(this.#guestName);
    return account.token(fresh);
  }

  #listen() {
    this.connection.on("state", (change) => this.emit("state", change));
    this.connection.on("complaint", (error) => this.emit("complaint", error));
    this.connection.on("frame", (frame) => this.#receive(frame));
    this.connection.on("open", () => {
      this.rooms.forEach((room) => room.resume());
      // A connection that is lost again asks again.
      if (this.#watched.length > 0) this.#askOnline().catch(() => {});
    });
    this.connection.on("lost", () => this.rooms.forEach((room) => room.suspend()));
  }

  #receive(frame) {
    if (frame.t === "online") return this.#take(frame.users);
    if (frame.t === "space") return this.#show(frame);
    const known = this.rooms.get(frame.room);
    if (known) return known.receive(frame);
    if (frame.t !== "joined") return;
    const room = this.room(frame.room);
    room.receive(frame);
    this.emit("room", room);
  }

  #watch() {
    const interruptions = new Interruptions(this.#environment);
    interruptions.on("awake", () => {
      this.connection.probe();
      this.playback.resume();
      this.rooms.forEach((room) => room.media.awake());
    });
    interruptions.on("gone", () => this.rooms.forEach((room) => room.media.farewell()));
    interruptions.on("network", () => {
      this.connection.networkChanged();
      this.rooms.forEach((room) => room.media.networkChanged());
    });
    return interruptions;
  }
}
