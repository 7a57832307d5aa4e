import { Message } from "./message.js";

/** The messages of a room in order: confirmed by era and offset, then those on their way. */
export class Timeline {
  /** @param {number} limit how many confirmed messages are kept */
  constructor(limit = 1_000) {
    this.#limit = limit;
    /** @type {Message[]} */
    this.messages = [];
    this.era = 0;
    /** Whether older messages were dropped since the past was last read. */
    this.trimmed = false;
  }

  #limit;
  /** @type {Map<number, string>} */
  #epochs = new Map();

  /** The first message that has its place. @returns {Message | undefined} */
  get first() {
    const [first] = this.messages;
    return first && first.offset !== null ? first : undefined;
  }

  /** A new epoch begins after all there is. @param {string} epoch */
  begin(epoch) {
    this.era += 1;
    this.#epochs.set(this.era, epoch);
  }

  /**
   * Tell the place of a message as the server knows it.
   *
   * @param {Message | undefined} message
   * @returns {{epoch: string, offset: number} | undefined}
   */
  place(message) {
    const epoch = message && this.#epochs.get(message.era);
    return epoch === undefined ? undefined : { epoch, offset: Number(message?.offset) };
  }

  /**
   * Put older messages before the first. They are kept although there are more than the limit:
   * someone asked for them.
   *
   * @param {string} epoch
   * @param {Message[]} messages oldest first
   */
  precede(epoch, messages) {
    const oldest = this.first?.era ?? this.era;
    const era = this.#epochs.get(oldest) === epoch ? oldest : oldest - 1;
    this.#epochs.set(era, epoch);
    for (const message of messages) message.era = era;
    this.messages.unshift(...messages);
    this.#limit += messages.length;
    this.trimmed = false;
  }

  /** Put a message of our own at the end. @param {Message} message */
  append(message) {
    this.messages.push(message);
  }

  /** @param {Message} message */
  remove(message) {
    const index = this.messages.indexOf(message);
    if (index >= 0) this.messages.splice(index, 1);
  }

  /**
   * Find the message at an offset of the present era, or of an epoch that has ended.
   *
   * @param {number} offset
   * @param {string} [epoch]
   * @returns {Message | undefined}
   */
  at(offset, epoch) {
    const era = epoch === undefined ? this.era : this.#eraOf(epoch);
    return this.messages.findLast((each) => each.offset === offset && each.era === era);
  }

  /** The era of an epoch; what was never seen came before all that was. @param {string} epoch */
  #eraOf(epoch) {
    for (const [era, known] of this.#epochs) if (known === epoch) return era;
    return -1;
  }

  /**
   * Give a message its place.
   *
   * @param {Message} message
   * @param {{offset: number, id: string, at: number}} place
   */
  confirm(message, place) {
    this.#put(message, place, this.era);
  }

  /**
   * Give a message its place in an epoch that has ended.
   *
   * @param {Message} message
   * @param {{offset: number, id: string, at: number}} place
   * @param {string} epoch
   */
  confirmEarlier(message, place, epoch) {
    this.#put(message, place, this.#eraOf(epoch));
  }

  #put(message, { offset, id, at }, era) {
    this.remove(message);
    Object.assign(message, { offset, id, at, era });
    let index = this.messages.length;
    while (index > 0 && comesAfter(this.messages[index - 1], message)) index -= 1;
    this.messages.splice(index, 0, message);
    this.#trim();
  }

  #trim() {
    const surplus = this.messages.filter((each) => each.offset !== null).length - this.#limit;
    if (surplus <= 0) return;
    this.messages.splice(0, surplus);
    this.trimmed = true;
  }
}

/** @param {Message} earlier @param {Message} later */
function comesAfter(earlier, later) {
  if (earlier.offset === null) return true;
  if (earlier.era !== later.era) return earlier.era > later.era;
  return earlier.offset > /** @type {number} */ (later.offset);
}
