import { steadyClock } from "./steady_clock.js";

/**
 * What the SDK takes from the browser, handed in so that tests bring their own.
 *
 * @typedef {object} Environment
 * @property {() => number} now milliseconds since the Unix epoch, to be shown
 * @property {() => number} elapsed milliseconds of a clock that is never set, for durations
 * @property {(callback: () => void, delayMs: number) => any} setTimeout
 * @property {(handle: any) => void} clearTimeout
 * @property {() => number} random from 0 up to 1
 * @property {() => string} key a new idempotency key, 128 random bits
 * @property {typeof fetch} fetch
 * @property {typeof WebSocket} WebSocket
 * @property {typeof RTCPeerConnection} [RTCPeerConnection] `undefined` where media is impossible
 * @property {MediaDevices} [mediaDevices] `undefined` outside a secure context
 * @property {typeof MediaStream} [MediaStream]
 * @property {typeof AudioContext} [AudioContext]
 * @property {typeof MediaRecorder} [MediaRecorder]
 * @property {EventTarget} [window]
 * @property {Document} [document]
 * @property {EventTarget & {type?: string}} [network] `navigator.connection`, where there is one
 * @property {Storage} [storage] remembers chosen devices
 * @property {Storage} [session] remembers, for this tab, that the network breaks WebSocket
 */

/**
 * Collect the browser's own.
 *
 * @param {Partial<Environment>} [overrides]
 * @returns {Environment}
 */
export function browserEnvironment(overrides = {}) {
  const browser = /** @type {any} */ (globalThis);
  return {
    now: () => Date.now(),
    elapsed: steadyClock(overrides.now ?? Date.now, () => browser.performance.now()),
    setTimeout: (callback, delayMs) => browser.setTimeout(callback, delayMs),
    clearTimeout: (handle) => browser.clearTimeout(handle),
    random: Math.random,
    key: randomKey,
    fetch: (...request) => browser.fetch(...request),
    WebSocket: browser.WebSocket,
    RTCPeerConnection: browser.RTCPeerConnection,
    mediaDevices: browser.navigator?.mediaDevices,
    MediaStream: browser.MediaStream,
    AudioContext: browser.AudioContext,
    MediaRecorder: browser.MediaRecorder,
    window: browser.window,
    document: browser.document,
    network: browser.navigator?.connection,
    storage: storageOf(browser, "localStorage"),
    session: storageOf(browser, "sessionStorage"),
    ...overrides,
  };
}

/**
 * Let time pass.
 *
 * @param {Pick<Environment, "setTimeout">} environment
 * @param {number} delayMs
 * @returns {Promise<void>}
 */
export function pause(environment, delayMs) {
  return new Promise((resolve) => environment.setTimeout(() => resolve(), delayMs));
}

/** `crypto.randomUUID` is missing outside a secure context; `getRandomValues` is not. */
function randomKey() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Even reading a storage throws where cookies are refused. */
function storageOf(browser, name) {
  try {
    return browser.window?.[name];
  } catch {
    return undefined;
  }
}
