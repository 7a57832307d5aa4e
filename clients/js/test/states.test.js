import assert from "node:assert/strict";
import { test } from "node:test";

import { Metaport } from "../src/index.js";
import { FakeServer, FakeSocket, fakeEnvironment, settle } from "./fakes.js";

const LIMITS = { state_bytes: 1024, state_kinds: 16, state_per_s: 20, state_burst: 40, state_tick_s: 0.1 };

async function enter({ limits = LIMITS, states = [], wishes = { state: true } } = {}) {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer({ limits });
  server.states = states;
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const room = client.room("lobby");
  const shown = [];
  room.on("shown", ({ user, kind, value }) => shown.push([user, kind, value]));
  const joining = client.join("lobby", wishes);
  await settle();
  server.serve(FakeSocket.last);
  await joining;
  return { clock, client, room, server, shown };
}

async function reconnect({ clock, server }) {
  FakeSocket.last.end(1006);
  await clock.advance(300);
  server.serve(FakeSocket.last);
  await settle();
}

const told = () => FakeSocket.last.of("state").map(({ kind, value }) => [kind, value]);
const position = (user, value) => ({ user, kind: "position", value });

test("asks for states only when told to", async () => {
  await enter();
  assert.equal(FakeSocket.last.of("join")[0].state, true);
  await enter({ wishes: {} });
  assert.equal("state" in FakeSocket.last.of("join")[0], false);
});

test("tells a value at once, then the last of each kind once a tick, without asking for a reply", async () => {
  const { clock, room } = await enter();
  for (let x = 0; x < 5; x += 1) room.setState("position", [x]);
  room.setState("typing", true);
  assert.deepEqual(FakeSocket.last.of("state"), [{ t: "state", room: "lobby", kind: "position", value: [0] }]);
  await clock.advance(99);
  assert.equal(told().length, 1);
  await clock.advance(1);
  assert.deepEqual(told().slice(1), [["position", [4]], ["typing", true]]);
  room.setState("typing", null);
  await clock.advance(1_000);
  assert.deepEqual(told().slice(3), [["typing", null]]);
});

test("stays under the rate and still tells the last value", async () => {
  const { clock, room } = await enter({ limits: { ...LIMITS, state_per_s: 2, state_burst: 1 } });
  for (let x = 0; x <= 30; x += 1) {
    room.setState("position", x);
    await clock.advance(100);
  }
  await clock.advance(1_000);
  assert.ok(told().length <= 9, `${told().length} in 4 s`);
  assert.deepEqual(told().at(-1), ["position", 30]);
});

test("hears what others show, from joining on", async () => {
  const { room, server, shown } = await enter({ states: [position("u2", 1)] });
  assert.deepEqual(shown, [["u2", "position", 1]]);
  server.socket.say({ t: "states", room: "lobby", states: [position("u2", 2), position("u3", 5)] });
  assert.equal(room.states.get("u3").get("position"), 5);
  server.socket.say({ t: "states", room: "lobby", states: [position("u2", null)] });
  assert.deepEqual(shown.slice(1), [["u2", "position", 2], ["u3", "position", 5], ["u2", "position", null]]);
  assert.deepEqual([...room.states.keys()], ["u3"]);
});

test("what is not in everything is gone", async () => {
  const { server, shown } = await enter({ states: [position("u2", 1), position("u3", 1)] });
  server.socket.say({ t: "states", room: "lobby", all: true, states: [position("u3", 2)] });
  assert.deepEqual(shown.slice(2), [["u2", "position", null], ["u3", "position", 2]]);
});

test("shows its own again after a break, and knows who is gone", async () => {
  const entered = await enter({ states: [position("u2", 1)] });
  entered.room.setState("status", "away");
  entered.room.setState("typing", true);
  await entered.clock.advance(100);
  entered.room.setState("typing", null);
  entered.server.states = [];
  await reconnect(entered);
  await entered.clock.advance(200);
  assert.deepEqual(told().sort(), [["status", "away"], ["typing", null]]);
  assert.deepEqual(entered.shown.at(-1), ["u2", "position", null]);
});

test("shows nothing after leaving, and what was set before joining once it joins", async () => {
  const { clock, room } = await enter();
  room.setState("status", "away");
  await room.leave();
  await room.join({ state: true });
  await clock.advance(1_000);
  assert.deepEqual(told(), [["status", "away"]]);
});

test("says nothing of states to a server that knows none", async () => {
  const { clock, room } = await enter({ limits: {} });
  room.setState("typing", true);
  await clock.advance(1_000);
  assert.deepEqual(told(), []);
});
