/** Fakes of the browser: a clock moved by hand, sockets and peer connections that do as told. */

/** Let everything that is already decided happen. */
export async function settle() {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

export class FakeClock {
  nowMs = 1_000_000;
  #timers = new Map();
  #next = 1;

  /** How far the wall clock is off; setting a clock changes this and nothing else. */
  offMs = 0;

  now = () => this.nowMs + this.offMs;
  elapsed = () => this.nowMs;
  setTimeout = (callback, delayMs) => {
    this.#timers.set(this.#next, { callback, dueMs: this.nowMs + Math.max(0, delayMs) });
    return this.#next++;
  };
  clearTimeout = (handle) => this.#timers.delete(handle);

  async advance(durationMs) {
    const endMs = this.nowMs + durationMs;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.dueMs <= endMs);
      if (due.length === 0) break;
      const [handle, timer] = due.reduce((first, each) => (each[1].dueMs < first[1].dueMs ? each : first));
      this.#timers.delete(handle);
      this.nowMs = Math.max(this.nowMs, timer.dueMs);
      timer.callback();
      await settle();
    }
    this.nowMs = endMs;
    await settle();
  }

  /** The page is frozen: time passes and no timer runs until afterwards. */
  async freeze(durationMs) {
    this.nowMs += durationMs;
    await this.advance(0);
  }
}

/** One end of a WebSocket; the test is the server. */
export class FakeSocket {
  /** @type {FakeSocket[]} */
  static all = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol, readyState: 0, sent: [], closedWith: null });
    FakeSocket.all.push(this);
  }

  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    const frame = JSON.parse(text);
    this.sent.push(frame);
    this.onframe?.(frame);
  }

  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }

  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Frames of one type that came so far. */
  of(t) {
    return this.sent.filter((frame) => frame.t === t);
  }
}

export const USER = { id: "u1", name: "방문객" };

export function welcome(limits = {}) {
  return { t: "welcome", user: USER, session: "s1", ping_s: 25, limits };
}

/** Everything `browserEnvironment` would give, faked. */
export function fakeEnvironment(overrides = {}) {
  FakeSocket.all = [];
  FakePeer.all = [];
  const clock = new FakeClock();
  let keys = 0;
  const environment = {
    now: clock.now,
    elapsed: clock.elapsed,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    random: () => 0.5,
    key: () => `key-${++keys}`,
    fetch: () => Promise.reject(new Error("no network in this test")),
    WebSocket: FakeSocket,
    RTCPeerConnection: FakePeer,
    MediaStream: FakeStream,
    mediaDevices: new FakeMediaDevices(),
    window: new EventTarget(),
    document: Object.assign(new EventTarget(), { visibilityState: "visible" }),
    network: Object.assign(new EventTarget(), { type: "wifi" }),
    storage: new FakeStorage(),
    ...overrides,
  };
  return { clock, environment };
}

/** A server of the text protocol with one room, as far as a client can tell. */
export class FakeServer {
  constructor({ epoch = "e1", limits = {}, keep = 1_000 } = {}) {
    Object.assign(this, { epoch, limits, keep, log: [], keys: new Map(), members: [], states: [], answers: true, earlier: [] });
    /** Called with each request before it is served; return an error to refuse it. */
    this.refuse = () => null;
    /** Whether the echo of a message leaves before its acknowledgement. */
    this.echoFirst = false;
    /** What the line of each socket carries before it breaks; `null` for any amount. */
    this.cutAfterBytes = null;
    this.bytesLeft = null;
  }

  /** Serve a socket the client has just opened. */
  serve(socket) {
    this.socket = socket;
    this.bytesLeft = this.cutAfterBytes;
    socket.onframe = (frame) => {
      if (this.answers) this.#serve(socket, frame);
    };
    socket.accept();
    return socket;
  }

  /** Someone else says something. */
  say(body, from = "u2") {
    const frame = this.#append(body, from);
    this.socket.say(frame);
    return frame;
  }

  /** Someone else says something that does not reach this client. */
  sayUnheard(body, from = "u2") {
    return this.#append(body, from);
  }

  #serve(socket, frame) {
    if (frame.t === "hello") return socket.say(welcome(this.limits));
    if (frame.t === "ping") return socket.say({ t: "pong" });
    if (this.bytesLeft !== null) return this.#trickle(socket, frame);
    const error = this.refuse(frame);
    if (error) return socket.say({ t: "error", id: frame.id, ...error });
    if (frame.t === "join") return socket.say(this.#joined(frame));
    if (frame.t === "state") return undefined;
    if (frame.t === "leave") return socket.say({ t: "left", id: frame.id, room: frame.room });
    if (frame.t === "send") return this.#send(socket, frame);
    if (frame.t === "history") return socket.say(this.#history(frame));
    return this.media?.(socket, frame);
  }

  /** Answer, as far as the line goes. */
  #trickle(socket, frame) {
    const answers = { join: () => this.#joined(frame), history: () => this.#history(frame) };
    const answer = answers[frame.t]?.();
    if (!answer) return;
    this.bytesLeft -= JSON.stringify(answer).length;
    if (this.bytesLeft < 0) socket.end(1006);
    else socket.say(answer);
  }

  #joined({ id, room, since, history = 0, state = false }) {
    const top = this.log.length;
    const oldest = Math.max(0, top - this.keep);
    const recovered = Boolean(since && since.epoch === this.epoch && since.offset <= top && since.offset >= oldest);
    let messages = [];
    if (recovered) messages = this.log.slice(since.offset);
    else if (!since && history > 0) messages = this.log.slice(-history);
    const joined = { t: "joined", id, room, epoch: this.epoch, offset: top, recovered, messages, members: this.members };
    return state ? { ...joined, states: this.states } : joined;
  }

  /** Pages of one epoch: of the present one, or of those in `earlier`, oldest first. */
  #history({ id, room, before, after, limit }) {
    if (after) {
      const later = after.epoch === this.epoch ? this.log.slice(after.offset) : [];
      const messages = later.slice(0, limit);
      return { t: "history", id, room, epoch: this.epoch, messages, more: later.length > limit };
    }
    const eras = [...this.earlier, { epoch: this.epoch, log: this.log }];
    let index = eras.findIndex(({ epoch }) => epoch === before.epoch);
    let kept = eras[index].log.filter(({ offset }) => offset < before.offset);
    while (kept.length === 0 && index > 0) kept = eras[--index].log;
    const messages = kept.slice(-limit);
    const epoch = messages.length > 0 ? eras[index].epoch : "";
    return { t: "history", id, room, epoch, messages, more: kept.length > limit || index > 0 };
  }

  #send(socket, { id, room, body, key }) {
    const known = this.keys.get(key);
    const frame = known ?? this.#append(body, USER.id);
    this.keys.set(key, frame);
    const reply = { t: "sent", id, room, offset: frame.offset, message_id: frame.id, at: frame.at, epoch: frame.epoch };
    const frames = known ? [reply] : this.echoFirst ? [frame, reply] : [reply, frame];
    for (const each of frames) socket.say(each);
  }

  #append(body, from) {
    const offset = this.log.length + 1;
    const frame = { t: "message", room: "lobby", offset, id: `m${offset}`, from, name: from, at: 5_000 + offset, body };
    this.log.push(frame);
    return frame;
  }
}

export class FakeStorage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => this.#items.set(key, value);
  removeItem = (key) => this.#items.delete(key);
}

export class FakeTrack extends EventTarget {
  static #next = 1;

  constructor(kind, deviceId = "default") {
    super();
    Object.assign(this, { kind, deviceId, id: `t${FakeTrack.#next++}`, enabled: true, readyState: "live" });
  }

  stop() {
    this.readyState = "ended";
  }

  /** The device went away: only then is there an event. */
  vanish() {
    this.readyState = "ended";
    this.dispatchEvent(new Event("ended"));
  }
}

export class FakeStream {
  constructor(tracks) {
    this.tracks = tracks;
  }
  getTracks = () => this.tracks;
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === "video");
}

class FakeMediaDevices extends EventTarget {
  devices = [
    { kind: "audioinput", deviceId: "mic-1", label: "내장 마이크" },
    { kind: "audioinput", deviceId: "mic-2", label: "헤드셋" },
    { kind: "videoinput", deviceId: "cam-1", label: "내장 카메라" },
    { kind: "audiooutput", deviceId: "out-1", label: "스피커" },
  ];
  /** Name of the exception to throw, or `null`. */
  fails = null;
  asked = [];

  enumerateDevices = async () => this.devices;
  getDisplayMedia = async () => new FakeStream([new FakeTrack("video", "screen")]);
  getUserMedia = async (constraints) => {
    this.asked.push(constraints);
    if (this.fails) throw Object.assign(new Error(this.fails), { name: this.fails });
    const kind = constraints.audio ? "audio" : "video";
    const wanted = (constraints.audio ?? constraints.video).deviceId?.exact;
    if (wanted && !this.devices.some(({ deviceId }) => deviceId === wanted)) {
      throw Object.assign(new Error("gone"), { name: "OverconstrainedError" });
    }
    return new FakeStream([new FakeTrack(kind, wanted)]);
  };
}

/** As much of an RTCPeerConnection as the SDK looks at. */
export class FakePeer extends EventTarget {
  /** @type {FakePeer[]} */
  static all = [];

  constructor(configuration) {
    super();
    Object.assign(this, { configuration, connectionState: "new", signalingState: "stable", transceivers: [] });
    Object.assign(this, { localDescription: null, offers: 0, restarts: 0, rollbacks: 0 });
    FakePeer.all.push(this);
  }

  addTransceiver(trackOrKind, init) {
    const track = typeof trackOrKind === "string" ? null : trackOrKind;
    const transceiver = {
      mid: null,
      direction: init.direction,
      sender: { track, replaceTrack: async (next) => void (transceiver.sender.track = next) },
      receiver: { track: new FakeTrack("video") },
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers = () => this.transceivers;
  getStats = async () => new Map([["a", { type: "transport" }]]);

  async createOffer({ iceRestart } = {}) {
    this.offers += 1;
    if (iceRestart) this.restarts += 1;
    return { type: "offer", sdp: `offer-${this.offers}${iceRestart ? "-restart" : ""}` };
  }

  async createAnswer() {
    return { type: "answer", sdp: "answer" };
  }

  async setLocalDescription(description) {
    if (description.type === "rollback") {
      this.rollbacks += 1;
      this.signalingState = "stable";
      return;
    }
    this.transceivers.forEach((each, index) => (each.mid ??= String(index)));
    this.localDescription = description;
    this.signalingState = description.type === "offer" ? "have-local-offer" : "stable";
  }

  /** The test's offers are lists of mids: `mids:0,1`. */
  async setRemoteDescription({ type, sdp }) {
    if (sdp === "broken") throw Object.assign(new Error("cannot parse"), { name: "OperationError" });
    if (type === "offer") {
      for (const mid of sdp.replace("mids:", "").split(",").filter(Boolean)) {
        if (this.transceivers.some((each) => each.mid === mid)) continue;
        this.addTransceiver("video", { direction: "recvonly" }).mid = mid;
      }
    }
    this.signalingState = type === "offer" ? "have-remote-offer" : "stable";
  }

  become(connectionState) {
    this.connectionState = connectionState;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  close() {
    this.connectionState = "closed";
    this.signalingState = "closed";
  }
}
