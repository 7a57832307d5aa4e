import { closable } from "./dialogs.js";
import { element } from "./element.js";
import { language } from "./language.js";
import { quantityOf } from "./quantity.js";

// Figures are at most 10 s behind; asking more often shows nothing new.
const EVERY_MS = 10_000;

/** What this visit has cost so far: a figure in the header, the lines in a dialog. */
export class VisitCost {
  /** @param {import("/sdk/index.js").Account} account @param {string} [zone] of the statement */
  constructor(account, zone) {
    this.#account = account;
    this.#zone = zone;
    this.#button = document.getElementById("cost-open");
    const dialog = document.getElementById("cost");
    closable(dialog);
    this.#button.addEventListener("click", () => dialog.showModal());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#ask());
    language.on("changed", () => this.#draw());
    this.#ask();
  }

  #account;
  #zone;
  #button;
  #visit = null;
  #timer = null;

  async #ask() {
    clearTimeout(this.#timer);
    try {
      const response = await this.#account.fetch("/api/v1/usage/visit");
      if (response.ok) {
        this.#visit = await response.json();
        this.#draw();
      }
    } catch {
      // The connection banner says what is wrong; the figure stays as it was.
    }
    if (document.visibilityState === "visible") this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
  }

  #draw() {
    if (!this.#visit) return;
    const { currency, amount, lines, as_of: asOf } = this.#visit;
    const total = language.money(amount, currency);
    this.#button.hidden = false;
    this.#button.setAttribute("aria-label", language.say("cost.chipLabel", { amount: total }));
    document.getElementById("cost-chip").textContent = total;
    document.getElementById("cost-total").textContent = total;
    const rows = lines.map((line) => rowOf(line, currency));
    const none = element("tr", {}, element("td", { colspan: 3 }, language.say("cost.none")));
    document.getElementById("cost-lines").replaceChildren(...(rows.length > 0 ? rows : [none]));
    document.getElementById("cost-as-of").textContent = asOf ? this.#asOf(asOf) : "";
  }

  #asOf(asOf) {
    const time = language.time(new Date(asOf), { timeStyle: "medium", timeZone: this.#zone });
    return language.say("cost.asOf", { time });
  }
}

function rowOf({ meter, quantity, unit, amount }, currency) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, language.say(`meters.${meter}`)),
    element("td.figure", {}, quantityOf(meter, quantity, unit)),
    element("td.figure", {}, language.money(amount, currency)),
  );
}
