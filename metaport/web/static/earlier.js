import { language } from "./language.js";

// This far from the top the next page is fetched, so that reading does not stop.
const NEAR_TOP_PX = 300;

/** The way back into what was said before: by scrolling up, or by a button. */
export class Earlier {
  /** @param {import("/sdk/room.js").Room} room */
  constructor(room) {
    this.#room = room;
    this.#log = document.getElementById("log");
    this.#place = document.getElementById("earlier");
    this.#button = document.getElementById("earlier-load");
    this.#problem = document.getElementById("earlier-problem");
    this.#said = document.getElementById("earlier-said");
    this.#button.addEventListener("click", () => this.#asked());
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    room.on("state", (state) => state === "joined" && this.#scrolled());
    new ResizeObserver(() => this.#scrolled()).observe(this.#log);
    language.on("changed", () => this.draw());
  }

  #room;
  #log;
  #place;
  #button;
  #problem;
  #said;
  #loading = false;
  /** Why the last page did not come. @type {any} */
  #failure = null;

  /** Show whether there is a way back, and what became of it. */
  draw() {
    this.#place.hidden = !this.#room.hasOlder || this.#room.state === "idle";
    this.#button.setAttribute("aria-disabled", String(this.#loading));
    this.#button.textContent = language.say(this.#loading ? "chat.earlierLoading" : "chat.earlier");
    const problem = this.#failure ? language.explain(this.#failure) : "";
    if (this.#problem.textContent !== problem) this.#problem.textContent = problem;
  }

  async #asked() {
    const messages = await this.#load();
    if (messages === null) return;
    // The button may be gone, and is out of sight: from here the arrow keys go up.
    this.#log.focus({ preventScroll: true });
    this.#said.textContent = language.say("chat.earlierLoaded", { n: messages.length });
  }

  /** After a failure only the button asks again. */
  async #scrolled() {
    while (this.#near() && !this.#failure && !this.#loading) {
      if ((await this.#load()) === null) return;
    }
    this.draw();
  }

  /** Whether the reader is near the top of what can be seen and goes on. */
  #near() {
    const { state, hasOlder } = this.#room;
    return state === "joined" && hasOlder && this.#log.clientHeight > 0 && this.#log.scrollTop < NEAR_TOP_PX;
  }

  /** @returns {Promise<any[] | null>} `null` where nothing came */
  async #load() {
    if (this.#loading) return null;
    this.#loading = true;
    this.#failure = null;
    this.draw();
    try {
      return await this.#room.loadOlder();
    } catch (error) {
      this.#failure = error;
      return null;
    } finally {
      this.#loading = false;
      this.draw();
    }
  }
}
