const FIRST_MS = 300;
// A hub is back within 5 s of dying; longer waits only spread a crowd over a longer outage.
const LONGEST_MS = 10_000;

/** Delays between attempts: doubling, each drawn from its upper half so that a crowd spreads. */
export class Backoff {
  /**
   * @param {() => number} random
   * @param {{firstMs?: number, longestMs?: number}} [bounds]
   */
  constructor(random, { firstMs = FIRST_MS, longestMs = LONGEST_MS } = {}) {
    this.#random = random;
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
    this.attempts = 0;
  }

  #random;
  #firstMs;
  #longestMs;

  /** Count an attempt and return how long to wait before it, in milliseconds. */
  next() {
    const ceiling = Math.min(this.#longestMs, this.#firstMs * 2 ** this.attempts);
    this.attempts += 1;
    return Math.round(ceiling / 2 + (this.#random() * ceiling) / 2);
  }

  /** Forget the failures so far. */
  reset() {
    this.attempts = 0;
  }
}
