import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../src/connection.js";
import { MetaportError } from "../src/errors.js";
import { FakeSocket, fakeEnvironment, settle, welcome } from "./fakes.js";

function start(token = "secret") {
  const { clock, environment } = fakeEnvironment();
  const connection = new Connection({ url: "ws://server/ws", token, environment });
  const states = [];
  connection.on("state", ({ state }) => states.push(state));
  return { clock, connection, states };
}

async function connected(token) {
  const started = start(token);
  const connecting = started.connection.connect();
  await settle();
  FakeSocket.last.accept();
  FakeSocket.last.say(welcome());
  await connecting;
  return started;
}

test("says hello with the token and is connected at the welcome", async () => {
  const { connection, states } = await connected();
  assert.deepEqual(FakeSocket.last.sent, [{ t: "hello", token: "secret", v: 1 }]);
  assert.equal(FakeSocket.last.protocol, "metaport.v1.json");
  assert.deepEqual(states, ["connecting", "connected"]);
  assert.equal(connection.user.id, "u1");
});

test("gives each reply to its request, whatever the order", async () => {
  const { connection } = await connected();
  const first = connection.request({ t: "join", room: "a" });
  const second = connection.request({ t: "join", room: "b" });
  const [{ id: one }, { id: two }] = FakeSocket.last.of("join");
  FakeSocket.last.say({ t: "joined", id: two, room: "b" });
  FakeSocket.last.say({ t: "error", id: one, code: 201, reason: "forbidden", message: "no" });
  assert.equal((await second).room, "b");
  await assert.rejects(first, (error) => error.reason === "forbidden" && error.code === 201);
});

test("does not mistake a message, whose id is a string, for a reply", async () => {
  const { connection } = await connected();
  const frames = [];
  connection.on("frame", (frame) => frames.push(frame));
  connection.request({ t: "join", room: "a" });
  const [{ id }] = FakeSocket.last.of("join");
  FakeSocket.last.say({ t: "message", id: String(id), room: "a", offset: 1 });
  assert.equal(frames.length, 1);
});

test("fails what waits for a reply when the connection breaks", async () => {
  const { connection } = await connected();
  const request = connection.request({ t: "join", room: "a" });
  FakeSocket.last.end(1006);
  await assert.rejects(request, { reason: "disconnected" });
  await assert.rejects(connection.request({ t: "join" }), { reason: "disconnected" });
});

test("comes back with growing delays", async () => {
  const { clock, states } = await connected();
  FakeSocket.last.end(1006);
  const waits = [];
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const count = FakeSocket.all.length;
    const since = clock.nowMs;
    while (FakeSocket.all.length === count) await clock.advance(5);
    waits.push(clock.nowMs - since);
    FakeSocket.last.end(1006);
  }
  const eager = Array(14).fill(600);
  assert.deepEqual(waits, [190, 375, ...eager, 1200, 2400, 4800, 7500]);
  assert.equal(states.at(-1), "waiting");
});

test("starts from short delays again after a connection that lasted", async () => {
  const { clock } = await connected();
  for (const lastedMs of [6_000, 6_000]) {
    await clock.advance(lastedMs);
    FakeSocket.last.end(1006);
    await clock.advance(188);
    FakeSocket.last.accept();
    FakeSocket.last.say(welcome());
  }
  assert.equal(FakeSocket.all.length, 3);
});

for (const [code, waitMs] of [
  [4000, 250],
  [4099, 250],
  [4100, 5_250],
]) {
  test(`comes back ${waitMs} ms after a close with ${code}`, async () => {
    const { clock, connection } = await connected();
    FakeSocket.last.end(code);
    assert.equal(connection.retryAtMs - clock.nowMs, waitMs);
    await clock.advance(waitMs);
    assert.equal(FakeSocket.all.length, 2);
  });
}

test("waits as long as the error before the close tells", async () => {
  const { clock, connection } = await connected();
  FakeSocket.last.say({ t: "error", code: 130, reason: "too_busy", message: "", retry_after_ms: 9_000 });
  FakeSocket.last.end(4120);
  assert.equal(connection.retryAtMs - clock.nowMs, 9_250);
});

test("stays away when told to", async () => {
  const { clock, connection } = await connected();
  const ends = [];
  connection.on("state", (change) => ends.push(change));
  FakeSocket.last.say({ t: "error", code: 240, reason: "banned", message: "" });
  FakeSocket.last.end(4240);
  await clock.advance(3_600_000);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(ends.at(-1).error.reason, "banned");
});

test("renews a refused token once", async () => {
  const asked = [];
  const { clock, connection } = start((fresh) => asked.push(fresh) && "token");
  connection.connect().catch(() => {});
  await settle();
  for (let attempt = 0; attempt < 2; attempt += 1) {
    FakeSocket.last.accept();
    FakeSocket.last.say({ t: "error", code: 101, reason: "token_expired", message: "" });
    FakeSocket.last.end(4201);
    await clock.advance(1_000);
  }
  assert.deepEqual(asked, [false, true]);
  assert.equal(connection.state, "closed");
});

/** Connected with a token of so many seconds, from a source that tells how often it was asked. */
async function connectedFor(expiresIn, source = async (fresh, n) => `token-${n}`) {
  let n = 0;
  const started = start((fresh) => source(fresh, ++n));
  started.connection.connect();
  await settle();
  FakeSocket.last.accept();
  FakeSocket.last.say({ ...welcome(), expires_in: expiresIn });
  FakeSocket.last.onframe = (frame) => frame.t === "ping" && FakeSocket.last.say({ t: "pong" });
  return started;
}

test("renews its token a minute or so before the end, and goes on", async () => {
  const asked = [];
  const { clock, connection } = await connectedFor(3_600, async (fresh, n) => asked.push(fresh) && `token-${n}`);
  await clock.advance(3_509_000);
  assert.deepEqual(FakeSocket.last.of("refresh"), []);
  await clock.advance(2_000);
  const [{ id, token }] = FakeSocket.last.of("refresh");
  assert.equal(token, "token-2");
  assert.deepEqual(asked, [false, true]);
  FakeSocket.last.say({ t: "refreshed", id, expires_in: 60 });
  await clock.advance(30_000);
  assert.equal(FakeSocket.last.of("refresh").length, 2);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(connection.state, "connected");
});

test("asks again for a new token while there is time, and not when it is refused", async () => {
  const { clock } = await connectedFor(180, async (fresh, n) => {
    if (n === 2) throw new Error("offline");
    return `token-${n}`;
  });
  await clock.advance(90_000);
  assert.equal(FakeSocket.last.of("refresh").length, 0);
  await clock.advance(10_000);
  const [{ id, token }] = FakeSocket.last.of("refresh");
  assert.equal(token, "token-3");
  FakeSocket.last.say({ t: "error", id, code: 112, reason: "token_refused", message: "" });
  await clock.advance(300_000);
  assert.equal(FakeSocket.last.of("refresh").length, 1);
});

test("a source that gives the same token again is not asked in a loop", async () => {
  const { clock } = await connectedFor(3);
  FakeSocket.last.onframe = ({ t, id }) => FakeSocket.last.say(t === "refresh" ? { t: "refreshed", id, expires_in: 0 } : { t: "pong" });
  await clock.advance(60_000);
  assert.equal(FakeSocket.last.of("refresh").length, 12);
});

test("a token for months is not renewed at once", async () => {
  const { clock } = await connectedFor(90 * 86_400);
  await clock.advance(86_400_000 * 2);
  assert.equal(FakeSocket.last.of("refresh").length, 0);
});

test("renews nothing on a connection that is gone, nor with a token of text", async () => {
  const { clock } = await connectedFor(600, async () => "token");
  const [socket] = FakeSocket.all;
  socket.end(4000);
  await clock.advance(600_000);
  assert.deepEqual(FakeSocket.all.flatMap((each) => each.of("refresh")), []);
  const fixed = start("text");
  fixed.connection.connect();
  await settle();
  FakeSocket.last.accept();
  FakeSocket.last.say({ ...welcome(), expires_in: 100 });
  FakeSocket.last.onframe = (frame) => frame.t === "ping" && FakeSocket.last.say({ t: "pong" });
  await fixed.clock.advance(200_000);
  assert.deepEqual(FakeSocket.last.of("refresh"), []);
});

test("tries again when the token cannot be fetched, and gives up when it is refused", async () => {
  const errors = [new Error("offline"), new MetaportError("sign_in_failed", "", { permanent: true })];
  const { clock, connection } = start(() => Promise.reject(errors.shift()));
  const connecting = connection.connect();
  connecting.catch(() => {});
  await clock.advance(1_000);
  await assert.rejects(connecting, { reason: "sign_in_failed" });
});

test("asks for a sign of life after silence, and gives the connection up without one", async () => {
  const { clock, connection } = await connected();
  const socket = FakeSocket.last;
  await clock.advance(25_000);
  assert.equal(socket.of("ping").length, 1);
  socket.say({ t: "pong" });
  await clock.advance(30_000);
  assert.equal(connection.state, "connected");
  await clock.advance(5_000);
  assert.equal(socket.closedWith, 4000);
  assert.equal(connection.state, "waiting");
});

test("does not take its own frozen timers for a silent server", async () => {
  const { clock, connection } = await connected();
  connection.probe();
  await clock.freeze(600_000);
  assert.equal(FakeSocket.last.of("ping").length, 2);
  assert.equal(connection.state, "connected");
});

test("does not wait out the delay when something suggests to try now", async () => {
  const { connection } = await connected();
  FakeSocket.last.end(1006);
  connection.probe();
  await settle();
  assert.equal(FakeSocket.all.length, 2);
});

test("gives up a handshake that is never answered", async () => {
  const { clock, connection } = start();
  connection.connect().catch(() => {});
  await clock.advance(8_000);
  assert.equal(FakeSocket.all[0].closedWith, 4000);
  assert.equal(connection.state, "waiting");
});

test("ignores what an abandoned socket still says", async () => {
  const { clock, connection } = await connected();
  const [old] = FakeSocket.all;
  old.end(1006);
  await clock.advance(300);
  old.say(welcome());
  assert.equal(connection.state, "connecting");
});

test("a request without a reply times out and the connection is probed", async () => {
  const { clock, connection } = await connected();
  const request = connection.request({ t: "join", room: "a" }, 1_000);
  request.catch(() => {});
  await clock.advance(1_000);
  await assert.rejects(request, { reason: "timeout" });
  assert.equal(FakeSocket.last.of("ping").length, 1);
});

test("close is final until connect", async () => {
  const { clock, connection } = await connected();
  connection.close();
  await clock.advance(60_000);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(FakeSocket.last.closedWith, 1000);
  connection.connect();
  await settle();
  assert.equal(FakeSocket.all.length, 2);
});

for (const [name, jumpMs] of [["back", -3_600_000], ["forward", 3_600_000]]) {
  test(`a clock that is set ${name} hides no silence and ends no connection`, async () => {
    const { clock, connection } = await connected();
    clock.offMs = jumpMs;
    await clock.advance(25_000);
    assert.equal(FakeSocket.last.of("ping").length, 1);
    FakeSocket.last.say({ t: "pong" });
    await clock.advance(30_000);
    assert.equal(connection.state, "connected");
    await clock.advance(5_000);
    assert.equal(connection.state, "waiting");
  });

  test(`a clock that is set ${name} does not let a token run out`, async () => {
    const { clock } = await connectedFor(3_600);
    clock.offMs = jumpMs;
    await clock.advance(3_511_000);
    assert.equal(FakeSocket.last.of("refresh").length, 1);
  });
}

test("a token that ran out in an outage is renewed before it is shown", async () => {
  const asked = [];
  const { clock, connection } = await connectedFor(600, async (fresh, n) => asked.push(fresh) && `token-${n}`);
  FakeSocket.last.end(1006);
  // The server is away for 20 minutes.
  for (let second = 0; second < 1_200; second += 1) {
    if (FakeSocket.last.readyState === 0) FakeSocket.last.end(1006);
    await clock.advance(1_000);
  }
  const attempts = FakeSocket.all.length;
  assert.ok(attempts > 100 && attempts < 250, `${attempts} attempts in 20 minutes`);
  while (FakeSocket.last.readyState !== 0) await clock.advance(100);
  FakeSocket.last.accept();
  FakeSocket.last.say({ t: "error", code: 154, reason: "token_expired", message: "" });
  FakeSocket.last.end(4203);
  await clock.advance(1_000);
  FakeSocket.last.accept();
  assert.equal(asked.at(-1), true);
  FakeSocket.last.say(welcome());
  assert.equal(connection.state, "connected");
});

test("who is signed out everywhere asks for one new token and then stays away", async () => {
  const asked = [];
  const { clock, connection } = await connectedFor(3_600, async (fresh) => {
    asked.push(fresh);
    if (fresh) throw new MetaportError("sign_in_failed", "", { permanent: true });
    return "token";
  });
  FakeSocket.last.say({ t: "error", code: 158, reason: "token_revoked", message: "" });
  FakeSocket.last.end(4205);
  await clock.advance(600_000);
  assert.equal(connection.state, "closed");
  assert.deepEqual(asked, [false, true]);
});

test("a token whose key is not known yet is shown again after the delay", async () => {
  const { clock, connection } = start();
  connection.connect();
  await settle();
  FakeSocket.last.accept();
  FakeSocket.last.say({ t: "error", code: 159, reason: "token_undecided", message: "", retry_after_ms: 3_000 });
  FakeSocket.last.end(4102);
  await clock.advance(3_250);
  assert.equal(FakeSocket.all.length, 2);
});

test("a hidden tab, whose timers run once a minute, stays connected for hours", async () => {
  const { clock, environment } = fakeEnvironment();
  const minuteMs = 60_000;
  environment.setTimeout = (callback, delayMs) => {
    const dueMs = Math.ceil((clock.elapsed() + delayMs) / minuteMs) * minuteMs;
    return clock.setTimeout(callback, dueMs - clock.elapsed());
  };
  const connection = new Connection({ url: "ws://server/ws", token: "secret", environment });
  const connecting = connection.connect();
  await settle();
  const socket = FakeSocket.last;
  socket.onframe = ({ t }) => t === "ping" && socket.say({ t: "pong" });
  socket.accept();
  socket.say(welcome());
  await connecting;
  await clock.advance(180 * minuteMs);
  assert.equal(connection.state, "connected");
  assert.equal(FakeSocket.all.length, 1);
  assert.ok(socket.of("ping").length >= 60, "it looked whether the server is there");
  socket.onframe = null;
  await clock.advance(6 * minuteMs);
  assert.notEqual(FakeSocket.all.length, 1, "and notices a silent one");
});
