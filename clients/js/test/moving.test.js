import assert from "node:assert/strict";
import { test } from "node:test";

import { GUEST, enter, reconnect, theirs } from "./fake_sfu.js";
import { FakePeer, settle } from "./fakes.js";

const ELSEWHERE = { participant: "p20", user: "u9", name: "손님" };
const there = (mid, source, kind = "video") => ({ mid, track: `n-${source}`, ...ELSEWHERE, kind, source, muted: false });
const peers = () => FakePeer.all.map(({ connectionState }) => connectionState);

/** Be in a call with somebody who speaks, and speak. */
async function call() {
  const world = await enter();
  await world.media.publish("microphone");
  world.sfu.push({ t: "media.participant", event: "joined", ...GUEST });
  world.sfu.offer(1, theirs("0", "microphone", "audio"));
  await settle();
  for (const peer of FakePeer.all) peer.become("connected");
  world.released = () => world.sfu.log.filter((t) => t === "media.release").length;
  world.heard = () => world.media.participants.tracks().map(({ id, stream }) => [id, stream !== null]);
  return world;
}

/** The room is on another server now, and the other person is there. */
async function told({ sfu }) {
  sfu.others = { participants: [ELSEWHERE], tracks: [there("0", "microphone", "audio")] };
  sfu.push({ t: "media.move" });
  await settle();
}

test("what the old server carries is shown until the new one carries the same", async () => {
  const world = await call();
  const events = [];
  for (const event of ["track", "removed", "state"]) world.media.on(event, (what) => events.push([event, what.id ?? what]));
  await told(world);
  assert.equal(world.sfu.published.length, 1);
  assert.deepEqual(world.heard(), [["t-microphone", true]]);
  assert.deepEqual(peers(), ["connected", "connected", "new", "new"]);
  world.sfu.offer(1, there("0", "microphone", "audio"));
  await world.clock.advance(100);
  assert.deepEqual(world.heard(), [["t-microphone", true]], "our own voice has no way yet");
  FakePeer.all[2].become("connected");
  await world.clock.advance(100);
  assert.deepEqual(world.heard(), [["n-microphone", true]]);
  assert.deepEqual(peers(), ["closed", "closed", "connected", "new"]);
  assert.equal(world.released(), 1);
  assert.deepEqual(events, [["track", "n-microphone"], ["removed", "t-microphone"]]);
  assert.equal(world.media.state, "joined");
});

test("packets are waited for, not the promise of them", async () => {
  const world = await call();
  await told(world);
  FakePeer.all[2].become("connected");
  world.sfu.offer(1, there("0", "microphone", "audio"));
  FakePeer.all[3].transceivers.length = 0;
  FakePeer.all[3].addTransceiver("audio", { direction: "recvonly" }).receiver.track.muted = true;
  FakePeer.all[3].transceivers[0].mid = "0";
  await world.clock.advance(500);
  assert.equal(world.released(), 0);
  FakePeer.all[3].transceivers[0].receiver.track.muted = false;
  await world.clock.advance(100);
  assert.equal(world.released(), 1);
});

test("somebody who does not come along is not waited for long", async () => {
  const world = await call();
  world.sfu.push({ t: "media.move" });
  await settle();
  FakePeer.all[2].become("connected");
  await world.clock.advance(3_000);
  assert.equal(world.released(), 0);
  await world.clock.advance(1_100);
  assert.equal(world.released(), 1);
  assert.deepEqual(world.heard(), []);
});

test("told twice, it moves once", async () => {
  const world = await call();
  await told(world);
  await told(world);
  assert.equal(FakePeer.all.length, 4);
  assert.equal(world.sfu.log.filter((t) => t === "media.join").length, 2);
});

test("a new place that ends at once is left for yet another one", async () => {
  const world = await call();
  await told(world);
  world.sfu.push({ t: "media.closed", reason: "media_unavailable" });
  await world.clock.advance(500);
  assert.deepEqual(peers().slice(0, 4), ["closed", "closed", "closed", "closed"]);
  assert.equal(world.media.state, "joined");
  await world.clock.advance(10_000);
  assert.equal(world.released(), 0);
});

test("a refused move leaves everything as it is, and is tried again", async () => {
  const world = await call();
  let refusals = 2;
  world.sfu.refuse = ({ t }) => (t === "media.join" && refusals-- > 0 ? { code: 390, reason: "media_unavailable", message: "", retry_after_ms: 1000 } : null);
  await told(world);
  assert.deepEqual(world.heard(), [["t-microphone", true]]);
  assert.equal(FakePeer.all.length, 2);
  await world.clock.advance(1_500);
  assert.equal(FakePeer.all.length, 4);
  assert.deepEqual(world.errors, []);
});

test("a chat connection lost while moving comes back to the new place", async () => {
  const world = await call();
  await told(world);
  await reconnect(world);
  assert.equal(world.media.state, "joined");
  assert.deepEqual(peers().slice(0, 2), ["closed", "closed"]);
  assert.equal(FakePeer.all.length, 4);
  assert.equal(world.sfu.participants, 2, "the new place was claimed again, no third one taken");
});

test("an offer of the old server is not answered by the new connection", async () => {
  const world = await call();
  world.sfu.offer(2, theirs("0", "microphone", "audio"), theirs("1", "camera"));
  await told(world);
  assert.deepEqual(FakePeer.all[3].transceivers, []);
});

test("leaving while moving leaves for good", async () => {
  const world = await call();
  await told(world);
  await world.media.leave();
  await world.clock.advance(10_000);
  assert.ok(peers().every((state) => state === "closed"));
  assert.equal(world.media.state, "idle");
  assert.equal(world.released(), 0);
});

test("muted while moving, one is muted there as well", async () => {
  const world = await call();
  await told(world);
  await world.media.mute("microphone", true);
  await settle();
  assert.deepEqual(world.sfu.muted.at(-1), ["own-microphone", true]);
});
