// Hidden tabs may run a timer a minute late, and a lost request is worth another.
const AHEAD_MS = 90_000;
const AGAIN_MS = 10_000;
// A source that gives the same token again is not asked in a loop.
const LEAST_MS = 5_000;
// Timers count in 31 bits: a longer wait is cut into days.
const DAY_MS = 86_400_000;

/** Renews the token of an open connection a little before it runs out. */
export class Renewal {
  /**
   * @param {{environment: import("./environment.js").Environment,
   *   token: () => Promise<string>,
   *   present: (token: string) => Promise<{expires_in?: number}>}} options `token` fetches a new
   *   one, `present` hands it to the server
   */
  constructor({ environment, token, present }) {
    this.#environment = environment;
    this.#token = token;
    this.#present = present;
  }

  #environment;
  #token;
  #present;
  #timer = null;
  #endsMs = 0;
  /** Counts connections, so that what was asked for an earlier one is ignored. */
  #era = 0;

  /**
   * Begin anew with the seconds a token has left.
   *
   * @param {number | undefined} expiresIn `undefined`: it never runs out, or the server is older
   */
  begin(expiresIn) {
    this.stop();
    if (expiresIn === undefined) return;
    this.#endsMs = this.#environment.elapsed() + expiresIn * 1000;
    // A short life is renewed half way.
    const halfMs = (expiresIn * 1000) / 2;
    const delayMs = Math.max(LEAST_MS, halfMs, expiresIn * 1000 - AHEAD_MS);
    this.#wait(this.#environment.elapsed() + delayMs);
  }

  /** The connection is gone: the next one says hello with a token of its own. */
  stop() {
    this.#era += 1;
    this.#environment.clearTimeout(this.#timer);
  }

  /** @param {number} dueMs */
  #wait(dueMs) {
    const delayMs = Math.min(DAY_MS, Math.max(0, dueMs - this.#environment.elapsed()));
    this.#timer = this.#environment.setTimeout(() => {
      if (this.#environment.elapsed() < dueMs) this.#wait(dueMs);
      else this.#renew();
    }, delayMs);
  }

  async #renew() {
    const era = this.#era;
    try {
      const token = await this.#token();
      if (era !== this.#era) return;
      const { expires_in: expiresIn } = await this.#present(token);
      if (era === this.#era) this.begin(expiresIn);
    } catch (error) {
      if (era === this.#era) this.#failed(/** @type {import("./errors.js").MetaportError} */ (error));
    }
  }

  /** When nothing helps the server ends the connection, and the next hello tells why. */
  #failed(error) {
    const refused = error.reason === "token_refused" && error.retryAfterMs === undefined;
    const final = error.permanent || refused || error.reason === "unknown_type";
    const nextMs = this.#environment.elapsed() + Math.max(AGAIN_MS, error.retryAfterMs ?? 0);
    if (!final && nextMs < this.#endsMs) this.#wait(nextMs);
  }
}
