import { Backoff } from "./backoff.js";
import { pause } from "./environment.js";
import { MetaportError } from "./errors.js";
import { Emitter } from "./events.js";
import { LocalTrack } from "./local_track.js";
import { Moving } from "./moving.js";
import { Participants } from "./participants.js";
import { Publishing } from "./publishing.js";
import { Subscribing } from "./subscribing.js";

/** @typedef {import("./publishing.js").Source} Source */
/** @typedef {import("./participants.js").RemoteTrack} RemoteTrack */
/** @typedef {"idle" | "joining" | "joined" | "recovering"} MediaState */

/** Refusals that pass by themselves or by joining anew; any other ends the attempt. */
const PASSING = new Set(["media_unavailable", "no_media", "internal", "timeout"]);

/**
 * Voice, video and screen in one room, over two peer connections: one that sends, one that receives.
 *
 * 1. `join` asks for a place (`media.join`); from here seconds of participation count.
 * 2. `publish` captures and sends (`media.publish`); the server's offers (`media.offer`) bring what
 *    others publish, and `track` events say what can be shown.
 * 3. When the chat connection was away, `resume` claims the same place again without touching media;
 *    when the media server was, or ICE cannot be restarted, a new place is taken and everything
 *    published again.
 * 4. When the media server is about to go (`media.move`), a place on another one is taken while the
 *    old one carries; the change is made once the new one does.
 *
 * Events: `state`; `track` (RemoteTrack that can now be shown, or no longer: `stream` is `null`);
 * `removed` (RemoteTrack); `participant` ({event, participant}); `speakers`; `local` (LocalTrack);
 * `silenced` (kinds) and `ended` ({reason}) by a moderator; `changed` after any of these; `error` (MetaportError), while going on.
 */
export class Media extends Emitter {
  /**
   * @param {{room: {name: string, state: string}, connection: import("./connection.js").Connection,
   *   devices: import("./devices.js").Devices,
   *   environment: import("./environment.js").Environment}} options
   */
  constructor({ room, connection, devices, environment }) {
    super();
    this.#room = room;
    this.#connection = connection;
    this.#devices = devices;
    this.#environment = environment;
    this.#backoff = new Backoff(environment.random);
    /** @type {MediaState} */
    this.state = "idle";
    this.participants = new Participants();
    /** Kinds of what we send that a moderator has muted. @type {("audio" | "video")[]} */
    this.silenced = [];
    /** What we publish, by source. @type {Map<Source, LocalTrack>} */
    this.local = new Map();
    for (const event of ["state", "track", "removed", "participant", "speakers", "local"]) {
      this.on(event, () => this.emit("changed"));
    }
  }

  #room;
  #connection;
  #devices;
  #environment;
  #backoff;
  #wanted = false;
  /** Counts attempts to join, so that an overtaken one stops. */
  #attempt = 0;
  /** @type {string | null} */
  #resume = null;
  /** @type {Publishing | null} */
  #publishing = null;
  /** @type {Subscribing | null} */
  #subscribing = null;
  /** Offers are answered one after the other. */
  #answering = Promise.resolve();
  /** Frames that came before the reply to `media.join`. @type {any[]} */
  #early = [];
  #networkChanged = false;
  /** Present while changing to another media server. @type {Moving | null} */
  #moving = null;
  /** Whether a move was begun, and there is no place on the other server yet. */
  #leaving = false;
  /** Whether a place there is asked for: what is said meanwhile would reach that server. */
  #holding = false;
  /** @type {{auto: boolean, tracks?: string[]} | null} */
  #subscription = null;

  /** Whether this browser can do it at all. */
  get available() {
    return Boolean(this.#environment.RTCPeerConnection);
  }

  /** Take part: hear and see the others. Resolves when in, rejects when refused. */
  async join() {
    if (!this.available) throw new MetaportError("webrtc_missing", "this browser has no WebRTC");
    if (this.#wanted) return;
    this.#wanted = true;
    this.#backoff.reset();
    this.#become("joining");
    const refused = await this.#establish();
    if (refused) throw refused;
    while (this.state === "joining") await this.next("state");
  }

  /** Stop taking part; devices are switched off. */
  async leave() {
    const told = this.#wanted && this.#connection.state === "connected";
    this.#end();
    for (const local of this.local.values()) local.stop();
    this.local.clear();
    if (told) await this.#ask("media.leave").catch(() => {});
  }

  /**
   * Send a microphone, a camera or a screen.
   *
   * @param {Source} source
   * @param {{track?: MediaStreamTrack}} [options] a track of your own instead of the chosen device
   * @returns {Promise<LocalTrack>}
   */
  async publish(source, { track } = {}) {
    const before = this.local.get(source);
    if (before) {
      if (before.muted) await this.mute(source, false);
      return before;
    }
    const local = new LocalTrack(source, track ?? (await this.#devices.capture(source)), !track);
    this.#hold(local);
    this.local.set(source, local);
    this.emit("local", local);
    if (this.state === "joined") await this.#transmit(local);
    return local;
  }

  /** Stop sending for good. @param {Source} source */
  async unpublish(source) {
    const local = this.local.get(source);
    if (!local) return;
    this.local.delete(source);
    local.stop();
    this.emit("local", local);
    await this.#publishing?.remove(source).catch((error) => this.#unsettled(error));
  }

  /**
   * Go silent or dark without giving up the place, or come back. A camera is switched off meanwhile.
   *
   * @param {Source} source
   * @param {boolean} muted
   */
  async mute(source, muted) {
    const local = this.local.get(source);
    if (!local || local.muted === muted) return;
    if (source === "camera" && local.captured) await this.#switchCamera(local, muted);
    else if (local.track) local.track.enabled = !muted;
    local.muted = muted;
    this.emit("local", local);
    await this.#tellMuted(local);
  }

  /**
   * Choose another device and, if in use, change over to it.
   *
   * @param {"microphone" | "camera" | "speaker"} kind
   * @param {import("./devices.js").Device | null} device `null` for the system's
   */
  async useDevice(kind, device) {
    this.#devices.choose(kind, device);
    const local = kind === "speaker" ? undefined : this.local.get(kind);
    if (local?.track && local.captured) await this.#recapture(local);
  }

  /**
   * Choose what to receive.
   *
   * @param {{auto: boolean, tracks?: string[]}} subscription `auto`: everything others publish
   */
  async subscribe(subscription) {
    this.#subscription = subscription;
    if (this.state === "joined" && !this.#holding) await this.#ask("media.subscribe", subscription);
  }

  /**
   * Collect WebRTC statistics as plain objects.
   *
   * @returns {Promise<{publishing: any[], subscribing: any[]}>}
   */
  async stats() {
    const read = async (peer) => [...((await peer?.getStats()) ?? new Map()).values()];
    return {
      publishing: await read(this.#publishing?.peer),
      subscribing: await read(this.#subscribing?.peer),
    };
  }

  /** The room is left for a while: the chat connection is away. Media goes on. */
  suspend() {
    if (!this.#wanted) return;
    if (this.#moving) this.#arrive(this.#moving);
    if (this.#holding) this.#keepSilent(false);
    this.#attempt += 1;
    for (const transport of this.#transports()) transport.watch.pause();
    if (this.state === "joined") this.#become("recovering");
  }

  /** The room is joined again. */
  resume() {
    if (this.#wanted) this.#establish();
  }

  /** The page is looked at again: a phone may have stopped devices and connections meanwhile. */
  awake() {
    for (const local of this.local.values()) {
      if (local.lost || local.track?.readyState === "ended") this.#recapture(local).catch(() => {});
    }
    for (const { peer, watch } of this.#transports()) {
      if (peer.connectionState !== "connected") watch.restartNow();
    }
  }

  /** The page goes away: leave at once instead of being missed for the server's grace period. */
  farewell() {
    if (this.#wanted) this.#ask("media.leave").catch(() => {});
  }

  /** The way to the server may have changed. */
  networkChanged() {
    if (!this.#wanted) return;
    this.#networkChanged = true;
    if (this.state === "joined") this.#restartAll();
  }

  /** @param {any} frame a `media.*` frame the server sent unasked */
  receive(frame) {
    if (frame.t === "media.closed" && frame.reason === "removed") this.#endedBy(frame.reason);
    else if (frame.t === "media.closed") this.#rebuild();
    else if (frame.t === "media.move") this.#move();
    else if (this.state === "joined") this.#handle(frame);
    else if (this.#wanted) this.#early.push(frame);
  }

  #handle(frame) {
    if (frame.t === "media.offer") {
      if (frame.n === 1 && this.#subscribing?.used) this.#receiveAnew();
      const subscribing = this.#subscribing;
      this.#answering = this.#answering.then(() => this.#answer(frame, subscribing));
    } else if (frame.t === "media.participant") {
      this.#present.change(frame);
      this.#show("participant", frame);
    } else if (frame.t === "media.track") this.#trackChanged(frame);
    else if (frame.t === "media.speakers") {
      this.#present.speakers(frame.speakers);
      this.#show("speakers", frame.speakers);
    } else if (frame.t === "media.silenced") this.#silenced(frame.kinds);
  }

  /** A moderator has muted kinds of what we send, or let us unmute them again. */
  #silenced(kinds) {
    this.silenced = kinds;
    for (const local of this.local.values()) {
      if (!kinds.includes(local.source === "microphone" ? "audio" : "video") || local.muted) continue;
      // The server mutes it whatever we do: so the light shows what is true.
      if (local.track) local.track.enabled = false;
      local.muted = true;
      this.emit("local", local);
    }
    this.emit("silenced", kinds);
  }

  /** A moderator has ended our part: it is not for us to come back by ourselves. */
  #endedBy(reason) {
    this.#end();
    this.emit("ended", { reason });
  }

  /** Who is there by the server we talk to; what is shown follows when it carries. */
  get #present() {
    return this.#moving?.participants ?? this.participants;
  }

  #show(event, detail) {
    if (!this.#moving) this.emit(event, detail);
  }

  #trackChanged({ event, track: frame }) {
    if (event !== "removed") {
      const track = this.#present.add(frame);
      if (track) this.#show("track", track);
      return;
    }
    const track = this.#present.remove(frame);
    if (track) this.#show("removed", track);
  }

  /** Ask for a place until there is one. @returns {Promise<MetaportError | undefined>} a refusal */
  async #establish() {
    const attempt = ++this.#attempt;
    while (attempt === this.#attempt && this.#room.state === "joined") {
      try {
        const reply = await this.#ask("media.join", this.#resume ? { resume: this.#resume } : {});
        if (attempt === this.#attempt) await this.#joined(reply);
        return undefined;
      } catch (cause) {
        const error = /** @type {MetaportError} */ (cause);
        // Overtaken, or the room is joined anew first and `resume` follows.
        if (attempt !== this.#attempt || error.reason === "disconnected") return undefined;
        if (this.#final(error)) {
          this.#end();
          this.emit("error", error);
          return error;
        }
        if (this.#backoff.attempts === 0) this.emit("error", error);
        await pause(this.#environment, Math.max(this.#backoff.next(), error.retryAfterMs ?? 0));
      }
    }
    return undefined;
  }

  /** Whether to stop asking. A full room is waited for only by those who were in it. */
  #final({ reason, retryAfterMs }) {
    if (reason === "too_many_participants") return this.state === "joining";
    return !PASSING.has(reason) && retryAfterMs === undefined;
  }

  async #joined(reply) {
    const same = this.#publishing !== null && reply.participant === this.participants.self;
    this.#resume = reply.resume ?? null;
    this.#backoff.reset();
    if (!same) {
      this.#closeTransports();
      this.#open(reply.ice_servers ?? []);
    }
    this.participants.reset(reply.participant, reply.participants, reply.tracks);
    this.#become("joined");
    for (const frame of this.#early.splice(0)) this.#handle(frame);
    for (const { watch } of this.#transports()) watch.resume();
    if (same && this.#networkChanged) this.#restartAll();
    this.#networkChanged = false;
    await this.#catchUp(same, reply.tracks).catch((error) => this.#unsettled(error));
  }

  /** Make the server's idea of what we publish and receive ours again. */
  async #catchUp(same, tracks) {
    if (!same && this.#subscription) await this.#ask("media.subscribe", this.#subscription);
    const publishing = /** @type {Publishing} */ (this.#publishing);
    const unsent = [...this.local.values()].filter(({ source }) => !publishing.id(source));
    for (const { source, track } of unsent) publishing.attach(source, track);
    if (unsent.length > 0 || publishing.stale) await publishing.negotiate();
    const muted = new Map(tracks.map((frame) => [frame.track, frame.muted ?? false]));
    for (const local of this.local.values()) {
      const known = muted.get(publishing.id(local.source)) ?? false;
      if (local.muted !== known) await this.#tellMuted(local);
    }
  }

  /** @param {RTCIceServer[]} iceServers */
  #open(iceServers) {
    const giveUp = () => this.#giveUp();
    const environment = this.#environment;
    this.#publishing = new Publishing({
      environment,
      iceServers,
      signal: (sdp, tracks) => /** @type {any} */ (this.#ask("media.publish", { sdp, tracks })),
      failed: (error) => this.#unsettled(error),
      giveUp,
    });
    this.#subscribing = this.#receiving(iceServers);
  }

  #receiving(iceServers) {
    return new Subscribing({
      environment: this.#environment,
      iceServers,
      restart: () => this.#ask("media.restart").catch((error) => this.#unsettled(error)),
      giveUp: () => this.#giveUp(),
    });
  }

  /** The server has ended the connection that receives, and offers another one. */
  #receiveAnew() {
    const former = /** @type {Subscribing} */ (this.#subscribing);
    former.close();
    this.#subscribing = this.#receiving(former.iceServers);
  }

  async #answer({ n, sdp, tracks }, subscribing) {
    if (!subscribing || subscribing !== this.#subscribing) return;
    try {
      const answer = await subscribing.answer(sdp);
      if (subscribing !== this.#subscribing) return;
      this.#bind(subscribing, tracks);
      // One that is not answered is made again.
      if (!this.#holding) await this.#ask("media.answer", { n, sdp: answer });
    } catch (error) {
      if (subscribing === this.#subscribing) this.#unsettled(error);
    }
  }

  /** Tie the tracks an offer lists to what the peer connection receives. */
  #bind(subscribing, frames) {
    const received = new Map();
    for (const frame of frames) {
      const track = this.#present.add(frame);
      if (track) received.set(track, subscribing.track(frame.mid));
    }
    for (const track of this.#present.tracks()) {
      const mediaTrack = received.get(track) ?? null;
      if (track.mediaTrack === mediaTrack) continue;
      track.mediaTrack = mediaTrack;
      track.stream = mediaTrack && new /** @type {any} */ (this.#environment).MediaStream([mediaTrack]);
      this.#show("track", track);
    }
  }

  /** @param {LocalTrack} local */
  async #transmit(local) {
    const publishing = this.#publishing;
    if (!publishing) return;
    try {
      await publishing.add(local.source, local.track);
      if (local.muted) await this.#tellMuted(local);
    } catch (error) {
      if (this.#unsettled(error)) return;
      await this.unpublish(local.source);
      throw error;
    }
  }

  /** @param {LocalTrack} local */
  async #tellMuted({ source, muted }) {
    const track = this.#publishing?.id(source);
    if (!track || this.state !== "joined" || this.#holding) return;
    await this.#ask("media.mute", { track, muted }).catch((error) => this.#unsettled(error));
  }

  async #switchCamera(local, off) {
    if (off) {
      local.stop();
    } else {
      local.track = await this.#devices.capture("camera");
      this.#hold(local);
    }
    await this.#publishing?.replace("camera", local.track);
  }

  /** Capture again from the chosen device. The old one is stopped first: phones share one camera. */
  async #recapture(local) {
    local.stop();
    try {
      local.track = await this.#devices.capture(local.source);
      local.lost = false;
    } catch (error) {
      local.lost = true;
      this.emit("local", local);
      this.emit("error", error);
      throw error;
    }
    local.track.enabled = !local.muted;
    this.#hold(local);
    await this.#publishing?.replace(local.source, local.track);
    this.emit("local", local);
  }

  /** Notice the end of a track that we did not end. @param {LocalTrack} local */
  #hold(local) {
    const { track, source } = local;
    track?.addEventListener("ended", () => {
      if (local.track !== track) return;
      // A screen ends by the browser's own button; a device was unplugged or taken away.
      if (source === "screen" || !local.captured) this.unpublish(source);
      else this.#recapture(local).catch(() => {});
    });
  }

  /**
   * Judge an error of a request made while in media.
   *
   * @param {any} error
   * @returns {boolean} whether it settles itself: nothing for the caller to do
   */
  #unsettled(error) {
    const { reason } = error;
    if (reason === "disconnected" || reason === "timeout" || reason === "stale_offer") return true;
    if (reason === "not_in_media" || reason === "media_unavailable" || reason === "no_such_participant") {
      this.#rebuild();
      return true;
    }
    this.emit("error", error);
    return false;
  }

  /** Neither restart helped: take a new place, and leave the old one so that nobody sees a ghost. */
  #giveUp() {
    const error = new MetaportError("media_unreachable", "no media connection to the server");
    this.emit("error", error);
    this.#ask("media.leave").catch(() => {});
    this.#rebuild();
  }

  /** Take a new place and publish everything again. */
  async #rebuild() {
    if (!this.#wanted) return;
    const attempt = ++this.#attempt;
    this.#closeTransports();
    this.#resume = null;
    this.#early = [];
    this.#become(this.state === "joining" ? "joining" : "recovering");
    await pause(this.#environment, this.#backoff.next());
    if (attempt === this.#attempt) this.#establish();
  }

  /** Take a place on another media server, and change over once it carries. */
  async #move() {
    if (this.state !== "joined" || this.#moving || this.#leaving) return;
    const attempt = this.#attempt;
    this.#leaving = true;
    const reply = await this.#askElsewhere(attempt);
    this.#leaving = false;
    this.#holding = false;
    if (!reply || attempt !== this.#attempt) return;
    const [environment, shown, transports] = [this.#environment, this.participants, this.#transports()];
    const moving = new Moving({ environment, shown, transports });
    this.#moving = moving;
    this.#resume = reply.resume ?? null;
    this.#open(reply.ice_servers ?? []);
    moving.participants.reset(reply.participant, reply.participants, reply.tracks);
    await this.#catchUp(false, reply.tracks).catch((error) => this.#unsettled(error));
    await moving.arrived(() => this.#sending);
    if (this.#moving === moving) this.#arrive(moving);
  }

  /** Ask until there is a place or the old one has ended, which is told by `media.closed`. */
  async #askElsewhere(attempt) {
    this.#backoff.reset();
    while (attempt === this.#attempt) {
      this.#keepSilent(true);
      try {
        return await this.#ask("media.join");
      } catch (error) {
        if (attempt !== this.#attempt) return null;
        this.#keepSilent(false);
        await this.#catchUp(true, []).catch((cause) => this.#unsettled(cause));
        if (!PASSING.has(/** @type {any} */ (error).reason)) return null;
        await pause(this.#environment, this.#backoff.next());
      }
    }
    return null;
  }

  /** Say nothing for a while of what is sent and received, and catch up later. */
  #keepSilent(silent) {
    this.#holding = silent;
    for (const transport of this.#transports()) {
      if (silent) transport.retire();
      else transport.revive();
    }
  }

  /** Whether what we publish, if anything, has a way to the server. */
  get #sending() {
    return this.local.size === 0 || this.#publishing?.peer.connectionState === "connected";
  }

  /** Show what the new media server brings, and let go of the old one. */
  #arrive(moving) {
    const before = this.participants.tracks();
    this.#moving = null;
    this.participants.become(moving.participants);
    for (const track of this.participants.tracks()) this.emit("track", track);
    for (const track of before) this.emit("removed", track);
    moving.close();
    this.#ask("media.release").catch(() => {});
  }

  #restartAll() {
    for (const { watch } of this.#transports()) watch.restartNow();
  }

  #end() {
    this.#wanted = false;
    this.#attempt += 1;
    this.#resume = null;
    this.#early = [];
    this.#networkChanged = false;
    this.#closeTransports();
    this.participants.clear();
    this.#become("idle");
  }

  #closeTransports() {
    this.#moving?.close();
    this.#moving = null;
    for (const transport of this.#transports()) transport.close();
    this.#publishing = null;
    this.#subscribing = null;
    for (const track of this.participants.tracks()) {
      track.mediaTrack = null;
      track.stream = null;
    }
  }

  /** @returns {(Publishing | Subscribing)[]} */
  #transports() {
    return [this.#publishing, this.#subscribing].filter((each) => each !== null);
  }

  #ask(t, fields = {}) {
    return this.#connection.request({ t, room: this.#room.name, ...fields });
  }

  /** @param {MediaState} state */
  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}
