/** A token bucket that keeps the client under the server's rate, so that order is never upset by a refusal. */
export class Pace {
  /**
   * @param {number} perSecond 0 or less: no limit
   * @param {number} burst
   */
  constructor(perSecond, burst) {
    this.perSecond = perSecond;
    this.burst = Math.max(1, burst);
    this.#tokens = this.burst;
  }

  #tokens;
  #refilledMs = 0;

  /**
   * Take a token.
   *
   * @param {number} nowMs
   * @returns {number} 0 when taken, else the milliseconds after which to ask again
   */
  take(nowMs) {
    if (!(this.perSecond > 0)) return 0;
    const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
    this.#tokens = Math.min(this.burst, this.#tokens + (elapsedMs / 1000) * this.perSecond);
    this.#refilledMs = nowMs;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil(((1 - this.#tokens) / this.perSecond) * 1000);
  }
}
