import { Emitter } from "/sdk/index.js";

import en from "./i18n/en.js";
import ko from "./i18n/ko.js";

const WORDS = { ko, en };
const STORED = "metaport.language";

/** Where a page's own markup holds words: attribute of the element, and what it fills. */
const PLACES = {
  "data-text": (element, text) => (element.textContent = text),
  "data-label": (element, text) => element.setAttribute("aria-label", text),
  "data-placeholder": (element, text) => element.setAttribute("placeholder", text),
  "data-hint": (element, text) => element.setAttribute("title", text),
};

/** The language of the page. Event: `changed`. */
class Language extends Emitter {
  constructor() {
    super();
    this.code = chosen();
  }

  /** Say what a key stands for, with its blanks filled in; a key without words stands for itself. */
  say(key, blanks = {}) {
    const text = descend(WORDS[this.code], key);
    if (typeof text !== "string") return key.split(".").at(-1);
    return text.replace(/\{(\w+)\}/g, (whole, name) => blanks[name] ?? whole);
  }

  /** Say whether there are words for a key. */
  knows(key) {
    return typeof descend(WORDS[this.code], key) === "string";
  }

  /** Explain an error by its reason. */
  explain(error) {
    const key = `reasons.${error?.reason}`;
    return this.knows(key) ? this.say(key) : this.say("unknown");
  }

  choose(code) {
    if (!(code in WORDS) || code === this.code) return;
    this.code = code;
    remember(code);
    this.apply(document);
    this.emit("changed", code);
  }

  /** Put the words into markup that names them. */
  apply(root) {
    if (root === document) document.documentElement.lang = this.code;
    for (const [attribute, put] of Object.entries(PLACES)) {
      for (const element of root.querySelectorAll(`[${attribute}]`)) {
        put(element, this.say(element.getAttribute(attribute)));
      }
    }
  }

  number(value) {
    return new Intl.NumberFormat(this.code).format(value);
  }

  /** Format a moment. */
  time(ms, options = { hour: "2-digit", minute: "2-digit" }) {
    return new Intl.DateTimeFormat(this.code, options).format(ms);
  }

  /** Format an amount, a decimal string: digits are grouped, never rounded. */
  money(amount, currency) {
    const grouped = groupDigits(amount);
    const known = this.knows(`money.${currency}`);
    return this.say(known ? `money.${currency}` : "money.other", { amount: grouped, currency });
  }
}

/** Group the digits of a decimal string by thousands. */
export function groupDigits(decimal) {
  const [whole, fraction] = String(decimal).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Follow a dotted key down; the last part may hold dots itself (`meters.chat.messages_sent`). */
function descend(words, key) {
  if (words === undefined || typeof words === "string") return undefined;
  if (key in words) return words[key];
  const dot = key.indexOf(".");
  return dot < 0 ? undefined : descend(words[key.slice(0, dot)], key.slice(dot + 1));
}

function chosen() {
  const asked = new URLSearchParams(location.search).get("lang") ?? remembered();
  if (asked in WORDS) return asked;
  return navigator.language?.toLowerCase().startsWith("ko") || !navigator.language ? "ko" : "en";
}

function remembered() {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}

function remember(code) {
  try {
    localStorage.setItem(STORED, code);
  } catch {
    // Forgotten at the next visit, where a browser refuses storage.
  }
}

export const language = new Language();

/** Let a button switch to the other language. */
export function languageSwitch(button) {
  const show = () => {
    button.querySelector("span").textContent = language.say("language.other");
    button.lang = language.say("language.otherCode");
    button.setAttribute("aria-label", language.say("language.choose"));
  };
  button.addEventListener("click", () => language.choose(language.say("language.otherCode")));
  language.on("changed", show);
  show();
}
