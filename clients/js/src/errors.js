/**
 * What went wrong, by the stable `reason` of the protocol's error table.
 *
 * Reasons made by this SDK itself: `disconnected`, `timeout`, `closed`, `not_sent_in_time`,
 * `body_too_big`, `sign_in_failed`, `unreachable`, and those of `devices.js`.
 */
export class MetaportError extends Error {
  /**
   * @param {string} reason stable name; what a program compares and a language file translates
   * @param {string} [message] for a developer, in English
   * @param {{code?: number, retryAfterMs?: number, opensAt?: number, permanent?: boolean,
   *   cause?: unknown}} [detail] `permanent`: trying the same again cannot help
   */
  constructor(reason, message = reason, detail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "MetaportError";
    this.reason = reason;
    this.code = detail.code ?? 0;
    /** @type {number | undefined} */
    this.retryAfterMs = detail.retryAfterMs;
    /** When a closed space opens, milliseconds since the Unix epoch. @type {number | undefined} */
    this.opensAt = detail.opensAt;
    this.permanent = detail.permanent ?? false;
  }

  /**
   * Read an `error` frame.
   *
   * @param {Record<string, any>} frame
   */
  static fromFrame(frame) {
    return new MetaportError(String(frame.reason ?? "internal"), frame.message, {
      code: frame.code,
      retryAfterMs: frame.retry_after_ms,
      opensAt: frame.opens_at,
    });
  }
}
