/**
 * @callback Listener
 * @param {any} payload
 * @returns {void}
 */

/** Calls listeners by event name; one that throws does not stop the others. */
export class Emitter {
  /** @type {Map<string, Set<Listener>>} */
  #listeners = new Map();

  /**
   * Add a listener.
   *
   * @param {string} event
   * @param {Listener} listener
   * @returns {() => void} takes the listener away again
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => this.off(event, listener);
  }

  /**
   * Take a listener away.
   *
   * @param {string} event
   * @param {Listener} listener
   */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /**
   * Wait for the next event of that name.
   *
   * @param {string} event
   * @returns {Promise<any>} its payload
   */
  next(event) {
    return new Promise((resolve) => {
      const off = this.on(event, (payload) => {
        off();
        resolve(payload);
      });
    });
  }

  /**
   * Call every listener of `event`.
   *
   * @param {string} event
   * @param {any} [payload]
   */
  emit(event, payload) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        // As an uncaught error of its own: seen in the console, stops nobody else.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
