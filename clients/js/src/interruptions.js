import { Emitter } from "./events.js";

/**
 * What happens to a page from outside: sleep, lock, hidden tab, another network.
 *
 * Events: `awake` when the page is looked at again or thawed; `network` when the way to the server
 * may have changed; `asleep` when the page is hidden; `gone` when it is left for good.
 */
export class Interruptions extends Emitter {
  /** @param {import("./environment.js").Environment} environment */
  constructor({ window, document, network }) {
    super();
    const listen = (target, event, listener) => {
      target?.addEventListener(event, listener);
      this.#off.push(() => target?.removeEventListener(event, listener));
    };
    listen(document, "visibilitychange", () =>
      this.emit(document?.visibilityState === "visible" ? "awake" : "asleep"),
    );
    // Page Lifecycle: a frozen page gets `resume`, one from the back-forward cache `pageshow`.
    listen(document, "resume", () => this.emit("awake"));
    listen(window, "pageshow", (event) => event.persisted && this.emit("awake"));
    listen(window, "pagehide", (event) => !event.persisted && this.emit("gone"));
    listen(window, "online", () => this.emit("network"));
    this.#type = network?.type;
    listen(network, "change", () => {
      // Chromium also reports a new estimate of the bandwidth here; only another kind of network counts.
      if (network?.type === this.#type) return;
      this.#type = network?.type;
      this.emit("network");
    });
  }

  #type;
  /** @type {(() => void)[]} */
  #off = [];

  stop() {
    for (const off of this.#off.splice(0)) off();
  }
}
