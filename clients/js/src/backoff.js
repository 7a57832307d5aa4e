const FIRST_MS = 250;
// A process that died is back within 5 s: until then it is asked more than once a second, so that
// nobody waits much longer than that. Only a longer outage is worth sparing the server.
const EAGER_MS = 800;
const EAGER_ATTEMPTS = 16;
const LONGEST_MS = 10_000;

/** Delays between attempts: growing, each drawn from its upper half so that a crowd spreads. */
export class Backoff {
  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
    this.attempts = 0;
  }

  #random;

  /** Count an attempt and return how long to wait before it, in milliseconds. */
  next() {
    const ceiling = this.#ceiling();
    this.attempts += 1;
    return Math.round(ceiling / 2 + (this.#random() * ceiling) / 2);
  }

  /** Forget the failures so far. */
  reset() {
    this.attempts = 0;
  }

  #ceiling() {
    const late = this.attempts - EAGER_ATTEMPTS;
    if (late >= 0) return Math.min(LONGEST_MS, EAGER_MS * 2 ** (late + 1));
    return Math.min(EAGER_MS, FIRST_MS * 2 ** this.attempts);
  }
}
