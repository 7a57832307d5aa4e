import { Message } from "./message.js";

/** What was said before the first message of a timeline, read back page by page. */
export class Past {
  /**
   * @param {{connection: import("./connection.js").Connection, room: string,
   *   timeline: import("./timeline.js").Timeline,
   *   top: () => {epoch: string, offset: number} | null}} options `top`: where to begin in a room
   *   without messages, `null` before it was joined
   */
  constructor({ connection, room, timeline, top }) {
    this.#connection = connection;
    this.#room = room;
    this.#timeline = timeline;
    this.#top = top;
  }

  #connection;
  #room;
  #timeline;
  #top;
  #exhausted = false;
  /** @type {Promise<Message[]> | null} */
  #loading = null;

  /** Whether there may be older messages than those at hand. */
  get more() {
    return !this.#exhausted || this.#timeline.trimmed;
  }

  /**
   * Put the next older messages before the first; a second call meanwhile waits for the same.
   *
   * @param {number} limit
   * @returns {Promise<Message[]>}
   */
  load(limit) {
    this.#loading ??= this.#load(limit).finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #load(limit) {
    if (!this.more) return [];
    const first = this.#timeline.first;
    const before = this.#timeline.place(first) ?? this.#top() ?? undefined;
    const reply = await this.#connection.request({ t: "history", room: this.#room, before, limit });
    // While it was asked, the first was dropped for newer ones: this page would leave a hole.
    if (this.#timeline.first !== first) return [];
    const messages = reply.messages.map((frame) => this.#message(frame));
    this.#timeline.precede(reply.epoch, messages);
    this.#exhausted = !reply.more;
    return messages;
  }

  /** @param {any} frame */
  #message({ room, from, name, body, at, offset, id, removed = false }) {
    const own = from === this.#connection.user?.id;
    const message = new Message({ room, from, name, body, at, own, state: own ? "sent" : "received" });
    return Object.assign(message, { offset, id, removed });
  }
}
