import { IceWatch } from "./ice_watch.js";
import { withAudioRepair } from "./repair.js";

/** @typedef {"microphone" | "camera" | "screen"} Source */

/**
 * What a receiver on an ordinary connection can take. A screen needs sharpness more than frames.
 *
 * @type {Record<Source, RTCRtpEncodingParameters[] | undefined>}
 */
const ENCODINGS = {
  microphone: undefined,
  camera: [{ maxBitrate: 800_000 }],
  screen: [{ maxBitrate: 2_500_000, maxFramerate: 15 }],
};

/** The peer connection that carries what this client sends. The client always offers. */
export class Publishing {
  /**
   * @param {{environment: import("./environment.js").Environment, iceServers: RTCIceServer[],
   *   signal: (sdp: string, tracks: {mid: string, source: Source}[]) =>
   *     Promise<{sdp: string, tracks: {mid: string, track: string}[]}>,
   *   failed: (error: any) => void, giveUp: () => void}} options
   */
  constructor({ environment, iceServers, signal, failed, giveUp }) {
    const PeerConnection = /** @type {typeof RTCPeerConnection} */ (environment.RTCPeerConnection);
    this.peer = new PeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#signal = signal;
    this.watch = new IceWatch(this.peer, {
      environment,
      restart: () => this.negotiate({ iceRestart: true }).catch(failed),
      giveUp,
    });
  }

  #signal;
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #transceivers = new Map();
  /** Track ids the server gave. @type {Map<Source, string>} */
  #ids = new Map();
  /** Negotiations follow one another. */
  #last = Promise.resolve();
  #retired = false;
  /** Whether the server does not know the present state: a negotiation failed half way. */
  stale = false;

  /**
   * Send a track, and tell the server.
   *
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   */
  async add(source, track) {
    this.attach(source, track);
    await this.negotiate();
  }

  /**
   * Send a track with the next negotiation.
   *
   * @param {Source} source
   * @param {MediaStreamTrack | null} track `null`: its place is kept and nothing is sent yet
   */
  attach(source, track) {
    const used = this.#transceivers.get(source);
    if (used) {
      used.direction = "sendonly";
      used.sender.replaceTrack(track);
      return;
    }
    const kind = source === "microphone" ? "audio" : "video";
    const sendEncodings = ENCODINGS[source];
    const init = { direction: /** @type {const} */ ("sendonly"), ...(sendEncodings ? { sendEncodings } : {}) };
    this.#transceivers.set(source, this.peer.addTransceiver(track ?? kind, init));
  }

  /** Send another track in place of the present one, without negotiation. */
  async replace(source, track) {
    await this.#transceivers.get(source)?.sender.replaceTrack(track);
  }

  /** Stop sending. @param {Source} source */
  async remove(source) {
    const transceiver = this.#transceivers.get(source);
    if (!transceiver || transceiver.direction === "inactive") return;
    transceiver.direction = "inactive";
    await transceiver.sender.replaceTrack(null);
    this.#ids.delete(source);
    await this.negotiate();
  }

  /** @param {Source} source @returns {string | undefined} */
  id(source) {
    return this.#ids.get(source);
  }

  /**
   * Tell the server what is sent now.
   *
   * @param {{iceRestart?: boolean}} [options]
   */
  negotiate({ iceRestart = false } = {}) {
    const negotiation = this.#last.then(() => this.#negotiate(iceRestart));
    this.#last = negotiation.catch(() => {});
    return negotiation;
  }

  async #negotiate(iceRestart) {
    if (this.peer.signalingState === "closed") return;
    this.stale = true;
    if (this.#retired) return;
    const { sdp: made = "" } = await this.peer.createOffer({ iceRestart });
    await this.peer.setLocalDescription({ type: "offer", sdp: withAudioRepair(made) });
    if (this.#retired) {
      await this.peer.setLocalDescription({ type: "rollback" });
      return;
    }
    try {
      const { sdp } = /** @type {RTCSessionDescription} */ (this.peer.localDescription);
      const reply = await this.#signal(sdp, this.#sending());
      if (this.peer.signalingState !== "have-local-offer") return;
      await this.peer.setRemoteDescription({ type: "answer", sdp: reply.sdp });
      this.#remember(reply.tracks);
    } catch (error) {
      if (this.peer.signalingState === "have-local-offer") {
        await this.peer.setLocalDescription({ type: "rollback" });
      }
      throw error;
    }
    this.stale = false;
    this.watch.negotiated();
  }

  #sending() {
    return [...this.#transceivers]
      .filter(([, transceiver]) => transceiver.direction === "sendonly")
      .map(([source, { mid }]) => ({ mid: /** @type {string} */ (mid), source }));
  }

  /** What was stopped while the answer was under way has no track any more. */
  #remember(tracks) {
    const byMid = new Map(tracks.map(({ mid, track }) => [mid, track]));
    this.#ids.clear();
    for (const [source, { mid, direction }] of this.#transceivers) {
      const id = byMid.get(mid);
      if (id && direction === "sendonly") this.#ids.set(source, id);
    }
  }

  /** Go on sending, and say nothing: what is said now would be for another server. */
  retire() {
    this.#retired = true;
    this.watch.pause();
  }

  /** Say again what is sent: there is no other server. */
  revive() {
    this.#retired = false;
    this.watch.resume();
  }

  close() {
    this.watch.stop();
    this.peer.close();
  }
}
