import { language } from "./language.js";

// A connection back within this time was never worth a word.
const PATIENCE_MS = 700;

/** The state of the connection: a word in the header, and a banner when something is amiss. */
export class ConnectionBanner {
  constructor() {
    this.#state = document.getElementById("connection");
    this.#banner = document.getElementById("banner");
    this.#text = document.getElementById("banner-text");
    this.#hint = document.getElementById("banner-hint");
    this.#action = document.getElementById("banner-action");
    this.#action.addEventListener("click", () => this.#act?.());
    language.on("changed", () => this.#client && this.#show());
  }

  #state;
  #banner;
  #text;
  #hint;
  #action;
  #act = null;
  #client = null;
  #media = null;
  #error = null;
  #timer = null;
  #countdown = null;

  /** Follow a client and the media of its room. */
  follow(client, media) {
    this.#client = client;
    this.#media = media;
    client.on("state", ({ error }) => {
      this.#error = error;
      this.#changed();
    });
    client.playback.on("blocked", () => this.#changed());
    media.on("state", () => this.#changed());
    this.#state.hidden = false;
    this.#show();
  }

  #changed() {
    clearTimeout(this.#timer);
    this.#showState();
    if (this.#kind() === null) this.#show();
    else this.#timer = setTimeout(() => this.#show(), this.#banner.hidden ? PATIENCE_MS : 0);
  }

  #kind() {
    const { state, playback } = this.#client;
    if (state === "closed") return "closed";
    if (state !== "connected") return "waiting";
    if (this.#media.state === "recovering") return "recovering";
    return playback.blocked ? "blocked" : null;
  }

  #showState() {
    const { state } = this.#client;
    this.#state.dataset.state = state;
    const words = document.getElementById("connection-text");
    const text = language.say(`connection.${state === "connecting" ? "waiting" : state}`);
    if (words.textContent !== text) words.textContent = text;
  }

  #show() {
    this.#showState();
    clearInterval(this.#countdown);
    const kind = this.#kind();
    this.#banner.hidden = kind === null;
    if (kind === null) return;
    this.#banner.dataset.kind = kind;
    const { word, hint, action, act } = this.#contents(kind);
    if (this.#text.textContent !== word) this.#text.textContent = word;
    this.#hint.textContent = hint();
    this.#act = act;
    this.#action.hidden = !act;
    this.#action.textContent = action;
    if (kind === "waiting") this.#countdown = setInterval(() => (this.#hint.textContent = hint()), 1000);
  }

  #contents(kind) {
    const say = (key, blanks) => language.say(`banner.${key}`, blanks);
    const client = this.#client;
    if (kind === "closed") {
      const hint = () => (this.#error ? language.explain(this.#error) : "");
      return { word: say("closed"), hint, action: say("again"), act: () => location.reload() };
    }
    if (kind === "waiting") {
      const hint = () => {
        const leftS = Math.ceil(((client.connection.retryAtMs ?? 0) - Date.now()) / 1000);
        return leftS > 1 ? `${say("waitingHint")} ${say("inSeconds", { n: leftS })}` : say("waitingHint");
      };
      return { word: say("waiting"), hint, action: say("now"), act: () => client.connection.probe() };
    }
    if (kind === "recovering") {
      return { word: say("recovering"), hint: () => say("recoveringHint"), action: "", act: null };
    }
    return { word: say("blocked"), hint: () => "", action: say("unblock"), act: () => client.playback.resume() };
  }
}
