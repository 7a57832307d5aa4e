import assert from "node:assert/strict";
import { test } from "node:test";

import { Devices } from "../src/devices.js";
import { levelOf, rootMeanSquare } from "../src/microphone.js";
import { Playback } from "../src/playback.js";
import { fakeEnvironment, FakeStream, settle } from "./fakes.js";

function devices(overrides) {
  const { environment } = fakeEnvironment(overrides);
  return { environment, devices: new Devices(environment) };
}

test("lists devices by kind", async () => {
  const list = await devices().devices.list();
  assert.deepEqual(list.microphone.map(({ label }) => label), ["내장 마이크", "헤드셋"]);
  assert.equal(list.camera.length, 1);
  assert.equal(list.speaker.length, 1);
});

test("remembers a choice, and finds it by label when ids have changed", async () => {
  const { environment, devices: before } = devices();
  before.choose("microphone", { id: "mic-2", label: "헤드셋" });
  environment.mediaDevices.devices[1].deviceId = "mic-new";
  const after = new Devices(environment);
  assert.equal((await after.capture("microphone")).deviceId, "mic-new");
});

test("captures from the system's device when the chosen one is gone or fails", async () => {
  const { environment, devices: chosen } = devices();
  chosen.choose("camera", { id: "cam-9", label: "외장 카메라" });
  assert.equal((await chosen.capture("camera")).kind, "video");
  assert.equal(environment.mediaDevices.asked[0].video.deviceId, undefined);
});

for (const [name, reason] of [
  ["NotAllowedError", "permission_denied"],
  ["NotFoundError", "device_missing"],
  ["NotReadableError", "device_busy"],
  ["TypeError", "device_failed"],
]) {
  test(`tells ${reason} from the browser's ${name}`, async () => {
    const { environment, devices: refused } = devices();
    environment.mediaDevices.fails = name;
    await assert.rejects(refused.capture("microphone"), { reason });
  });
}

test("says that a secure context is missing", async () => {
  await assert.rejects(devices({ mediaDevices: undefined }).devices.capture("camera"), {
    reason: "insecure_context",
  });
});

test("works without storage", () => {
  const { devices: forgetful } = devices({
    storage: {
      getItem() {
        throw new Error("refused");
      },
      setItem() {
        throw new Error("refused");
      },
    },
  });
  forgetful.choose("camera", { id: "cam-1", label: "" });
  assert.equal(forgetful.chosen("camera"), null);
});

class FakeElement {
  paused = true;
  srcObject = null;
  sinkId = "";
  refuses = false;

  async play() {
    if (this.refuses) throw Object.assign(new Error(), { name: "NotAllowedError" });
    this.paused = false;
  }

  async setSinkId(id) {
    this.sinkId = id;
  }
}

function playback() {
  const { environment } = fakeEnvironment();
  const choices = new Devices(environment);
  return { environment, choices, playback: new Playback({ environment, devices: choices }) };
}

test("what the browser refuses to play starts with the first touch", async () => {
  const { environment, playback: player } = playback();
  const element = new FakeElement();
  const told = [];
  player.on("blocked", (blocked) => told.push(blocked));
  element.refuses = true;
  player.attach(element, new FakeStream([]));
  await settle();
  assert.equal(player.blocked, true);
  element.refuses = false;
  environment.window.dispatchEvent(new Event("pointerup"));
  await settle();
  assert.equal(element.paused, false);
  assert.deepEqual(told, [true, false]);
});

test("sound goes to the chosen speaker, also when chosen later", async () => {
  const { choices, playback: player } = playback();
  const element = new FakeElement();
  player.attach(element, new FakeStream([]));
  choices.choose("speaker", { id: "out-1", label: "스피커" });
  await settle();
  assert.equal(element.sinkId, "out-1");
  const second = new FakeElement();
  player.attach(second, new FakeStream([]));
  await settle();
  assert.equal(second.sinkId, "out-1");
});

test("loudness is spread over what a voice spans", () => {
  assert.equal(rootMeanSquare(new Float32Array([0.5, -0.5])), 0.5);
  assert.equal(levelOf(0), 0);
  assert.equal(levelOf(1), 1);
  assert.ok(Math.abs(levelOf(10 ** (-35 / 20)) - 0.5) < 1e-9);
});
