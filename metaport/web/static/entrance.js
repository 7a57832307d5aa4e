import { language } from "./language.js";
import { showProblem } from "./problem.js";

// The server's rule (protocol: letters, digits and a few signs), to say so before asking it.
const ROOM = /^[\p{L}\p{M}\p{N}\-_.:/]{1,128}$/u;

/** The form at the entrance: a name, a room, what to switch on. */
export class Entrance {
  /** @param {(wishes: {name: string, room: string, microphone: boolean, camera: boolean}) => Promise<void>} enter */
  constructor(enter) {
    this.#enter = enter;
    this.form = document.getElementById("entrance-form");
    this.name = document.getElementById("name");
    this.room = document.getElementById("room");
    this.microphone = document.getElementById("with-microphone");
    this.camera = document.getElementById("with-camera");
    this.#button = document.getElementById("enter");
    this.#problem = document.getElementById("entrance-problem");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    for (const input of [this.name, this.room]) input.addEventListener("input", () => this.#mark(input, ""));
    language.on("changed", () => this.#relabel());
  }

  #enter;
  #button;
  #problem;
  #busy = false;
  #complaints = new Map();

  fill({ name, room, microphone, camera }) {
    if (name) this.name.value = name;
    if (room) this.room.value = room;
    this.microphone.checked = microphone;
    this.camera.checked = camera;
  }

  refuseGuests() {
    this.#button.disabled = true;
    document.querySelector("#entrance-form .note").setAttribute("data-text", "entrance.closed");
    language.apply(this.form);
  }

  /** Say what went wrong before. */
  tell(error) {
    showProblem(this.#problem, error);
  }

  async submit() {
    if (this.#busy || !this.#valid()) return;
    this.#become(true);
    showProblem(this.#problem, null);
    try {
      await this.#enter(this.wishes());
    } catch (error) {
      showProblem(this.#problem, error);
    } finally {
      this.#become(false);
    }
  }

  wishes() {
    return {
      name: this.name.value.trim().normalize("NFC"),
      room: this.room.value.trim().normalize("NFC"),
      microphone: this.microphone.checked,
      camera: this.camera.checked,
    };
  }

  #valid() {
    const { name, room } = this.wishes();
    this.#mark(this.name, name ? "" : "entrance.nameMissing");
    this.#mark(this.room, room === "" ? "entrance.roomMissing" : ROOM.test(room) ? "" : "entrance.roomWrong");
    const [wrong] = [this.name, this.room].filter((input) => this.#complaints.get(input));
    wrong?.focus();
    return !wrong;
  }

  #mark(input, key) {
    this.#complaints.set(input, key);
    if (key) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    document.getElementById(`${input.id}-problem`).textContent = key ? language.say(key) : "";
  }

  #become(busy) {
    this.#busy = busy;
    this.#button.setAttribute("aria-disabled", String(busy));
    this.#button.firstElementChild.textContent = language.say(busy ? "entrance.entering" : "entrance.enter");
  }

  #relabel() {
    this.#become(this.#busy);
    for (const [input, key] of this.#complaints) this.#mark(input, key);
    showProblem(this.#problem, null);
  }
}
