import { language } from "./language.js";
import { showProblem } from "./problem.js";
import { durationOf } from "./quantity.js";

const EVERY_MS = 5_000;

/** How the server is doing at this moment. */
export class LiveStatus {
  /** @param {(path: string) => Promise<Response>} ask @param {string} zone */
  constructor(ask, zone) {
    this.#ask = ask;
    this.#zone = zone;
    this.#problem = document.getElementById("status-problem");
    language.on("changed", () => this.#draw());
    document.addEventListener("visibilitychange", () => this.#look());
    this.#look();
  }

  #ask;
  #zone;
  #problem;
  #status = null;
  #askedMs = 0;
  #timer = null;
  #failing = false;

  /** Ask now, and again while someone looks. */
  async #look() {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return;
    try {
      this.#status = await (await this.#ask("/api/v1/status")).json();
      this.#askedMs = Date.now();
      if (this.#failing) showProblem(this.#problem, null);
      this.#failing = false;
      this.#draw();
    } catch (error) {
      // Said once: a screen reader must not hear it every five seconds.
      if (!this.#failing) showProblem(this.#problem, error);
      this.#failing = true;
      if (error.permanent) return;
    }
    this.#timer = setTimeout(() => this.#look(), EVERY_MS);
  }

  #draw() {
    if (!this.#status) return;
    const { version, uptime_s: uptimeS } = this.#status;
    for (const figure of ["connections", "rooms", "participants"]) {
      document.getElementById(`figure-${figure}`).textContent = language.number(this.#status[figure] ?? 0);
    }
    document.getElementById("figure-uptime").textContent = durationOf(uptimeS);
    document.getElementById("figure-version").textContent = version;
    const time = language.time(this.#askedMs, { timeStyle: "medium", timeZone: this.#zone });
    document.getElementById("status-as-of").textContent = language.say("console.statusAsOf", { time });
  }
}
