import { Account, Metaport } from "/sdk/index.js";

import { Composer } from "./composer.js";
import { ConnectionBanner } from "./connection_banner.js";
import { Conversation } from "./conversation.js";
import { DeviceDialog } from "./device_dialog.js";
import { Dock } from "./dock.js";
import { Entrance } from "./entrance.js";
import { language, languageSwitch } from "./language.js";
import { MembersDialog } from "./members_dialog.js";
import { Stage } from "./stage.js";
import { Typing } from "./typing.js";
import { VisitCost } from "./visit_cost.js";

const HISTORY = 50;
const GUEST = "metaport.guest";
const REMOVED = "metaport.removed";
const RETRY_MS = 2_000;

const asked = new URLSearchParams(location.search);
const wants = (name) => ["1", "true", "yes"].includes(asked.get(name) ?? "");

/** What the server offers here. Without an answer the page goes by what it usually is. */
const config = fetch("/api/v1/config")
  .then((response) => (response.ok ? response.json() : {}))
  .catch(() => ({}));

language.apply(document);
languageSwitch(document.getElementById("language"));
const devices = new DeviceDialog();
const banner = new ConnectionBanner();
const entrance = new Entrance(enter);
for (const id of ["entrance-devices", "dock-devices"]) {
  document.getElementById(id).addEventListener("click", () => devices.open());
}
show("entrance");
tellRemoval();
start();

async function start() {
  const guest = remembered();
  entrance.fill({
    name: asked.get("name") ?? guest?.user.name,
    room: asked.get("room"),
    microphone: wants("microphone"),
    camera: wants("camera"),
  });
  const { guests = true, demo = true } = await config;
  document.getElementById("promise-cost").hidden = !demo;
  if (!guests) entrance.refuseGuests();
  else if (wants("join")) enterByItself();
}

/** A kiosk has nobody to press the button again. */
async function enterByItself() {
  for (;;) {
    await entrance.submit();
    if (document.body.dataset.view === "room" || entrance.wishes().name === "") return;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function enter({ name, room: roomName, microphone, camera }) {
  const account = await signIn(name);
  const client = new Metaport({ account });
  window.metaport = client;
  const room = client.room(roomName);
  const conversation = new Conversation(room);
  try {
    await client.join(roomName, { history: HISTORY, state: true });
  } catch (error) {
    await client.close();
    throw error;
  }
  furnish(client, room, conversation);
  show("room");
  document.getElementById("place-heading").focus();
  await takePart(client, room, { microphone, camera });
}

/** Back to the entrance, which says why. */
async function leaveBecause(client, reason) {
  try {
    sessionStorage.setItem(REMOVED, reason);
  } catch {
    // Then it is not said.
  }
  await depart(client);
}

/** What the page before this one left to be told. */
function tellRemoval() {
  try {
    const reason = sessionStorage.getItem(REMOVED);
    sessionStorage.removeItem(REMOVED);
    if (reason) entrance.tell({ reason });
  } catch {
    // Nothing was left.
  }
}

function furnish(client, room, conversation) {
  room.on("removed", ({ reason }) => leaveBecause(client, reason));
  const composer = new Composer(room, () => client.connection.limits);
  new Typing(room, () => client.user?.id);
  new Stage(client, room);
  new MembersDialog(room, () => client.user?.id);
  banner.follow(client, room.media);
  devices.media = room.media;
  if (client.account) config.then(({ demo = true, zone }) => demo && new VisitCost(client.account, zone));
  noteComings(client, room, conversation);
  switchViews(conversation, composer);
  document.getElementById("where").hidden = false;
  document.getElementById("where-name").textContent = room.name;
  document.getElementById("place-heading").textContent = room.name;
  const leave = document.getElementById("leave");
  leave.hidden = false;
  leave.addEventListener("click", () => depart(client));
  title(room.name, 0);
  language.on("changed", () => title(room.name, conversation.unread));
}

async function takePart(client, room, { microphone, camera }) {
  const dock = new Dock(client, room);
  if (wants("media") || microphone || camera) await dock.attempt(() => room.media.join());
  if (microphone) await dock.attempt(() => dock.switchOn("microphone"));
  if (camera) await dock.attempt(() => dock.switchOn("camera"));
  if (camera) look("people");
}

async function depart(client) {
  forget();
  await client.close();
  const address = new URL(location.href);
  address.searchParams.delete("join");
  location.replace(address);
}

/** Be the guest one was before a reload; otherwise a new one. */
async function signIn(name) {
  const account = new Account(location.origin);
  const guest = remembered();
  if (guest?.user.name === name) await account.resume(guest).catch(() => {});
  if (!account.user) await account.enterAsGuest(name);
  try {
    sessionStorage.setItem(GUEST, JSON.stringify(account.remembered));
  } catch {
    // A browser that refuses storage makes a new guest at each reload.
  }
  return account;
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(GUEST) ?? "null");
  } catch {
    return null;
  }
}

function forget() {
  try {
    sessionStorage.removeItem(GUEST);
  } catch {
    // Nothing was remembered.
  }
}

function noteComings(client, room, conversation) {
  let before = new Map(room.members);
  room.on("members", (members) => {
    // After a break the list is as it is now; who came and went meanwhile is old news.
    if (room.state === "joined" && client.state === "connected") {
      for (const [user, { name }] of members) {
        if (!before.has(user) && user !== client.user?.id) conversation.note("chat.joined", name);
      }
      for (const [user, { name }] of before) if (!members.has(user)) conversation.note("chat.left", name);
    }
    before = new Map(members);
  });
}

/** On a narrow screen people and chat take turns; on a wide one both are there. */
function switchViews(conversation, composer) {
  const count = document.getElementById("view-chat-count");
  const narrow = matchMedia("(max-width: 899px)");
  const seen = () =>
    document.visibilityState === "visible" && (!narrow.matches || document.getElementById("place").dataset.view === "chat");
  conversation.onUnread = (unread) => {
    if (unread > 0 && seen()) return conversation.read();
    count.hidden = unread === 0;
    count.textContent = unread > 99 ? "99+" : unread;
    count.setAttribute("aria-label", language.say("room.unread", { n: unread }));
    title(document.getElementById("place-heading").textContent, unread);
  };
  for (const view of ["people", "chat"]) {
    document.getElementById(`view-${view}`).addEventListener("click", () => {
      look(view);
      if (view === "chat") conversation.read();
    });
  }
  document.addEventListener("visibilitychange", () => seen() && conversation.read());
  if (!narrow.matches) composer.focus();
}

function look(view) {
  document.getElementById("place").dataset.view = view;
  for (const each of ["people", "chat"]) {
    document.getElementById(`view-${each}`).setAttribute("aria-pressed", String(each === view));
  }
}

function show(view) {
  document.body.dataset.view = view;
  document.getElementById("entrance").hidden = view !== "entrance";
  document.getElementById("place").hidden = view !== "room";
  if (view === "entrance") document.title = language.say("title.entrance");
}

function title(room, unread) {
  document.title = (unread > 0 ? `(${unread}) ` : "") + language.say("title.room", { room });
}
