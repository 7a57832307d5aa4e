/** @typedef {"sending" | "sent" | "failed" | "received"} MessageState */

/** A message in a room: someone's, or one of this client's own on its way. */
export class Message {
  /**
   * @param {{room: string, from: string, name: string, body: any, at: number, state: MessageState,
   *   own: boolean, key?: string}} fields
   */
  constructor({ room, from, name, body, at, state, own, key }) {
    this.room = room;
    this.from = from;
    this.name = name;
    this.body = body;
    /** Milliseconds since the Unix epoch: the server's once it has an offset. */
    this.at = at;
    this.state = state;
    /** Whether this user wrote it, here or on another connection. */
    this.own = own;
    /** Idempotency key; only what was sent from here has one. @type {string | null} */
    this.key = key ?? null;
    /** @type {string | null} */
    this.id = null;
    /** Place in the room; `null` until the server gave it one. @type {number | null} */
    this.offset = null;
    /** Counts changes of the room's epoch, so that offsets of different epochs compare. */
    this.era = 0;
    /** Whether a moderator took it away: there is no body any more. */
    this.removed = false;
    /** Why it `failed`. @type {import("./errors.js").MetaportError | null} */
    this.error = null;
  }
}
