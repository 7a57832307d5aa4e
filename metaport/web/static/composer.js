import { language } from "./language.js";

const TALLEST_PX = 168;

/** The field one writes in. */
export class Composer {
  /** @param {import("/sdk/room.js").Room} room @param {() => Record<string, number>} limits */
  constructor(room, limits) {
    this.#room = room;
    this.#limits = limits;
    this.#body = document.getElementById("body");
    this.#problem = document.getElementById("composer-problem");
    document.getElementById("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#body.addEventListener("input", () => this.#changed());
    this.#body.addEventListener("keydown", (event) => {
      // While Hangul is being composed, Enter ends the syllable and must not send half a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#send();
    });
    language.on("changed", () => this.#changed());
  }

  #room;
  #limits;
  #body;
  #problem;

  focus() {
    this.#body.focus({ preventScroll: true });
  }

  #send() {
    const text = this.#body.value.trim();
    if (text === "" || this.#surplusBytes() > 0) return this.focus();
    this.#room.send(text.normalize("NFC"));
    this.#body.value = "";
    this.#changed();
    this.focus();
  }

  #changed() {
    this.#body.style.height = "auto";
    this.#body.style.height = `${Math.min(this.#body.scrollHeight + 2, TALLEST_PX)}px`;
    const surplus = this.#surplusBytes();
    const text = surplus > 0 ? language.say("chat.tooLong", { n: language.number(surplus) }) : "";
    if (this.#problem.textContent !== text) this.#problem.textContent = text;
  }

  #surplusBytes() {
    const limit = this.#limits().body_bytes;
    return limit ? new TextEncoder().encode(this.#body.value.trim()).length - limit : 0;
  }
}
