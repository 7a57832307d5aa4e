// A connection may break for many reasons; two in a row over one answer is the answer's size.
const CUTS = 2;
const FIRST_PAGE = 64;

/**
 * Reads what was missed page by page, where all of it at once never arrives.
 *
 * A `joined` frame holds everything after `since` or nothing. On a line that breaks every so many
 * bytes, or is too slow for it, the same frame is begun again and again. Then pages do it: each
 * that arrives moves the place from which the next attempt goes on, and each break halves them.
 */
export class CatchUp {
  /**
   * @param {{connection: import("./connection.js").Connection, room: string}} options
   */
  constructor({ connection, room }) {
    this.#connection = connection;
    this.#room = room;
  }

  #connection;
  #room;
  #cuts = 0;
  #page = FIRST_PAGE;

  /** Whether a whole recovery was cut so often that pages come first. */
  get needed() {
    return this.#cuts >= CUTS;
  }

  /** The answer to a join with `since`, or a page, did not arrive. */
  cut() {
    this.#cuts += 1;
    if (this.#cuts > CUTS) this.#page = Math.max(1, Math.floor(this.#page / 2));
  }

  /** Everything has arrived. */
  done() {
    this.#cuts = 0;
    this.#page = FIRST_PAGE;
  }

  /**
   * Read pages after a place, until little is left for the join that follows.
   *
   * @param {{epoch: string, offset: number}} since
   * @param {(frames: any[]) => number | null} take what arrived, in order and without a gap; it
   *   returns the offset reached, or `null` when nobody wants more
   */
  async read(since, take) {
    // Only members read back; what is said meanwhile comes with the join that follows.
    const { epoch, offset: top } = await this.#connection.request({ t: "join", room: this.#room });
    let { offset } = since;
    while (epoch === since.epoch && top - offset > this.#page) {
      const after = { epoch, offset };
      const reply = await this.#connection.request({ t: "history", room: this.#room, after, limit: this.#page });
      const [first] = reply.messages;
      // What is no longer kept: the join that follows says how much is missing.
      if (reply.epoch !== epoch || first?.offset !== offset + 1) return;
      const reached = take(reply.messages);
      if (reached === null) return;
      offset = reached;
    }
  }
}
