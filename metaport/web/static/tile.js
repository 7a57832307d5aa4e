import { avatar, element, icon, redraw } from "./element.js";
import { language } from "./language.js";

// Below this height name and sign would cover each other.
const SMALL_PX = 110;

/**
 * What a tile shows.
 *
 * @typedef {object} View
 * @property {string} key
 * @property {string} name
 * @property {string} user
 * @property {boolean} self
 * @property {boolean} screen
 * @property {MediaStream | null} stream picture; `null` shows the person's sign
 * @property {"speaking" | "quiet" | "muted" | "silent"} voice
 */

/** One person, or one shared screen, in the grid. */
export class Tile {
  /** @param {View} view @param {import("/sdk/playback.js").Playback} playback */
  constructor(view, playback) {
    this.#playback = playback;
    this.#voice = element("span", {});
    this.#words = element("span.tile-name");
    this.#state = element("span.visually-hidden");
    this.element = element("li.tile", {}, element("span.tile-label", {}, this.#voice, this.#words, this.#state));
    if (!view.screen) this.element.prepend(avatar(view.name, view.user));
    this.update(view);
  }

  #playback;
  #voice;
  #words;
  #state;
  #video = null;
  #shown = "";

  /** @param {View} view */
  update(view) {
    this.view = view;
    this.element.classList.toggle("screen", view.screen);
    this.element.classList.toggle("mirrored", view.self && !view.screen);
    this.element.classList.toggle("speaking", view.voice === "speaking");
    this.#words.textContent = nameOf(view);
    this.#showVoice(view);
    this.#showPicture(view.stream);
  }

  /** Set the size the grid has worked out. */
  resize(width, height) {
    this.element.classList.toggle("small", height < SMALL_PX);
    this.element.style.setProperty("--tile-width", `${width}px`);
    this.element.style.setProperty("--tile-height", `${height}px`);
  }

  remove() {
    this.#showPicture(null);
    this.element.remove();
  }

  #showVoice({ voice, screen }) {
    const words = screen || voice === "quiet" ? "" : language.say(`stage.${voice}`);
    if (this.#state.textContent !== words) this.#state.textContent = words;
    const sign = screen ? "screen" : voice;
    if (sign === this.#shown) return;
    this.#shown = sign;
    const bars = () => element("span.bars", { "aria-hidden": "true" }, element("i"), element("i"), element("i"));
    const signs = { speaking: bars, screen: () => icon("screen"), quiet: () => icon("microphone") };
    this.#voice.replaceChildren((signs[sign] ?? (() => icon("microphone-off")))());
  }

  #showPicture(stream) {
    if (!stream) {
      if (this.#video) this.#playback.detach(this.#video);
      this.#video?.remove();
      this.#video = null;
      return;
    }
    if (!this.#video) {
      // The sound has an element of its own; a muted picture plays without asking.
      this.#video = element("video", { playsinline: true, muted: true, tabindex: "-1", "aria-hidden": "true" });
      this.#video.muted = true;
      this.#video.disablePictureInPicture = true;
      this.element.prepend(this.#video);
    }
    this.#playback.attach(this.#video, stream);
  }
}

function nameOf({ name, self, screen }) {
  if (screen) return self ? language.say("stage.myScreen") : language.say("stage.screenOf", { name });
  return self ? language.say("stage.meNamed", { name }) : name;
}
