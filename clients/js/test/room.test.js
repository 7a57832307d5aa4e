import assert from "node:assert/strict";
import { test } from "node:test";

import { Metaport } from "../src/index.js";
import { FakeServer, FakeSocket, fakeEnvironment, settle } from "./fakes.js";

async function enter(options = {}) {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer(options);
  for (const body of options.past ?? []) server.log.push(past(server, body));
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const room = client.room("lobby");
  const heard = [];
  room.on("message", ({ message, origin }) => heard.push([message.body, origin]));
  const joining = client.join("lobby", options.wishes);
  await settle();
  server.serve(FakeSocket.last);
  await joining;
  return { clock, client, room, server, heard };
}

function past(server, body) {
  const offset = server.log.length + 1;
  return { t: "message", room: "lobby", offset, id: `m${offset}`, from: "u2", name: "u2", at: offset, body };
}

/** Break the connection and bring it back. */
async function reconnect({ clock, server }, meanwhile = () => {}) {
  FakeSocket.last.end(1006);
  meanwhile();
  await clock.advance(300);
  server.serve(FakeSocket.last);
  await settle();
}

const bodies = (room) => room.messages.map(({ body }) => body);

test("begins with the history asked for", async () => {
  const { room, heard } = await enter({ past: ["a", "b", "c"], wishes: { history: 2 } });
  assert.deepEqual(heard, [["b", "history"], ["c", "history"]]);
  assert.equal(room.offset, 3);
});

test("hears each live message once and in order", async () => {
  const { room, server, heard } = await enter();
  const first = server.say("a");
  server.socket.say(first);
  server.say("b");
  assert.deepEqual(heard, [["a", "live"], ["b", "live"]]);
  assert.deepEqual(bodies(room), ["a", "b"]);
});

test("notices a hole and fills it before going on", async () => {
  const { room, server, heard } = await enter();
  server.say("a");
  server.sayUnheard("b");
  server.say("c");
  await settle();
  assert.deepEqual(heard.map(([body]) => body), ["a", "b", "c"]);
  assert.equal(room.state, "joined");
  assert.deepEqual(FakeSocket.last.of("join").at(-1).since, { epoch: "e1", offset: 1 });
});

test("recovers what was said while the connection was away", async () => {
  const entered = await enter();
  entered.server.say("a");
  await reconnect(entered, () => ["b", "c"].forEach((body) => entered.server.sayUnheard(body)));
  assert.deepEqual(entered.heard, [["a", "live"], ["b", "recovered"], ["c", "recovered"]]);
});

test("says so when more was lost than the server keeps, and goes on from its history", async () => {
  const entered = await enter({ keep: 2, wishes: { history: 2 } });
  const gaps = [];
  entered.room.on("gap", (gap) => gaps.push(gap));
  entered.server.say("a");
  await reconnect(entered, () => ["b", "c", "d", "e"].forEach((body) => entered.server.sayUnheard(body)));
  assert.deepEqual(gaps, [{ missing: 4 }]);
  assert.deepEqual(bodies(entered.room), ["a", "d", "e"]);
});

test("starts over when the room began anew, keeping what was seen above", async () => {
  const entered = await enter();
  const gaps = [];
  entered.room.on("gap", (gap) => gaps.push(gap));
  entered.server.say("a");
  await reconnect(entered, () => {
    Object.assign(entered.server, { epoch: "e2", log: [] });
    entered.server.sayUnheard("z");
  });
  assert.deepEqual(gaps, [{ missing: null }]);
  assert.deepEqual(bodies(entered.room), ["a", "z"]);
  entered.server.say("y");
  assert.deepEqual(bodies(entered.room), ["a", "z", "y"]);
});

test("keeps trying to join again when refused for a while", async () => {
  const entered = await enter();
  let refusals = 2;
  entered.server.refuse = ({ t }) =>
    t === "join" && refusals-- > 0 ? { code: 150, reason: "bus_away", message: "", retry_after_ms: 500 } : null;
  await reconnect(entered);
  assert.equal(entered.room.state, "joining");
  await entered.clock.advance(1_000);
  assert.equal(entered.room.state, "joined");
});

test("tells a refused join to the caller", async () => {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer();
  server.refuse = () => ({ code: 203, reason: "forbidden", message: "no" });
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const joining = client.join("lobby");
  joining.catch(() => {});
  await settle();
  server.serve(FakeSocket.last);
  await clock.advance(0);
  await assert.rejects(joining, { reason: "forbidden" });
  assert.equal(client.room("lobby").state, "left");
});

test("join waits for the connection when it breaks half way", async () => {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer();
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const joining = client.join("lobby");
  await settle();
  server.serve(FakeSocket.last);
  server.answers = false;
  await settle();
  FakeSocket.last.end(1006);
  server.answers = true;
  await clock.advance(300);
  server.serve(FakeSocket.last);
  assert.equal((await joining).state, "joined");
});

test("knows who is there", async () => {
  const { room, server } = await enter();
  server.socket.say({ t: "presence", room: "lobby", event: "joined", user: "u2", name: "손님" });
  server.socket.say({ t: "presence", room: "lobby", event: "joined", user: "u3", name: "손님" });
  server.socket.say({ t: "presence", room: "lobby", event: "left", user: "u2", name: "손님" });
  assert.deepEqual([...room.members.keys()], ["u3"]);
  server.socket.say({ t: "presence", room: "lobby", count: 350 });
  assert.equal(room.count, 350);
});

test("a room left stays left after the connection comes back", async () => {
  const entered = await enter();
  await entered.room.leave();
  await reconnect(entered);
  assert.equal(FakeSocket.last.of("join").length, 0);
  assert.equal(entered.room.state, "left");
});
