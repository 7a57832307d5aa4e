import { language } from "./language.js";

const KIND = "typing";
// Told again this often while somebody writes on; who is silent for three times as long has gone.
const AGAIN_MS = 4_000;
const GONE_MS = 12_000;
// A pause this long is no longer typing.
const PAUSE_MS = 6_000;
// A screen reader hears of it once, not at every pause for thought.
const SAID_AGAIN_MS = 30_000;

/** Who is writing at the moment. */
export class Typing {
  /** @param {import("/sdk/room.js").Room} room @param {() => string | undefined} self user id */
  constructor(room, self) {
    this.#room = room;
    this.#self = self;
    this.#line = document.getElementById("typing");
    this.#words = document.getElementById("typing-words");
    this.#said = document.getElementById("typing-said");
    this.#body = document.getElementById("body");
    this.#body.addEventListener("input", () => this.#written());
    this.#body.addEventListener("blur", () => this.#stop());
    room.on("outgoing", ({ state }) => state === "sending" && this.#stop());
    room.on("shown", (shown) => this.#heard(shown));
    room.on("message", ({ message }) => this.#forget(message.from));
    language.on("changed", () => this.#draw());
  }

  #room;
  #self;
  #line;
  #words;
  #said;
  #body;
  /** When others stop being shown, by user id. @type {Map<string, any>} */
  #others = new Map();
  #toldMs = 0;
  #pauseTimer = null;
  #saidMs = -SAID_AGAIN_MS;

  #written() {
    if (this.#body.value.trim() === "") return this.#stop();
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = setTimeout(() => this.#stop(), PAUSE_MS);
    if (this.#toldMs !== 0 && performance.now() - this.#toldMs < AGAIN_MS) return;
    this.#toldMs = performance.now();
    this.#room.setState(KIND, true);
  }

  #stop() {
    clearTimeout(this.#pauseTimer);
    if (this.#toldMs === 0) return;
    this.#toldMs = 0;
    this.#room.setState(KIND, null);
  }

  #heard({ user, kind, value }) {
    if (kind !== KIND || user === this.#self()) return;
    if (value !== true) return this.#forget(user);
    clearTimeout(this.#others.get(user));
    this.#others.set(user, setTimeout(() => this.#forget(user), GONE_MS));
    this.#draw();
  }

  #forget(user) {
    if (!this.#others.has(user)) return;
    clearTimeout(this.#others.get(user));
    this.#others.delete(user);
    this.#draw();
  }

  #draw() {
    const words = this.#sentence();
    this.#line.classList.toggle("on", words !== "");
    if (words !== "") this.#words.textContent = words;
    this.#say(words);
  }

  #say(words) {
    if (words === "") {
      this.#said.textContent = "";
      return;
    }
    if (performance.now() - this.#saidMs < SAID_AGAIN_MS) return;
    this.#saidMs = performance.now();
    this.#said.textContent = words;
  }

  #sentence() {
    const users = [...this.#others.keys()];
    const [name, other] = users.map((user) => this.#room.members.get(user)?.name);
    if (users.length === 0) return "";
    if (users.length === 1 && name) return language.say("chat.typingOne", { name });
    if (users.length === 2 && name && other) return language.say("chat.typingTwo", { name, other });
    return language.say("chat.typingMany", { n: language.number(users.length) });
  }
}
