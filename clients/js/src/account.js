import { browserEnvironment } from "./environment.js";
import { MetaportError } from "./errors.js";

// A token this close to its end may expire on the way.
const MARGIN_MS = 30_000;

/**
 * Who this client is, with a token that is renewed before it expires.
 *
 * @typedef {{id: string, name: string}} User
 * @typedef {{refreshToken: string, user: User}} Remembered what a page may keep over a reload
 */
export class Account {
  /**
   * @param {string} server origin of the server, `https://chat.example`
   * @param {import("./environment.js").Environment} [environment]
   */
  constructor(server, environment = browserEnvironment()) {
    this.#server = server.replace(/\/$/, "");
    this.#environment = environment;
    /** @type {User | null} */
    this.user = null;
  }

  #server;
  #environment;
  #token = "";
  #refreshToken = "";
  #expiresMs = 0;
  /** A renewal under way, for everyone who needs one meanwhile. @type {Promise<void> | null} */
  #renewing = null;

  /** @returns {Remembered | null} */
  get remembered() {
    if (!this.user || !this.#refreshToken) return null;
    return { refreshToken: this.#refreshToken, user: this.user };
  }

  /**
   * Be a new guest.
   *
   * @param {string} name
   */
  async enterAsGuest(name) {
    this.#accept(await this.#post("/api/v1/auth/guest", { name }));
  }

  /**
   * Sign in with a password.
   *
   * @param {string} user
   * @param {string} password
   */
  async signIn(user, password) {
    this.#accept(await this.#post("/api/v1/auth/login", { user, password }));
  }

  /**
   * Be the same person again.
   *
   * @param {Remembered} remembered
   */
  async resume(remembered) {
    this.#refreshToken = remembered.refreshToken;
    await this.#refresh();
  }

  /**
   * Return a token that is valid for a while.
   *
   * @param {boolean} [fresh] a new one: the one at hand was refused, or is about to run out
   * @returns {Promise<string>}
   */
  async token(fresh = false) {
    if (fresh || this.#environment.elapsed() > this.#expiresMs - MARGIN_MS) await this.#refresh();
    return this.#token;
  }

  /**
   * Call the server's API as this account.
   *
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(path, init = {}) {
    const headers = { ...init.headers, Authorization: `Bearer ${await this.token()}` };
    return this.#environment.fetch(this.#server + path, { ...init, headers });
  }

  #refresh() {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renew() {
    if (!this.#refreshToken) throw new MetaportError("sign_in_failed", "not signed in", { permanent: true });
    this.#accept(await this.#post("/api/v1/auth/refresh", { refresh_token: this.#refreshToken }));
  }

  /** @param {Record<string, any>} reply */
  #accept(reply) {
    this.#token = reply.token;
    this.#refreshToken = reply.refresh_token ?? "";
    this.#expiresMs = this.#environment.elapsed() + reply.expires_in * 1000;
    this.user = reply.user;
  }

  async #post(path, body) {
    let response;
    try {
      response = await this.#environment.fetch(this.#server + path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    } catch (cause) {
      throw new MetaportError("unreachable", "the server does not answer", { cause });
    }
    if (response.ok) return response.json();
    throw await refusal(response);
  }
}

/**
 * Read an RFC 9457 problem document.
 *
 * @param {Response} response
 */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  // 429 and 5xx pass; another 4xx says the request itself is wrong.
  const permanent = response.status < 500 && response.status !== 429;
  const retryAfterS = Number(response.headers.get("Retry-After"));
  return new MetaportError(
    permanent ? "sign_in_failed" : "unreachable",
    problem.detail ?? problem.title ?? `HTTP ${response.status}`,
    { code: response.status, permanent, retryAfterMs: retryAfterS ? retryAfterS * 1000 : undefined },
  );
}
