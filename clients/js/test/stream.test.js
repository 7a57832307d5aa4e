import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../src/connection.js";
import { StreamSocket } from "../src/stream_socket.js";
import { FakeSocket, FakeStorage, fakeEnvironment, settle, welcome } from "./fakes.js";

/** A server of streams: what was opened and posted, and what to answer. */
class FakeStreams {
  opened = [];
  posts = [];
  /** Answers to the next requests; `undefined` is 204. */
  answers = [];
  /** The answer to the next openings; `null` is a stream. */
  refusal = null;

  fetch = (url, { method = "GET", body, signal } = {}) => {
    if (method === "POST") return this.#post(url, body);
    this.opened.push(url);
    if (this.refusal) return Promise.resolve(this.refusal);
    const response = new Response(
      new ReadableStream({ start: (controller) => (this.controller = controller) }),
    );
    signal?.addEventListener("abort", () => this.end());
    this.write(`:${" ".repeat(2047)}\n\nevent: open\ndata: {"stream": "s-${this.opened.length}"}\n\n`);
    return Promise.resolve(response);
  };

  write(text) {
    this.controller.enqueue(new TextEncoder().encode(text));
  }

  say(frame) {
    this.write(`data: ${JSON.stringify(frame)}\n\n`);
  }

  end() {
    try {
      this.controller.close();
    } catch {
      // It has ended already.
    }
  }

  frames() {
    return this.posts.flatMap(({ body }) => body.split("\n")).map((line) => JSON.parse(line));
  }

  #post(url, body) {
    this.posts.push({ url, body });
    const answer = this.answers.shift();
    if (answer === "lost") return Promise.reject(new TypeError("network"));
    return Promise.resolve(answer ?? new Response(null, { status: 204 }));
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function turns() {
  for (let count = 0; count < 10; count += 1) await turn();
}

async function opened() {
  const streams = new FakeStreams();
  const { clock, environment } = fakeEnvironment({ fetch: streams.fetch });
  const socket = new StreamSocket("http://server/sse", environment);
  const heard = [];
  const ends = [];
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data));
  socket.onclose = (end) => ends.push(end);
  await turns();
  return { streams, clock, socket, heard, ends };
}

test("frames come as events, whole, wherever the bytes are cut", async () => {
  const { streams, heard } = await opened();
  const bytes = new TextEncoder().encode('data: {"t":"message","body":"안녕"}\n\n:\n\ndata: {"t":"pong"}\n\n');
  for (const byte of bytes) streams.controller.enqueue(Uint8Array.of(byte));
  await turns();
  assert.deepEqual(heard, [{ t: "message", body: "안녕" }, { t: "pong" }]);
});

test("frames go up in order, one request at a time, those that waited together", async () => {
  const { streams, socket } = await opened();
  for (const n of [1, 2, 3]) socket.send(JSON.stringify({ n }));
  await turns();
  assert.deepEqual(streams.posts.map(({ url }) => url), ["http://server/sse/s-1?n=1", "http://server/sse/s-1?n=2"]);
  assert.deepEqual(streams.frames(), [{ n: 1 }, { n: 2 }, { n: 3 }]);
});

test("a request whose answer got lost is sent again with its number", async () => {
  const { streams, clock, socket, ends } = await opened();
  streams.answers = ["lost", new Response(null, { status: 503, headers: { "Retry-After": "2" } })];
  socket.send('{"n":1}');
  await turns();
  await clock.advance(500);
  await turns();
  await clock.advance(1_999);
  assert.equal(streams.posts.length, 2);
  await clock.advance(1);
  await turns();
  assert.deepEqual(streams.posts.map(({ url }) => url.slice(-3)), ["n=1", "n=1", "n=1"]);
  assert.deepEqual(ends, []);
});

test("a stream that is not there any more ends as a broken socket does", async () => {
  const { streams, socket, ends } = await opened();
  streams.answers = [new Response(null, { status: 404 })];
  socket.send('{"n":1}');
  await turns();
  assert.deepEqual(ends, [{ code: 1006, reason: "" }]);
});

test("what cannot be sent for half a minute ends the stream", async () => {
  const { streams, clock, socket, ends } = await opened();
  streams.answers = Array(100).fill("lost");
  socket.send('{"n":1}');
  for (let second = 0; second < 60; second += 1) {
    await turns();
    await clock.advance(1_000);
  }
  assert.equal(ends.length, 1);
  assert.ok(streams.posts.length < 20);
});

test("a heartbeat is answered, though not when something was just sent", async () => {
  const { streams, clock, socket } = await opened();
  socket.send('{"n":1}');
  await turns();
  await clock.advance(9_000);
  streams.write(":\n\n");
  await turns();
  assert.equal(streams.posts.length, 1);
  await clock.advance(20_000);
  streams.write(":\n\n");
  await turns();
  assert.deepEqual(streams.frames(), [{ n: 1 }, { t: "ping" }]);
});

test("the last event tells code and reason, and an end without one is 1006", async () => {
  for (const [last, expected] of [
    ['event: close\ndata: {"code": 4000, "reason": "draining"}\n\n', { code: 4000, reason: "draining" }],
    ["", { code: 1006, reason: "" }],
  ]) {
    const { streams, ends } = await opened();
    streams.write(last);
    streams.end();
    await turns();
    assert.deepEqual(ends, [expected]);
  }
});

function connecting(overrides = {}) {
  const streams = new FakeStreams();
  const { clock, environment } = fakeEnvironment({ fetch: streams.fetch, session: new FakeStorage(), ...overrides });
  const connection = new Connection({ url: "wss://server/ws", token: "secret", environment });
  connection.connect().catch(() => {});
  return { streams, clock, connection, environment };
}

async function onStream() {
  const started = connecting();
  await settle();
  FakeSocket.last.end(1006);
  await turns();
  started.streams.say(welcome());
  await turns();
  return started;
}

test("a WebSocket that breaks before a word is followed by a stream at once", async () => {
  const { streams, connection } = await onStream();
  assert.deepEqual(streams.opened, ["https://server/sse"]);
  assert.deepEqual(streams.frames(), [{ t: "hello", token: "secret", v: 1 }]);
  assert.equal(connection.state, "connected");
  assert.equal(connection.carrier, "stream");
  const join = connection.request({ t: "join", room: "a" });
  await turns();
  streams.say({ t: "joined", id: streams.frames().at(-1).id, room: "a" });
  assert.equal((await join).room, "a");
});

test("so is one that opens and stays silent", async () => {
  const { streams, clock, connection } = connecting();
  await settle();
  FakeSocket.last.accept();
  await clock.advance(8_000);
  await turns();
  assert.equal(streams.opened.length, 1);
  streams.say(welcome());
  await turns();
  assert.equal(connection.state, "connected");
});

test("what worked is remembered for the tab, until the network changes", async () => {
  const { streams, clock, connection, environment } = await onStream();
  streams.end();
  await turns();
  await clock.advance(1_000);
  await turns();
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(streams.opened.length, 2);
  const sockets = FakeSocket.all.length;
  const again = new Connection({ url: "wss://server/ws", token: "secret", environment });
  again.connect().catch(() => {});
  await turns();
  assert.equal(FakeSocket.all.length, sockets, "a reload does not try WebSocket again");
  streams.say(welcome());
  await turns();
  again.networkChanged();
  streams.end();
  await turns();
  await clock.advance(2_000);
  assert.equal(FakeSocket.all.length, sockets + 1);
  connection.close();
});

test("a server that is away, full or draining is not taken for a network that breaks WebSocket", async () => {
  const away = connecting();
  away.streams.fetch = () => Promise.reject(new TypeError("refused"));
  await settle();
  const full = connecting();
  full.streams.refusal = new Response("{}", { status: 503, headers: { "Retry-After": "5" } });
  await settle();
  FakeSocket.last.end(1006);
  await turns();
  assert.equal(full.streams.opened.length, 1);
  assert.equal(full.connection.state, "waiting");
  assert.equal(full.connection.retryAtMs - full.clock.nowMs, 5_250);
  full.streams.refusal = null;
  await full.clock.advance(5_250);
  assert.equal(FakeSocket.all.length, 2, "WebSocket comes first again");
  FakeSocket.last.accept();
  FakeSocket.last.say(welcome());
  assert.equal(full.connection.carrier, "websocket");
});

test("where WebSocket has worked an outage is waited out before streams are tried", async () => {
  const { streams, clock } = connecting();
  await settle();
  FakeSocket.last.accept();
  FakeSocket.last.say(welcome());
  for (let failure = 0; failure < 3; failure += 1) {
    FakeSocket.last.end(1006);
    await turns();
    assert.equal(streams.opened.length, 0);
    await clock.advance(1_000);
  }
  FakeSocket.last.end(1006);
  await turns();
  assert.equal(streams.opened.length, 1);
});
