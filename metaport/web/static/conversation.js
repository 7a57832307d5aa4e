import { Earlier } from "./earlier.js";
import { avatar, element, icon } from "./element.js";
import { language } from "./language.js";

// Within this time the same person's messages stand together under one name.
const TOGETHER_MS = 3 * 60_000;
const AT_BOTTOM_PX = 80;
// The room keeps a thousand; notes and days stand between them.
const KEPT = 1_500;

/** The messages of a room as they are read: in order, by day, with the fate of one's own. */
export class Conversation {
  /** @param {import("/sdk/room.js").Room} room */
  constructor(room) {
    this.#room = room;
    this.#log = document.getElementById("log");
    this.#list = document.getElementById("messages");
    this.#newer = document.getElementById("newer");
    this.unread = 0;
    /** Called when `unread` changes. */
    this.onUnread = () => {};
    // The past is not read aloud; what comes from now on is.
    this.#log.setAttribute("aria-live", "off");
    room.on("message", ({ message, origin }) => this.#arrived(message, origin));
    room.on("outgoing", (message) => this.#show(message, true));
    room.on("merged", ({ duplicate }) => this.#forget(duplicate));
    room.on("discarded", (message) => this.#forget(message));
    room.on("withdrawn", ({ message }) => this.#redraw(message));
    room.on("gap", ({ missing }) => this.#gap(missing));
    room.on("older", ({ messages }) => this.#older(messages));
    room.on("state", (state) => state === "joined" && this.#live());
    this.#newer.addEventListener("click", () => this.#toBottom());
    this.#log.addEventListener("scroll", () => this.#atBottom() && (this.#newer.hidden = true), { passive: true });
    language.on("changed", () => this.#relabel());
    new ResizeObserver(() => this.#followed && this.#toBottom()).observe(this.#log);
    // After the line above: whoever is at the end when the log appears is not near its top.
    this.#earlier = new Earlier(room);
  }

  #room;
  #log;
  #list;
  #newer;
  #earlier;
  /** @type {Map<any, HTMLElement>} */
  #items = new Map();
  #days = new Map();
  /** Whether the reader is at the end, and should stay there. */
  #followed = true;

  /** Everything has been seen. */
  read() {
    this.unread = 0;
    this.onUnread(0);
  }

  /** Note that someone came or went. */
  note(key, name) {
    this.#append(element("li.event", { "data-key": key, "data-name": name }, language.say(key, { name })));
  }

  #live() {
    setTimeout(() => this.#log.removeAttribute("aria-live"), 500);
  }

  /** Put older messages on top; what is being read stays where it is. */
  #older(messages) {
    if (messages.length > 0) this.#begun();
    this.#log.setAttribute("aria-live", "off");
    const { scrollHeight, scrollTop } = this.#log;
    for (const message of [...messages].reverse()) this.#precede(message);
    this.#earlier.draw();
    if (this.#followed) this.#toBottom();
    else this.#log.scrollTop = this.#log.scrollHeight - (scrollHeight - scrollTop);
    this.#live();
  }

  /** Put the item of a message on top, below the mark of its day. */
  #precede(message) {
    const item = element("li.message");
    this.#items.set(message, item);
    this.#draw(item, message);
    const mark = this.#list.querySelector(".day");
    const sameDay = mark && new Date(Number(mark.dataset.at)).toDateString() === new Date(message.at).toDateString();
    this.#list.insertBefore(item, sameDay ? mark.nextSibling : this.#list.firstChild);
    this.#day(item, message);
    const { messages } = this.#room;
    const next = messages[messages.indexOf(message) + 1];
    if (this.#items.has(next)) this.#group(this.#items.get(next), next, message);
  }

  #arrived(message, origin) {
    this.#show(message, message.own);
    if (origin === "live" && !message.own) {
      this.unread += 1;
      this.onUnread(this.unread);
    }
  }

  #show(message, own) {
    const following = this.#atBottom();
    const item = this.#items.get(message) ?? element("li.message");
    const fresh = !item.isConnected;
    this.#items.set(message, item);
    this.#draw(item, message);
    this.#put(item, message);
    this.#begun();
    if (following || (own && fresh)) this.#toBottom();
    else if (fresh && !own) this.#newer.hidden = false;
    this.#trim();
  }

  /** Put an item before that of the next message, after whatever stands above it. */
  #put(item, message) {
    const { messages } = this.#room;
    const index = messages.indexOf(message);
    const next = this.#items.get(messages[index + 1]);
    if (!item.isConnected || (next && !precedes(item, next))) {
      this.#list.insertBefore(item, next ?? null);
    }
    this.#day(item, message);
    this.#group(item, message, messages[index - 1]);
    if (next) this.#group(next, messages[index + 1], message);
  }

  #day(item, message) {
    const day = new Date(message.at).toDateString();
    if (this.#days.has(day)) return;
    const mark = element("li.day", { "data-at": message.at }, dayName(message.at));
    this.#days.set(day, mark);
    this.#list.insertBefore(mark, item);
  }

  #group(item, message, previous) {
    const together =
      previous &&
      previous.from === message.from &&
      message.at - previous.at < TOGETHER_MS &&
      this.#items.get(previous) === item.previousElementSibling;
    item.classList.toggle("follows", Boolean(together));
  }

  #draw(item, message) {
    item.classList.toggle("own", message.own);
    item.dataset.state = message.state;
    if (message.offset !== null) item.dataset.offset = message.offset;
    const main = element(
      "div.message-main",
      {},
      element("span.message-from", {}, message.own ? language.say("chat.me") : message.name),
      element("div.message-line", {}, element("p.bubble.text", { dir: "auto" }, textOf(message)), stateOf(message)),
    );
    if (message.state === "failed") main.append(this.#failure(message));
    item.replaceChildren(avatar(message.name, message.from), main);
  }

  #redraw(message) {
    const item = this.#items.get(message);
    if (item) this.#draw(item, message);
  }

  #failure(message) {
    const button = (key, act) =>
      element("button.button.text", { type: "button", onclick: act }, language.say(key));
    return element(
      "div.message-failure",
      {},
      element("p", {}, icon("alert"), language.explain(message.error)),
      element(
        "div.message-actions",
        {},
        button("chat.retry", () => this.#room.retry(message)),
        button("chat.discard", () => this.#room.discard(message)),
      ),
    );
  }

  #forget(message) {
    const item = this.#items.get(message);
    const focused = item?.contains(document.activeElement);
    item?.remove();
    this.#items.delete(message);
    if (focused) document.getElementById("body").focus();
  }

  #gap(missing) {
    const key = missing === null ? "chat.gapUnknown" : "chat.gap";
    const n = missing ?? "";
    this.#append(element("li.event.gap", { "data-key": key, "data-n": n }, language.say(key, { n })));
  }

  #append(item) {
    this.#begun();
    const following = this.#atBottom();
    // Above what is still on its way.
    const pending = this.#room.messages.find(({ offset }) => offset === null);
    this.#list.insertBefore(item, this.#items.get(pending) ?? null);
    if (following) this.#toBottom();
  }

  #begun() {
    document.getElementById("log-empty").hidden = true;
  }

  #trim() {
    if (this.#list.childElementCount <= KEPT) return;
    const kept = new Set(this.#room.messages);
    for (const [message, item] of this.#items) {
      if (kept.has(message)) continue;
      item.remove();
      this.#items.delete(message);
    }
  }

  #atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.#followed = scrollHeight - scrollTop - clientHeight < AT_BOTTOM_PX;
    return this.#followed;
  }

  #toBottom() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newer.hidden = true;
    this.#followed = true;
  }

  #relabel() {
    for (const [message, item] of this.#items) this.#draw(item, message);
    for (const mark of this.#days.values()) mark.textContent = dayName(Number(mark.dataset.at));
    for (const item of this.#list.querySelectorAll(".event")) {
      item.textContent = language.say(item.dataset.key, { name: item.dataset.name, n: item.dataset.n });
    }
  }
}

function precedes(item, other) {
  return Boolean(item.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
}

function stateOf(message) {
  if (message.state === "sending") {
    return element("span.message-state", {}, icon("clock"), language.say("message.sending"));
  }
  if (message.state === "failed") return element("span.visually-hidden", {}, language.say("message.failed"));
  return element("time.message-time", { datetime: new Date(message.at).toISOString() }, language.time(message.at));
}

function textOf({ body, removed }) {
  if (removed) return language.say("chat.withdrawn");
  return typeof body === "string" ? body : JSON.stringify(body);
}

function dayName(ms) {
  return language.time(ms, { year: "numeric", month: "long", day: "numeric", weekday: "long" });
}
