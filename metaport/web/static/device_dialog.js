import { browserEnvironment, Devices, MicrophoneTest } from "/sdk/index.js";

import { closable } from "./dialogs.js";
import { element } from "./element.js";
import { language } from "./language.js";
import { showProblem } from "./problem.js";

const RECORD_MS = 3_000;
const KINDS = ["microphone", "camera", "speaker"];

/** Choosing and trying out microphone, camera and speaker, before entering or while talking. */
export class DeviceDialog {
  constructor() {
    this.#environment = browserEnvironment();
    this.#devices = new Devices(this.#environment);
    this.#dialog = document.getElementById("devices");
    this.#problem = document.getElementById("devices-problem");
    closable(this.#dialog);
    this.#dialog.addEventListener("close", () => this.#stop());
    for (const kind of KINDS) {
      document.getElementById(`device-${kind}`).addEventListener("change", () => this.#try(() => this.#choose(kind)));
    }
    const on = (id, act) => document.getElementById(id).addEventListener("click", () => this.#try(act));
    on("microphone-test", () => (this.#test ? this.#stopMicrophone() : this.#startMicrophone()));
    on("microphone-record", () => this.#record());
    on("camera-test", () => (this.#camera ? this.#stopCamera() : this.#startCamera()));
    on("speaker-test", () => this.#tone());
    this.#devices.on("changed", () => this.#dialog.open && this.#list());
    language.on("changed", () => this.#dialog.open && this.#list());
  }

  #environment;
  #devices;
  #dialog;
  #problem;
  /** The media of the room, once in one: a choice there changes over what is being sent. */
  media = null;
  /** @type {MicrophoneTest | null} */
  #test = null;
  #microphone = null;
  #camera = null;

  async open() {
    showProblem(this.#problem, null);
    this.#drawMicrophone(0, false);
    this.#drawButtons();
    this.#dialog.showModal();
    await this.#try(() => this.#list());
  }

  async #try(act) {
    try {
      await act();
    } catch (error) {
      showProblem(this.#problem, error);
    }
    this.#drawButtons();
  }

  async #list() {
    const devices = await this.#devices.list();
    for (const kind of KINDS) {
      const select = document.getElementById(`device-${kind}`);
      const chosen = this.#devices.chosen(kind);
      const options = devices[kind]
        // Chromium lists the system's choice once more under these two names.
        .filter(({ id }) => id !== "default" && id !== "communications")
        .map(({ id, label }, index) => {
          const words = label || language.say("devices.unnamed", { kind: language.say(`devices.${kind}`), n: index + 1 });
          return element("option", { value: id, "data-label": label, selected: id === chosen?.id }, words);
        });
      select.replaceChildren(element("option", { value: "" }, language.say("devices.system")), ...options);
    }
    const fixed = !("setSinkId" in HTMLMediaElement.prototype);
    document.getElementById("device-speaker").disabled = fixed;
    document.getElementById("speaker-hint").hidden = !fixed;
    this.#drawButtons();
  }

  async #choose(kind) {
    const [option] = document.getElementById(`device-${kind}`).selectedOptions;
    const device = option.value ? { id: option.value, label: option.getAttribute("data-label") } : null;
    if (this.media) await this.media.useDevice(kind, device);
    this.#devices.choose(kind, device);
    if (kind === "microphone" && this.#test) {
      this.#stopMicrophone();
      await this.#startMicrophone();
    }
    if (kind === "camera" && this.#camera) {
      this.#stopCamera();
      await this.#startCamera();
    }
  }

  async #startMicrophone() {
    this.#microphone = await this.#devices.capture("microphone");
    this.#test = new MicrophoneTest(this.#microphone, {
      environment: this.#environment,
      onLevel: (level, heard) => this.#drawMicrophone(level, heard),
    });
    await this.#list();
  }

  #stopMicrophone() {
    this.#test?.stop();
    this.#microphone?.stop();
    this.#test = null;
    this.#microphone = null;
    this.#drawMicrophone(0, false);
  }

  async #record() {
    if (!this.#test) return;
    const button = document.getElementById("microphone-record");
    button.disabled = true;
    this.#say("devices.recording");
    const recording = await this.#test.record(RECORD_MS);
    this.#say("devices.playing");
    const sound = new Audio(URL.createObjectURL(recording));
    await this.#direct(sound);
    sound.addEventListener("ended", () => {
      URL.revokeObjectURL(sound.src);
      button.disabled = false;
      this.#say("devices.heard");
    });
    await sound.play();
  }

  async #startCamera() {
    this.#camera = await this.#devices.capture("camera");
    const video = document.getElementById("camera-preview");
    video.srcObject = new MediaStream([this.#camera]);
    await video.play();
    await this.#list();
  }

  #stopCamera() {
    this.#camera?.stop();
    this.#camera = null;
    document.getElementById("camera-preview").srcObject = null;
  }

  /** Two soft notes, through the chosen speaker. */
  async #tone() {
    const context = new AudioContext();
    const out = context.createMediaStreamDestination();
    const loudness = context.createGain();
    loudness.connect(out);
    loudness.gain.value = 0.15;
    [523.25, 659.25].forEach((pitch, index) => {
      const note = context.createOscillator();
      note.frequency.value = pitch;
      note.connect(loudness);
      note.start(context.currentTime + index * 0.3);
      note.stop(context.currentTime + index * 0.3 + 0.28);
    });
    const sound = new Audio();
    sound.srcObject = out.stream;
    await this.#direct(sound);
    await sound.play();
    setTimeout(() => context.close(), 1_000);
  }

  async #direct(sound) {
    const id = this.#devices.chosen("speaker")?.id;
    if (id && sound.setSinkId) await sound.setSinkId(id).catch(() => {});
  }

  #stop() {
    this.#stopMicrophone();
    this.#stopCamera();
  }

  #drawMicrophone(level, heard) {
    document.getElementById("microphone-level").value = Math.round(level * 100);
    if (!document.getElementById("microphone-record").disabled) {
      this.#say(heard ? "devices.heard" : "devices.say");
    }
  }

  #say(key) {
    const verdict = document.getElementById("microphone-verdict");
    const words = language.say(key);
    if (verdict.textContent !== words) verdict.textContent = words;
  }

  #drawButtons() {
    const draw = (id, on, off, pressed) => {
      const button = document.getElementById(id);
      button.setAttribute("aria-pressed", String(pressed));
      button.querySelector("span").textContent = language.say(pressed ? on : off);
    };
    draw("microphone-test", "devices.testStop", "devices.test", this.#test !== null);
    draw("camera-test", "devices.previewStop", "devices.preview", this.#camera !== null);
    document.getElementById("microphone-record").hidden = this.#test === null;
    document.getElementById("camera-idle").hidden = this.#camera !== null;
    document.getElementById("camera-preview").classList.toggle("live", this.#camera !== null);
  }
}
