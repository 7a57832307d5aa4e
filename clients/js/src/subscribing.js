import { IceWatch } from "./ice_watch.js";
import { withAudioRepair } from "./repair.js";

/**
 * The peer connection that carries what others send. The server always offers, so the two sides
 * never offer at the same time.
 */
export class Subscribing {
  /**
   * @param {{environment: import("./environment.js").Environment, iceServers: RTCIceServer[],
   *   restart: () => void, giveUp: () => void}} options `restart` asks the server for a new offer
   */
  constructor({ environment, iceServers, restart, giveUp }) {
    const PeerConnection = /** @type {typeof RTCPeerConnection} */ (environment.RTCPeerConnection);
    this.peer = new PeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.watch = new IceWatch(this.peer, { environment, restart, giveUp });
    this.iceServers = iceServers;
    /** Whether an offer was taken: its m-lines stay for good. */
    this.used = false;
  }

  /**
   * Answer an offer.
   *
   * @param {string} sdp
   * @returns {Promise<string>}
   */
  async answer(sdp) {
    this.used = true;
    await this.peer.setRemoteDescription({ type: "offer", sdp });
    const { sdp: made = "" } = await this.peer.createAnswer();
    await this.peer.setLocalDescription({ type: "answer", sdp: withAudioRepair(made) });
    this.watch.negotiated();
    return /** @type {RTCSessionDescription} */ (this.peer.localDescription).sdp;
  }

  /**
   * Find what is received on an m-line.
   *
   * @param {string} mid
   * @returns {MediaStreamTrack | null}
   */
  track(mid) {
    const transceiver = this.peer.getTransceivers().find((each) => each.mid === mid);
    return transceiver?.receiver.track ?? null;
  }

  /** Go on receiving, and say nothing: what is said now would be for another server. */
  retire() {
    this.watch.pause();
  }

  /** There is no other server. */
  revive() {
    this.watch.resume();
  }

  close() {
    this.watch.stop();
    this.peer.close();
  }
}
