import { redraw } from "./element.js";
import { language } from "./language.js";
import { showProblem } from "./problem.js";

const ICONS = {
  microphone: ["microphone-off", "microphone"],
  camera: ["camera-off", "camera"],
  screen: ["screen", "screen-off"],
};

/** The buttons for voice and video. Pressing one of them takes part first where needed. */
export class Dock {
  /** @param {import("/sdk/index.js").Metaport} client @param {import("/sdk/room.js").Room} room */
  constructor(client, room) {
    this.#media = room.media;
    this.#problem = document.getElementById("stage-problem");
    document.getElementById("call-join").addEventListener("click", () => this.attempt(() => this.join()));
    document.getElementById("dock-hang-up").addEventListener("click", () => this.#hangUp());
    for (const source of Object.keys(ICONS)) {
      const button = document.getElementById(`dock-${source}`);
      button.addEventListener("click", () => this.attempt(() => this.#toggle(source)));
      this.#buttons.set(source, button);
    }
    document.getElementById("dock-screen").hidden = !client.devices.screenAvailable;
    this.#media.on("changed", () => this.#draw());
    this.#media.on("error", (error) => showProblem(this.#problem, error));
    this.#media.on("state", (state) => state === "joined" && showProblem(this.#problem, null));
    language.on("changed", () => this.#draw());
    this.#draw();
  }

  #media;
  #problem;
  #buttons = new Map();
  #busy = new Set();

  async join() {
    const idle = this.#media.state === "idle";
    await this.#media.join();
    if (idle && !this.#isOn("microphone")) document.getElementById("dock-microphone").focus();
  }

  /** Do something and show what went wrong with it. */
  async attempt(act) {
    showProblem(this.#problem, null);
    try {
      await act();
    } catch (error) {
      showProblem(this.#problem, error);
    }
  }

  /** Switch a source on, taking part first. */
  async switchOn(source) {
    if (this.#media.state === "idle") await this.#media.join();
    await this.#media.publish(source);
  }

  async #toggle(source) {
    // A second press while the browser asks for permission must not ask again.
    if (this.#busy.has(source)) return;
    this.#busy.add(source);
    try {
      if (!this.#isOn(source)) await this.switchOn(source);
      else if (source === "screen") await this.#media.unpublish(source);
      else await this.#media.mute(source, true);
    } finally {
      this.#busy.delete(source);
    }
  }

  async #hangUp() {
    await this.#media.leave();
    document.getElementById("call-join").focus();
  }

  #isOn(source) {
    const local = this.#media.local.get(source);
    return Boolean(local && !local.muted && !local.lost);
  }

  #draw() {
    const inCall = this.#media.state !== "idle";
    document.getElementById("dock-hang-up").hidden = !inCall;
    for (const [source, button] of this.#buttons) {
      const on = this.#isOn(source);
      button.setAttribute("aria-pressed", String(on));
      button.setAttribute("aria-label", language.say(`dock.${source}${on ? "Off" : "On"}`));
      redraw(button.querySelector("svg"), ICONS[source][Number(on)]);
    }
  }
}
