import assert from "node:assert/strict";
import { test } from "node:test";

import { Metaport } from "../src/index.js";
import { FakeServer, FakeSocket, fakeEnvironment, settle } from "./fakes.js";

async function enter(options = {}) {
  const { clock, environment } = fakeEnvironment();
  const server = new FakeServer(options);
  const client = new Metaport({ server: "http://server", token: "secret", environment });
  const joining = client.join("lobby");
  await settle();
  server.serve(FakeSocket.last);
  const room = await joining;
  const heard = [];
  const states = [];
  room.on("message", ({ message }) => heard.push(message.body));
  room.on("outgoing", (message) => states.push([message.body, message.state]));
  return { clock, client, room, server, heard, states };
}

async function back({ clock, server }) {
  await clock.advance(300);
  server.serve(FakeSocket.last);
  await settle();
}

const bodies = (room) => room.messages.map(({ body }) => body);

for (const echoFirst of [false, true]) {
  test(`is sending, then sent, and heard once (echo ${echoFirst ? "before" : "after"} reply)`, async () => {
    const { room, server, heard, states } = await enter();
    server.echoFirst = echoFirst;
    const message = room.send("안녕하세요");
    assert.equal(message.state, "sending");
    await settle();
    assert.deepEqual(states, [["안녕하세요", "sending"], ["안녕하세요", "sent"]]);
    assert.deepEqual(heard, ["안녕하세요"]);
    assert.deepEqual(room.messages, [message]);
    assert.equal(message.offset, 1);
    assert.equal(message.id, "m1");
  });
}

test("twice the same words are two messages", async () => {
  for (const echoFirst of [false, true]) {
    const { room, server, heard } = await enter();
    server.echoFirst = echoFirst;
    const messages = [room.send("네"), room.send("네")];
    await settle();
    assert.deepEqual(messages.map(({ offset }) => offset), [1, 2]);
    assert.deepEqual(room.messages, messages);
    assert.deepEqual(heard, ["네", "네"]);
  }
});

test("sends again with the same key after a break, delivered once", async () => {
  const entered = await enter();
  const { room, server } = entered;
  server.answers = false;
  const message = room.send("a");
  await settle();
  FakeSocket.last.end(1006);
  assert.equal(message.state, "sending");
  server.answers = true;
  await back(entered);
  assert.equal(message.state, "sent");
  assert.equal(server.log.length, 1);
  assert.equal(FakeSocket.all[0].of("send")[0].key, FakeSocket.all[1].of("send")[0].key);
});

test("recognises in the recovery what was delivered but never acknowledged", async () => {
  const entered = await enter();
  const { room, server, heard } = entered;
  server.answers = false;
  const message = room.send("a");
  await settle();
  const [{ key }] = FakeSocket.last.of("send");
  server.keys.set(key, server.sayUnheard("a", "u1"));
  FakeSocket.last.end(1006);
  server.answers = true;
  await back(entered);
  assert.deepEqual(room.messages, [message]);
  assert.deepEqual(heard, ["a"]);
  assert.equal(message.state, "sent");
});

test("sorts out the same words said by the same user elsewhere", async () => {
  const entered = await enter();
  const { room, server } = entered;
  server.answers = false;
  const message = room.send("네");
  await settle();
  const merged = [];
  room.on("merged", (each) => merged.push(each));
  server.say("네", "u1");
  assert.equal(message.offset, 1);
  const [{ id }] = FakeSocket.last.of("send");
  server.socket.say({ t: "sent", id, room: "lobby", offset: 2, message_id: "m2", at: 9 });
  server.say("네", "u1");
  await settle();
  assert.deepEqual(room.messages.map(({ offset }) => offset), [1, 2]);
  assert.equal(room.messages[1], message);
  assert.equal(merged[0].message, message);
  assert.equal(merged[0].duplicate.offset, 2);
});

test("keeps the order of what was written while away", async () => {
  const entered = await enter();
  FakeSocket.last.end(1006);
  ["a", "b", "c"].forEach((body) => entered.room.send(body));
  await settle();
  assert.deepEqual(bodies(entered.room), ["a", "b", "c"]);
  await back(entered);
  assert.deepEqual(entered.server.log.map(({ body }) => body), ["a", "b", "c"]);
  assert.ok(entered.room.messages.every(({ state }) => state === "sent"));
});

test("others' words come before those still on their way", async () => {
  const { room, server } = await enter();
  server.answers = false;
  room.send("mine");
  await settle();
  server.say("theirs");
  assert.deepEqual(bodies(room), ["theirs", "mine"]);
});

test("fails when refused, and succeeds when tried again", async () => {
  const { room, server } = await enter();
  server.refuse = ({ t }) => (t === "send" ? { code: 212, reason: "bad_body", message: "" } : null);
  const message = room.send("a");
  await settle();
  assert.equal(message.state, "failed");
  assert.equal(message.error.reason, "bad_body");
  server.refuse = () => null;
  room.retry(message);
  assert.equal(message.state, "sending");
  await settle();
  assert.equal(message.state, "sent");
  assert.deepEqual(room.messages, [message]);
});

test("a failed message can be forgotten", async () => {
  const { room, server } = await enter();
  server.refuse = ({ t }) => (t === "send" ? { code: 212, reason: "bad_body", message: "" } : null);
  const message = room.send("a");
  await settle();
  room.discard(message);
  assert.deepEqual(room.messages, []);
});

test("waits as long as a refusal tells, then goes on in order", async () => {
  const { clock, room, server } = await enter();
  let refusals = 1;
  server.refuse = ({ t }) =>
    t === "send" && refusals-- > 0 ? { code: 220, reason: "rate_limited", message: "", retry_after_ms: 700 } : null;
  const message = room.send("a");
  await clock.advance(699);
  assert.equal(message.state, "sending");
  await clock.advance(1);
  assert.equal(message.state, "sent");
});

test("gives up a message the server refuses again and again", async () => {
  const { clock, room, server } = await enter();
  server.refuse = ({ t }) =>
    t === "send" ? { code: 230, reason: "storage_full", message: "", retry_after_ms: 1_000 } : null;
  const message = room.send("a");
  await clock.advance(60_000);
  assert.equal(message.state, "failed");
  assert.equal(message.error.reason, "storage_full");
});

test("stays under the rate the server told", async () => {
  const { clock, room, server } = await enter({ limits: { send_per_s: 2, send_burst: 3 } });
  for (let n = 0; n < 6; n += 1) room.send(n);
  await settle();
  assert.equal(server.log.length, 3);
  await clock.advance(500);
  assert.equal(server.log.length, 4);
  await clock.advance(1_000);
  assert.deepEqual(server.log.map(({ body }) => body), [0, 1, 2, 3, 4, 5]);
});

test("does not send what is too long for the server", async () => {
  const { room, server } = await enter({ limits: { body_bytes: 9 } });
  const message = room.send("안녕하세요");
  await settle();
  assert.equal(message.error.reason, "body_too_big");
  assert.equal(server.log.length, 0);
});

test("fails what could not be sent before its key is forgotten", async () => {
  const entered = await enter();
  FakeSocket.last.end(4200);
  const message = entered.room.send("a");
  await entered.clock.advance(4.5 * 60_000);
  assert.equal(message.state, "failed");
  assert.equal(message.error.reason, "not_sent_in_time");
});

test("a reply that never comes is asked for again with the same key", async () => {
  const { clock, room, server } = await enter();
  let lost = 1;
  const serve = FakeSocket.last.onframe;
  FakeSocket.last.onframe = (frame) => (frame.t === "send" && lost-- > 0 ? undefined : serve(frame));
  const message = room.send("a");
  await clock.advance(15_000);
  assert.equal(message.state, "sent");
  assert.equal(FakeSocket.last.of("send").length, 2);
  assert.equal(server.log.length, 1);
});
