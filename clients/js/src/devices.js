import { MetaportError } from "./errors.js";
import { Emitter } from "./events.js";

/** @typedef {import("./publishing.js").Source} Source */
/** @typedef {"microphone" | "camera" | "speaker"} Kind */
/** @typedef {{id: string, label: string}} Device */

const KINDS = /** @type {const} */ ({
  audioinput: "microphone",
  videoinput: "camera",
  audiooutput: "speaker",
});

/**
 * A camera of 640×360 fills a tile of a grid of people. Twice the width is four times the pixels to
 * encode, to forward and to pay for, in every receiver.
 *
 * @returns {Record<"microphone" | "camera" | "screen", MediaTrackConstraints>}
 */
const defaultConstraints = () => ({
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  camera: { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 24 } },
  screen: { frameRate: 15 },
});

/** Reasons by the name of the browser's exception (Media Capture and Streams, 10.2). */
const REASONS = {
  NotAllowedError: "permission_denied",
  SecurityError: "permission_denied",
  NotFoundError: "device_missing",
  OverconstrainedError: "device_missing",
  NotReadableError: "device_busy",
  AbortError: "device_busy",
};

/**
 * Microphones, cameras and speakers: which there are, which is chosen, and capture from it.
 *
 * A choice is remembered by id and, since ids change when site data is cleared, by label.
 * Events: `changed` when a device is plugged in or out; `chosen` (kind).
 */
export class Devices extends Emitter {
  /** @param {import("./environment.js").Environment} environment */
  constructor(environment) {
    super();
    this.#environment = environment;
    /** What is asked of each kind of device; a page may ask for more or less. */
    this.constraints = defaultConstraints();
    environment.mediaDevices?.addEventListener?.("devicechange", () => this.emit("changed"));
  }

  #environment;

  /** Whether this page may use microphones and cameras at all (a secure context). */
  get available() {
    return Boolean(this.#environment.mediaDevices?.getUserMedia);
  }

  /** Whether a screen can be shared; phones cannot. */
  get screenAvailable() {
    return Boolean(this.#environment.mediaDevices?.getDisplayMedia);
  }

  /**
   * List what is plugged in. Labels are empty until the person has allowed access once.
   *
   * @returns {Promise<Record<Kind, Device[]>>}
   */
  async list() {
    /** @type {Record<Kind, Device[]>} */
    const devices = { microphone: [], camera: [], speaker: [] };
    for (const each of (await this.#environment.mediaDevices?.enumerateDevices()) ?? []) {
      if (each.deviceId) devices[KINDS[each.kind]]?.push({ id: each.deviceId, label: each.label });
    }
    return devices;
  }

  /**
   * Return the chosen device, or `null` for the system's.
   *
   * @param {Kind} kind
   * @returns {Device | null}
   */
  chosen(kind) {
    try {
      return JSON.parse(this.#environment.storage?.getItem(keyOf(kind)) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * Choose a device; `null` for the system's.
   *
   * @param {Kind} kind
   * @param {Device | null} device
   */
  choose(kind, device) {
    try {
      this.#environment.storage?.setItem(keyOf(kind), JSON.stringify(device));
    } catch {
      // A full or refused storage only forgets the choice.
    }
    this.emit("chosen", kind);
  }

  /**
   * Capture from the chosen device, or from the system's when that one is gone.
   *
   * @param {Source} source
   * @returns {Promise<MediaStreamTrack>}
   */
  async capture(source) {
    if (!this.available) throw new MetaportError("insecure_context", "needs HTTPS or localhost");
    if (source === "screen") return this.#captureScreen();
    const device = await this.#present(source);
    try {
      return await this.#captureFrom(source, device);
    } catch (error) {
      const { reason } = /** @type {MetaportError} */ (error);
      if (!device || reason === "permission_denied") throw error;
      return this.#captureFrom(source, null);
    }
  }

  /** Find the chosen device among those present, by id or by label. */
  async #present(kind) {
    const chosen = this.chosen(kind);
    if (!chosen) return null;
    const devices = (await this.list())[kind];
    return (
      devices.find(({ id }) => id === chosen.id) ??
      devices.find(({ label }) => label && label === chosen.label) ??
      null
    );
  }

  async #captureFrom(source, device) {
    const wanted = { ...this.constraints[source], ...(device ? { deviceId: { exact: device.id } } : {}) };
    const media = /** @type {MediaDevices} */ (this.#environment.mediaDevices);
    const stream = await media
      .getUserMedia(source === "microphone" ? { audio: wanted } : { video: wanted })
      .catch(refuse);
    const [track] = stream.getTracks();
    if (source === "camera" && "contentHint" in track) track.contentHint = "motion";
    return track;
  }

  async #captureScreen() {
    const media = /** @type {MediaDevices} */ (this.#environment.mediaDevices);
    const stream = await media.getDisplayMedia({ video: this.constraints.screen }).catch(refuse);
    const [track] = stream.getVideoTracks();
    if ("contentHint" in track) track.contentHint = "detail";
    return track;
  }
}

/** @param {any} cause @returns {never} */
function refuse(cause) {
  throw new MetaportError(REASONS[cause?.name] ?? "device_failed", cause?.message, { cause });
}

/** @param {Kind} kind */
function keyOf(kind) {
  return `metaport.device.${kind}`;
}
