/**
 * Negotiation from the client's side, against a server that answers late and does things meanwhile:
 * whatever happens in whatever order, both sides agree once everything was answered.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { enter } from "./fake_sfu.js";
import { FakePeer, FakeSocket, settle } from "./fakes.js";

const SEEDS = 150;
const STEPS = 40;
const SOURCES = ["microphone", "camera", "screen"];

/** Numbers by a seed (mulberry32). */
function lot(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A place in media: what its owner publishes, what it was offered and answered. */
class Place {
  published = new Map();
  muted = new Set();
  lines = [];
  offered = 0;
  answered = 0;
}

/** A media server that keeps every request until it is told to answer. */
class LateSfu {
  waiting = [];
  places = new Map();
  place = null;
  number = 0;
  others = new Map();

  serve = (socket, frame) => this.waiting.push([socket, frame]);

  answerOne() {
    const [socket, frame] = this.waiting.shift() ?? [];
    if (!frame) return false;
    const reply = this.#handle(frame);
    socket.say({ room: frame.room, id: frame.id, ...reply });
    if (frame.t === "media.join") this.offer();
    return true;
  }

  #handle(frame) {
    const error = (reason) => ({ t: "error", code: 302, reason, message: reason });
    const { place } = this;
    if (frame.t === "media.join") return this.#join(frame);
    if (frame.t === "media.leave" || frame.t === "media.release") return { t: `${frame.t}d` };
    if (!place) return error("not_in_media");
    if (frame.t === "media.publish") {
      place.published = new Map(frame.tracks.map(({ mid, source }) => [`${place.id}-${mid}`, source]));
      const tracks = frame.tracks.map(({ mid }) => ({ mid, track: `${place.id}-${mid}` }));
      return { t: "media.published", sdp: "answer", tracks };
    }
    if (frame.t === "media.answer") {
      if (frame.n !== place.offered || frame.n === place.answered) return error("stale_offer");
      place.answered = frame.n;
      return { t: "media.answered", n: frame.n };
    }
    if (frame.t === "media.mute") {
      if (!place.published.has(frame.track)) return error("no_such_track");
      place.muted[frame.muted ? "add" : "delete"](frame.track);
      return { t: "media.muted", track: frame.track, muted: frame.muted };
    }
    return { t: `${frame.t}ed` };
  }

  #join({ resume }) {
    this.place = this.places.get(resume) ?? null;
    if (!this.place) {
      this.place = Object.assign(new Place(), { id: `p${++this.number}` });
      this.places.set(`secret-${this.place.id}`, this.place);
    }
    const { id, published, muted } = this.place;
    const own = [...published].map(([track, source]) => ({ track, participant: id, user: "u1", kind: "audio", source, muted: muted.has(track) }));
    return { t: "media.joined", participant: id, resume: `secret-${id}`, ice_servers: [], participants: [{ participant: id, user: "u1", name: "나" }], tracks: own };
  }

  /** Offer what others publish now, also when the last offer was not answered. */
  offer() {
    const { place } = this;
    if (!place) return;
    for (const track of this.others.keys()) if (!place.lines.includes(track)) place.lines.push(track);
    const tracks = place.lines.flatMap((track, mid) => {
      const frame = this.others.get(track);
      return frame ? [{ mid: String(mid), ...frame }] : [];
    });
    place.offered += 1;
    const sdp = `mids:${place.lines.map((_, mid) => mid).join(",")}`;
    FakeSocket.last.say({ t: "media.offer", room: "lobby", n: place.offered, sdp, tracks });
  }

  /** The process died, or another one took over. */
  forget(frame) {
    this.places.clear();
    this.place = null;
    FakeSocket.last.say({ t: "media.closed", room: "lobby", reason: "media_unavailable", ...frame });
  }
}

class World {
  async open(seed) {
    this.random = lot(seed);
    Object.assign(this, await enter({ join: false }));
    this.sfu = new LateSfu();
    this.server.media = this.sfu.serve;
    this.added = 0;
    this.media.join().catch(() => {});
    await settle();
  }

  pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  steps = {
    publish: () => void this.media.publish(this.pick(SOURCES)).catch(() => {}),
    unpublish: () => void this.media.unpublish(this.pick(SOURCES)).catch(() => {}),
    mute: () => void this.media.mute(this.pick(SOURCES), this.random() < 0.5).catch(() => {}),
    someoneStarts: () => {
      const track = `t${++this.added}`;
      this.sfu.others.set(track, { track, participant: "p9", user: "u9", name: "손님", kind: "video", source: "camera", muted: false });
      if (this.connected) this.sfu.offer();
    },
    someoneStops: () => {
      this.sfu.others.delete(this.pick([...this.sfu.others.keys()]));
      if (this.connected) this.sfu.offer();
    },
    answerOne: () => this.sfu.answerOne(),
    answerAll: () => this.answerAll(),
    wait: () => this.clock.advance(this.pick([10, 300, 5_000])),
    dies: () => this.connected && this.sfu.forget(),
    moves: () => this.connected && this.sfu.place && FakeSocket.last.say({ t: "media.move", room: "lobby" }),
    connects: () => FakePeer.all.filter(({ connectionState }) => connectionState === "new").forEach((peer) => peer.become("connected")),
    otherNetwork: () => this.media.networkChanged(),
    reconnects: () => this.reconnect(),
  };

  get connected() {
    return FakeSocket.last.readyState === 1;
  }

  async step() {
    await this.steps[this.pick(Object.keys(this.steps))]();
    await settle();
  }

  async answerAll() {
    while (this.sfu.answerOne()) await settle();
  }

  async reconnect() {
    const before = FakeSocket.all.length;
    this.sfu.waiting = [];
    FakeSocket.last.end(1006);
    for (let tries = 0; FakeSocket.all.length === before && tries < 100; tries += 1) await this.clock.advance(100);
    this.server.serve(FakeSocket.last);
    await settle();
  }

  async settleAll() {
    for (let turn = 0; turn < 60; turn += 1) {
      await this.answerAll();
      this.steps.connects();
      await this.clock.advance(500);
    }
    this.sfu.offer();
    await settle();
    await this.answerAll();
  }
}

for (let part = 0; part < 3; part += 1) {
  test(`both sides agree once everything was answered, whatever happened (${part})`, async () => {
    for (let seed = part; seed < SEEDS; seed += 3) {
      const world = new World();
      await world.open(seed);
      const { media, sfu } = world;
      for (let step = 0; step < STEPS; step += 1) await world.step();
      await world.settleAll();
      const told = `seed ${seed}`;
      assert.equal(media.state, "joined", told);
      const { place } = sfu;
      assert.equal(media.participants.self, place.id, told);
      assert.deepEqual([...place.published.values()].sort(), [...media.local.keys()].sort(), told);
      const muted = [...place.muted].filter((track) => place.published.has(track)).map((track) => place.published.get(track));
      assert.deepEqual(muted.sort(), [...media.local.values()].filter((each) => each.muted).map(({ source }) => source).sort(), told);
      assert.equal(place.answered, place.offered, told);
      const open = FakePeer.all.filter(({ connectionState }) => connectionState !== "closed");
      assert.equal(open.length, 2, told);
      assert.ok(open.every(({ signalingState }) => signalingState === "stable"), told);
      const shown = media.participants.tracks().filter(({ stream }) => stream).map(({ id }) => id);
      assert.deepEqual(shown.sort(), [...sfu.others.keys()].sort(), told);
    }
  });
}
