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

/** Come back again and again, until the room is joined. @returns how often that was */
async function comeBack({ clock, server, room }, most) {
  for (let times = 0; times < most; times += 1) {
    if (room.state === "joined") return times;
    await clock.advance(20_000);
    if (FakeSocket.last !== server.socket) server.serve(FakeSocket.last);
    await settle();
  }
  throw new Error(`not joined after ${most} times, at offset ${room.offset}`);
}

test("a line that breaks every 20 kB carries a recovery of 300 kB, in pages", async () => {
  const entered = await enter();
  const { heard, room, server } = entered;
  server.say("first");
  server.cutAfterBytes = 20_000;
  const missed = Array.from({ length: 600 }, (_, n) => `${n} ${"가".repeat(400)}`);
  FakeSocket.last.end(1006);
  missed.forEach((body) => server.sayUnheard(body));
  const times = await comeBack(entered, 60);
  assert.ok(times > 10, `${times} connections`);
  assert.equal(room.offset, 601);
  assert.deepEqual(heard.map(([body]) => body), ["first", ...missed]);
  assert.ok(heard.slice(1).every(([, origin]) => origin === "recovered"));
});

test("a page of one message goes through where two are too much", async () => {
  const entered = await enter();
  const { room, server } = entered;
  server.say("first");
  server.cutAfterBytes = 1_500;
  FakeSocket.last.end(1006);
  for (let n = 0; n < 5; n += 1) server.sayUnheard("x".repeat(1_000));
  await comeBack(entered, 40);
  assert.equal(room.offset, 6);
});

test("what is no longer kept is told after pages, too", async () => {
  const entered = await enter({ keep: 20, wishes: { history: 2 } });
  const { room, server } = entered;
  const gaps = [];
  room.on("gap", (gap) => gaps.push(gap));
  server.say("first");
  server.cutAfterBytes = 2_000;
  FakeSocket.last.end(1006);
  for (let n = 0; n < 80; n += 1) server.sayUnheard(`${n} ${"x".repeat(200)}`);
  server.epoch = "e2";
  await comeBack(entered, 40);
  assert.deepEqual(gaps, [{ missing: null }]);
  assert.equal(room.epoch, "e2");
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

test("what got its place before the room began anew stands there, once", async () => {
  const entered = await enter();
  const { room, server, clock } = entered;
  server.say("a");
  server.answers = false;
  const message = room.send("mine");
  await reconnect(entered, () => {
    server.answers = true;
    server.sayUnheard("mine", "u1");
    Object.assign(server, { epoch: "e2", log: [] });
    server.sayUnheard("z");
    const first = { offset: 2, id: "e1-2", at: 5, epoch: "e1" };
    server.keys.set("key-1", first);
  });
  await clock.advance(1_000);
  assert.deepEqual(bodies(room), ["a", "mine", "z"]);
  assert.equal(message.state, "sent");
  assert.equal(room.offset, 1);
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

const older = (room) => room.loadOlder(2).then((messages) => messages.map(({ body }) => body));

test("reads back what was said before, page by page until there is no more", async () => {
  const { room, server, heard } = await enter({ past: [..."abcdef"], wishes: { history: 2 } });
  const told = [];
  room.on("older", ({ messages, more }) => told.push([messages.length, more]));
  assert.equal(room.hasOlder, true);
  assert.deepEqual(await older(room), ["c", "d"]);
  assert.deepEqual(bodies(room), [..."cdef"]);
  assert.deepEqual(await older(room), ["a", "b"]);
  assert.equal(room.hasOlder, false);
  assert.deepEqual(await older(room), []);
  assert.deepEqual(told, [[2, true], [2, false], [0, false]]);
  server.say("g");
  assert.deepEqual(bodies(room), [..."abcdefg"]);
  assert.deepEqual(heard, [["e", "history"], ["f", "history"], ["g", "live"]]);
  assert.equal(FakeSocket.last.of("history").length, 2);
});

test("reads back across epochs, and from a room in which nothing was said yet", async () => {
  const { room, server } = await enter({ wishes: { history: 0 } });
  const said = (epoch, ...all) =>
    all.map((body, index) => ({ ...past(server, body), offset: index + 1, id: `${epoch}-${index}` }));
  server.earlier = [
    { epoch: "x", log: said("x", "a", "b") },
    { epoch: "y", log: said("y", "c") },
  ];
  assert.deepEqual(await older(room), ["c"]);
  assert.deepEqual(await older(room), ["a", "b"]);
  server.say("d");
  assert.deepEqual(bodies(room), [..."abcd"]);
  assert.deepEqual(FakeSocket.last.of("history").map(({ before }) => before), [
    { epoch: "e1", offset: 1 },
    { epoch: "y", offset: 1 },
  ]);
});

test("asks once however often it is called, and tells a refusal to every caller", async () => {
  const { room, server } = await enter({ past: [..."abc"], wishes: { history: 1 } });
  server.refuse = ({ t }) =>
    t === "history" ? { code: 113, reason: "history_away", message: "", retry_after_ms: 1000 } : null;
  const refused = await Promise.allSettled([room.loadOlder(), room.loadOlder()]);
  assert.deepEqual(refused.map(({ reason }) => reason?.reason), ["history_away", "history_away"]);
  assert.equal(FakeSocket.last.of("history").length, 1);
  server.refuse = () => null;
  assert.deepEqual(await older(room), ["a", "b"]);
  assert.deepEqual(bodies(room), [..."abc"]);
});

test("keeps what was read back while new messages come, and asks again for what was dropped", async () => {
  const said = Array.from({ length: 1_010 }, (_, index) => `${index + 1}`);
  const { room, server } = await enter({ past: said, wishes: { history: 1_000 } });
  assert.equal((await room.loadOlder(10)).length, 10);
  assert.equal(room.messages.length, 1_010);
  assert.equal(room.hasOlder, false);
  server.say("1011");
  assert.equal(room.messages.length, 1_010);
  assert.equal(room.messages[0].body, "2");
  assert.equal(room.hasOlder, true);
  assert.deepEqual(await older(room), ["1"]);
  assert.deepEqual(bodies(room), [...said, "1011"]);
});

function subscribed(server, fields = {}) {
  server.socket.say({
    t: "joined", room: "news", epoch: "e1", offset: 0, recovered: false, messages: [], ...fields,
  });
}

test("is in a room without having asked, and hears what is said there", async () => {
  const { client, server } = await enter();
  const rooms = [];
  client.on("room", (room) => rooms.push(room));
  subscribed(server, { offset: 4 });
  subscribed(server, { offset: 4 });
  assert.deepEqual(rooms.map(({ name, state, offset }) => [name, state, offset]), [["news", "joined", 4]]);
  server.socket.say({ t: "message", room: "news", offset: 5, id: "n5", from: "u2", name: "u2", at: 5, body: "hot" });
  assert.deepEqual(bodies(client.room("news")), ["hot"]);
  assert.equal(FakeSocket.last.of("join").length, 1, "nothing was asked");
});

test("catches up in a room it is in without asking, and leaves no gap", async () => {
  const entered = await enter();
  const { client, server } = entered;
  await client.room("lobby").leave();
  server.sayUnheard("a");
  server.sayUnheard("b");
  subscribed(server, { room: "lobby", offset: 2 });
  await settle();
  assert.deepEqual(FakeSocket.last.of("join").at(-1).since, { epoch: "e1", offset: 0 });
  assert.deepEqual(entered.heard, [["a", "recovered"], ["b", "recovered"]]);
});

test("a room the server took us out of stays left, and says why", async () => {
  const entered = await enter();
  const { room, server } = entered;
  const removed = [];
  room.on("removed", (news) => removed.push(news));
  server.socket.say({ t: "left", room: "lobby", reason: "not_invited" });
  server.socket.say({ t: "left", room: "lobby", reason: "not_invited" });
  await settle();
  assert.equal(room.state, "left");
  assert.deepEqual(removed, [{ reason: "not_invited" }]);
  await reconnect(entered);
  assert.equal(FakeSocket.last.of("join").length, 0);
});

test("a full room refuses at once, and whoever was in it tries again after a break", async () => {
  const entered = await enter();
  const { clock, room, server } = entered;
  const full = { code: 115, reason: "room_full", message: "full", retry_after_ms: 5_000 };
  server.refuse = (frame) => (frame.t === "join" ? full : null);
  await assert.rejects(entered.client.join("other"), { reason: "room_full" });
  await reconnect(entered);
  assert.equal(room.state, "joining");
  server.refuse = () => null;
  await clock.advance(5_000);
  assert.equal(room.state, "joined");
});

test("asks who is online, and hears of those it watches, also after a break", async () => {
  const entered = await enter();
  const { client, server } = entered;
  const online = { u2: true, u3: false };
  server.media = (socket, { id, users }) =>
    socket.say({ t: "online", id, users: Object.fromEntries(users.map((user) => [user, online[user]])) });
  assert.deepEqual(await client.whoIsOnline(["u3"]), new Map([["u3", false]]));
  const heard = [];
  client.on("online", ({ user, online }) => heard.push([user, online]));
  await client.watchOnline(["u2", "u3"]);
  server.socket.say({ t: "online", users: { u3: true } });
  online.u2 = false;
  online.u3 = true;
  await reconnect(entered);
  assert.deepEqual(heard, [["u2", true], ["u3", false], ["u3", true], ["u2", false]]);
  assert.equal(FakeSocket.last.of("online").at(-1).watch, true);
  await client.watchOnline([]);
  assert.deepEqual(client.online, new Map());
});

test("a message that is removed loses its body where it stands", async () => {
  const { room, server } = await enter();
  server.say("a");
  server.say("b");
  const withdrawn = [];
  room.on("withdrawn", ({ message, note }) => withdrawn.push([message.offset, message.body, note]));
  const frame = { t: "removed", room: "lobby", epoch: "e1", offset: 1, id: "m1", note: "욕설" };
  server.socket.say(frame);
  server.socket.say(frame);
  server.socket.say({ ...frame, epoch: "e0", offset: 2 });
  assert.deepEqual(withdrawn, [[1, null, "욕설"]]);
  assert.deepEqual(room.messages.map(({ body, removed }) => [body, removed]), [[null, true], ["b", false]]);
});

test("what is muted is known, also by whom, and when it is over", async () => {
  const { room, server } = await enter();
  const told = [];
  room.on("muted", (news) => told.push(news));
  server.socket.say({ t: "muted", room: "lobby", what: ["text"], until: 9, by: "host", note: "도배" });
  assert.deepEqual(room.muted, ["text"]);
  server.socket.say({ t: "muted", room: "lobby", what: [] });
  assert.deepEqual(room.muted, []);
  assert.deepEqual(told[0], { what: ["text"], until: 9, by: "host", note: "도배" });
});

test("who is moved or kicked learns where to, by whom and for how long", async () => {
  const { room, server } = await enter();
  const removed = [];
  room.on("removed", (news) => removed.push(news));
  server.socket.say({ t: "left", room: "lobby", reason: "kicked", retry_after_ms: 60_000, by: "host", note: "쉬세요" });
  assert.deepEqual(removed, [{ reason: "kicked", by: "host", note: "쉬세요", retryAfterMs: 60_000 }]);
  assert.equal(room.state, "left");
});

test("what a space shows is asked for with the joining and told whole", async () => {
  const { client, server } = await enter({ wishes: { space: true } });
  assert.equal(FakeSocket.last.of("join")[0].space, true);
  const told = [];
  client.on("space", (news) => told.push(news));
  server.socket.say({ t: "space", space: "park", revision: 2, state: { weather: "비" } });
  assert.deepEqual(told, [{ space: "park", revision: 2, state: { weather: "비" } }]);
  assert.deepEqual(client.spaces.get("park"), { revision: 2, state: { weather: "비" } });
});

test("who is kept out for a month does not knock again at once", async () => {
  const entered = await enter();
  const { clock, room, server } = entered;
  const month = 30 * 86_400_000;
  const refused = { t: "error", code: 121, reason: "banned", message: "", retry_after_ms: month };
  server.refuse = (frame) => (frame.t === "join" ? refused : null);
  await reconnect(entered);
  const knocked = FakeSocket.last.of("join").length;
  await clock.advance(60_000);
  assert.equal(FakeSocket.last.of("join").length, knocked);
  assert.equal(room.state, "joining");
});
