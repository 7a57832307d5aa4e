import assert from "node:assert/strict";
import { test } from "node:test";

import { GUEST, enter, reconnect, theirs } from "./fake_sfu.js";
import { FakePeer, FakeSocket, FakeTrack, settle } from "./fakes.js";

const [PUBLISHING, SUBSCRIBING] = [0, 1];

test("joins and publishes what is asked for, over one connection", async () => {
  const { media, sfu } = await enter();
  await media.publish("microphone");
  await media.publish("camera");
  assert.equal(media.state, "joined");
  assert.deepEqual(sfu.published.map(({ source }) => source), ["microphone", "camera"]);
  assert.equal(FakePeer.all.length, 2);
});

test("what is published before joining is sent with the joining", async () => {
  const { media, sfu } = await enter({ join: false });
  await media.publish("microphone");
  assert.deepEqual(sfu.published, []);
  await media.join();
  assert.deepEqual(sfu.published.map(({ source }) => source), ["microphone"]);
});

test("answers offers in order and ties tracks to people", async () => {
  const { media, sfu } = await enter();
  const shown = [];
  media.on("track", (track) => shown.push([track.source, track.stream !== null]));
  sfu.push({ t: "media.participant", event: "joined", ...GUEST });
  sfu.offer(1, theirs("0", "microphone", "audio"));
  sfu.offer(2, theirs("0", "microphone", "audio"), theirs("1", "camera"));
  await settle();
  assert.equal(sfu.answered.n, 2);
  assert.deepEqual(shown, [["microphone", true], ["camera", true]]);
  const person = media.participants.people.get("p9");
  assert.equal(person.track("camera").stream.tracks[0], person.track("camera").mediaTrack);
});

test("an offer of a new connection is taken by a new connection", async () => {
  const { media, sfu } = await enter();
  sfu.offer(1, theirs("0", "microphone", "audio"), theirs("1", "camera"));
  sfu.offer(2, theirs("1", "camera"));
  await settle();
  sfu.offer(1, theirs("0", "camera"));
  await settle();
  assert.equal(sfu.answered.n, 1);
  assert.deepEqual(FakePeer.all.map(({ connectionState }) => connectionState), ["new", "closed", "new"]);
  const camera = media.participants.people.get("p9").track("camera");
  assert.equal(camera.mediaTrack, FakePeer.all[2].transceivers[0].receiver.track);
});

test("a track no longer offered can no longer be shown", async () => {
  const { media, sfu } = await enter();
  sfu.offer(1, theirs("0", "camera"));
  await settle();
  const track = media.participants.people.get("p9").track("camera");
  sfu.offer(2);
  await settle();
  assert.equal(track.stream, null);
});

test("an offer that overtakes the reply to joining is answered after it", async () => {
  const { media, sfu } = await enter({ join: false });
  sfu.refuse = (frame) => {
    if (frame.t === "media.join") sfu.offer(1, theirs("0", "camera"));
    return null;
  };
  await media.join();
  await settle();
  assert.equal(sfu.answered.n, 1);
});

test("a stale offer is nobody's mistake", async () => {
  const { media, sfu, errors } = await enter();
  sfu.refuse = ({ t }) => (t === "media.answer" ? { code: 306, reason: "stale_offer", message: "" } : null);
  sfu.offer(1, theirs("0", "camera"));
  await settle();
  assert.equal(media.state, "joined");
  assert.deepEqual(errors, []);
});

test("people and their muting, speaking and leaving are followed", async () => {
  const { media, sfu } = await enter();
  const track = theirs("0", "microphone", "audio");
  sfu.push({ t: "media.participant", event: "joined", ...GUEST });
  sfu.push({ t: "media.track", event: "added", track });
  sfu.push({ t: "media.track", event: "muted", track: { ...track, muted: true } });
  const person = media.participants.people.get("p9");
  assert.equal(person.track("microphone").muted, true);
  sfu.push({ t: "media.speakers", speakers: [{ participant: "p9", user: "u9", level: 40 }] });
  assert.equal(person.speaking, true);
  sfu.push({ t: "media.speakers", speakers: [] });
  assert.equal(person.speaking, false);
  sfu.push({ t: "media.track", event: "removed", track });
  assert.equal(person.tracks.size, 0);
  sfu.push({ t: "media.participant", event: "left", ...GUEST });
  assert.equal(media.participants.people.has("p9"), false);
});

test("claims the same place when the hub restarts, without touching media", async () => {
  const entered = await enter();
  await entered.media.publish("microphone");
  await reconnect(entered);
  assert.equal(entered.media.state, "joined");
  assert.equal(entered.sfu.participants, 1);
  assert.equal(FakePeer.all.length, 2);
  assert.equal(FakePeer.all[PUBLISHING].offers, 1);
});

test("takes a new place and publishes again when the media server restarts", async () => {
  const { clock, media, sfu } = await enter();
  const { track } = await media.publish("microphone");
  sfu.published = [];
  let away = 2;
  sfu.refuse = ({ t }) =>
    t === "media.join" && away-- > 0
      ? { code: 390, reason: "media_unavailable", message: "", retry_after_ms: 1_000 }
      : null;
  sfu.restart();
  assert.equal(media.state, "recovering");
  await clock.advance(5_000);
  assert.equal(media.state, "joined");
  assert.equal(sfu.participants, 2);
  assert.deepEqual(sfu.published.map(({ source }) => source), ["microphone"]);
  assert.equal(FakePeer.all.length, 4);
  assert.equal(track.readyState, "live");
  assert.equal(FakePeer.all[0].connectionState, "closed");
});

test("a negotiation cut off half way is repeated after the break", async () => {
  const entered = await enter();
  const { media, server, sfu } = entered;
  server.answers = false;
  const publishing = media.publish("microphone");
  await settle();
  FakeSocket.last.end(1006);
  server.answers = true;
  await publishing;
  assert.equal(FakePeer.all[PUBLISHING].rollbacks, 1);
  await entered.clock.advance(300);
  server.serve(FakeSocket.last);
  await settle();
  assert.deepEqual(sfu.published.map(({ source }) => source), ["microphone"]);
});

test("restarts ICE when a connection stays broken, not when it heals", async () => {
  const { clock, media, sfu } = await enter();
  await media.publish("microphone");
  const peer = FakePeer.all[PUBLISHING];
  peer.become("connected");
  peer.become("disconnected");
  await clock.advance(1_000);
  peer.become("connected");
  await clock.advance(5_000);
  assert.equal(peer.restarts, 0);
  peer.become("disconnected");
  await clock.advance(2_000);
  assert.equal(peer.restarts, 1);
  assert.match(sfu.offered, /restart/);
});

test("asks the server to restart what it sends", async () => {
  const { sfu } = await enter();
  sfu.offer(1, theirs("0", "camera"));
  await settle();
  FakePeer.all[SUBSCRIBING].become("connected");
  FakePeer.all[SUBSCRIBING].become("failed");
  await settle();
  assert.ok(sfu.log.includes("media.restart"));
});

test("takes a new place when restarts do not help, and leaves the old one", async () => {
  const { clock, media, sfu, errors } = await enter();
  await media.publish("microphone");
  FakePeer.all[PUBLISHING].become("connected");
  FakePeer.all[PUBLISHING].become("failed");
  await clock.advance(20_000);
  assert.equal(FakePeer.all[PUBLISHING].restarts, 3);
  assert.ok(sfu.log.includes("media.leave"));
  assert.equal(sfu.participants, 2);
  assert.equal(errors[0], "media_unreachable");
  assert.equal(media.state, "joined");
});

test("restarts at once on another network, after signalling is back if need be", async () => {
  const entered = await enter();
  await entered.media.publish("microphone");
  const peer = FakePeer.all[PUBLISHING];
  peer.become("connected");
  entered.environment.network.type = "cellular";
  entered.environment.network.dispatchEvent(new Event("change"));
  await settle();
  assert.equal(peer.restarts, 1);
  FakeSocket.last.end(1006);
  entered.environment.window.dispatchEvent(new Event("online"));
  await entered.clock.advance(300);
  entered.server.serve(FakeSocket.last);
  await settle();
  assert.equal(peer.restarts, 2);
});

test("a new estimate of the same network is no other network", async () => {
  const { environment, media } = await enter();
  await media.publish("microphone");
  FakePeer.all[PUBLISHING].become("connected");
  environment.network.dispatchEvent(new Event("change"));
  await settle();
  assert.equal(FakePeer.all[PUBLISHING].restarts, 0);
});

test("a muted microphone stays open and silent, a muted camera is switched off", async () => {
  const { media, sfu } = await enter();
  const microphone = await media.publish("microphone");
  const camera = await media.publish("camera");
  const eye = camera.track;
  await media.mute("microphone", true);
  await media.mute("camera", true);
  assert.equal(microphone.track.enabled, false);
  assert.equal(microphone.track.readyState, "live");
  assert.equal(eye.readyState, "ended");
  assert.deepEqual(sfu.muted, [["own-microphone", true], ["own-camera", true]]);
  await media.publish("camera");
  assert.equal(camera.track.readyState, "live");
  assert.deepEqual(sfu.muted.at(-1), ["own-camera", false]);
  assert.equal(FakePeer.all[PUBLISHING].offers, 2);
});

test("muting is told again after a break during which it happened", async () => {
  const entered = await enter();
  await entered.media.publish("microphone");
  FakeSocket.last.end(1006);
  await entered.media.mute("microphone", true);
  await entered.clock.advance(300);
  entered.server.serve(FakeSocket.last);
  await settle();
  assert.deepEqual(entered.sfu.muted, [["own-microphone", true]]);
});

test("changes over to another device without negotiation", async () => {
  const { media, environment } = await enter();
  const local = await media.publish("microphone");
  const before = local.track;
  await media.useDevice("microphone", { id: "mic-2", label: "헤드셋" });
  assert.equal(before.readyState, "ended");
  assert.equal(local.track.deviceId, "mic-2");
  const [transceiver] = FakePeer.all[PUBLISHING].transceivers;
  assert.equal(transceiver.sender.track, local.track);
  assert.equal(FakePeer.all[PUBLISHING].offers, 1);
  assert.equal(environment.mediaDevices.asked.at(-1).audio.deviceId.exact, "mic-2");
});

test("an unplugged device is replaced by the system's", async () => {
  const { media, environment } = await enter();
  media.useDevice("microphone", { id: "mic-2", label: "헤드셋" });
  const local = await media.publish("microphone");
  environment.mediaDevices.devices = environment.mediaDevices.devices.filter(({ deviceId }) => deviceId !== "mic-2");
  local.track.vanish();
  await settle();
  assert.equal(local.track.readyState, "live");
  assert.equal(environment.mediaDevices.asked.at(-1).audio.deviceId, undefined);
});

test("what a phone's lock took away is captured again when it is unlocked", async () => {
  const { media, environment, errors } = await enter();
  const local = await media.publish("camera");
  environment.mediaDevices.fails = "NotReadableError";
  local.track.vanish();
  await settle();
  assert.equal(local.lost, true);
  assert.deepEqual(errors, ["device_busy"]);
  environment.mediaDevices.fails = null;
  environment.document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(local.lost, false);
  assert.equal(local.track.readyState, "live");
});

test("a screen ended by the browser's own button is no longer published", async () => {
  const { media, sfu } = await enter();
  const local = await media.publish("screen");
  local.track.vanish();
  await settle();
  assert.equal(media.local.has("screen"), false);
  assert.deepEqual(sfu.published, []);
  await media.publish("screen");
  assert.equal(FakePeer.all[PUBLISHING].transceivers.length, 1);
});

test("a refused publication is given back to the caller and the device switched off", async () => {
  const { media, sfu, environment } = await enter();
  sfu.refuse = ({ t }) => (t === "media.publish" ? { code: 309, reason: "may_not_publish", message: "" } : null);
  const tracks = [];
  const capture = environment.mediaDevices.getUserMedia;
  environment.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await capture(wanted);
    tracks.push(...stream.getTracks());
    return stream;
  };
  await assert.rejects(media.publish("microphone"), { reason: "may_not_publish" });
  assert.equal(media.local.size, 0);
  assert.equal(tracks[0].readyState, "ended");
});

test("a refused joining is told to the caller", async () => {
  const { media, sfu } = await enter({ join: false });
  sfu.refuse = () => ({ code: 104, reason: "forbidden", message: "" });
  await assert.rejects(media.join(), { reason: "forbidden" });
  assert.equal(media.state, "idle");
});

test("leaving switches devices off, closes connections and tells the server", async () => {
  const { media, sfu } = await enter();
  const { track } = await media.publish("camera");
  await media.leave();
  assert.equal(track.readyState, "ended");
  assert.ok(FakePeer.all.every(({ connectionState }) => connectionState === "closed"));
  assert.equal(sfu.log.at(-1), "media.leave");
  assert.equal(media.participants.people.size, 0);
});

test("a track of one's own is published and never stopped", async () => {
  const { media } = await enter();
  const own = new FakeTrack("video");
  await media.publish("camera", { track: own });
  await media.mute("camera", true);
  assert.equal(own.enabled, false);
  await media.leave();
  assert.equal(own.readyState, "live");
});

test("a page that goes away says goodbye", async () => {
  const { environment, sfu } = await enter();
  environment.window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  assert.equal(sfu.log.at(-1), "media.leave");
});

test("what a moderator silences is shown as muted, and nothing is unmuted by itself", async () => {
  const { media, sfu } = await enter();
  await media.publish("microphone");
  await media.publish("camera");
  const told = [];
  media.on("silenced", (kinds) => told.push(kinds));
  sfu.push({ t: "media.silenced", kinds: ["audio"] });
  sfu.push({ t: "media.silenced", kinds: [] });
  assert.deepEqual(told, [["audio"], []]);
  assert.equal(media.local.get("microphone").muted, true);
  assert.equal(media.local.get("camera").muted, false);
});

test("who is taken out of media by a moderator does not come back by themselves", async () => {
  const { media, sfu } = await enter();
  await media.publish("microphone");
  const ended = [];
  media.on("ended", (news) => ended.push(news));
  sfu.push({ t: "media.closed", reason: "removed" });
  await settle();
  assert.equal(media.state, "idle");
  assert.deepEqual(ended, [{ reason: "removed" }]);
  assert.ok(FakePeer.all.every(({ connectionState }) => connectionState === "closed"));
});
