/** Something this client publishes, whether it is being sent at the moment or not. */
export class LocalTrack {
  /**
   * @param {import("./publishing.js").Source} source
   * @param {MediaStreamTrack} track
   * @param {boolean} captured by us: then it is ours to stop
   */
  constructor(source, track, captured) {
    this.source = source;
    /** `null` while a camera is off. @type {MediaStreamTrack | null} */
    this.track = track;
    this.captured = captured;
    this.muted = false;
    /** The device went away or the phone was locked; to be captured again. */
    this.lost = false;
  }

  /** Stop the device: its light goes out. */
  stop() {
    if (this.captured) this.track?.stop();
    this.track = null;
  }
}
