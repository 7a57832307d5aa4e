import { rounded, shifted, sumOf } from "./decimal.js";
import { element } from "./element.js";
import { groupDigits, language } from "./language.js";
import { showProblem } from "./problem.js";
import { quantityOf } from "./quantity.js";

const SERVICES = ["chat", "voice", "video", "media"];
// Bytes are counted one by one and shown by the gigabyte: price and quantity move by nine places.
const GIGABYTE_PLACES = 9;
const SHOWN_PLACES = 3;
const MONTHS_BACK = 24;

/** The month's usage with unit price, amount, VAT and total. */
export class UsageReport {
  /** @param {(path: string) => Promise<Response>} ask @param {string} zone in which months begin */
  constructor(ask, zone) {
    this.#ask = ask;
    this.#zone = zone;
    this.#select = document.getElementById("month");
    this.#table = document.querySelector(".report-table");
    this.#problem = document.getElementById("report-problem");
    this.#fillMonths();
    this.#select.addEventListener("change", () => this.show(this.#select.value));
    document.getElementById("previous").addEventListener("click", () => this.#step(1));
    document.getElementById("next").addEventListener("click", () => this.#step(-1));
    document.getElementById("print").addEventListener("click", () => window.print());
    for (const form of ["csv", "json"]) {
      document.getElementById(`download-${form}`).addEventListener("click", () => this.#download(form));
    }
    language.on("changed", () => {
      this.#fillMonths();
      this.#draw();
    });
  }

  #ask;
  #zone;
  #select;
  #table;
  #problem;
  #report = null;
  #asked = "";

  /** Show a month, `2026-11`; without one, that of today. */
  async show(month = this.#select.value) {
    this.#asked = month;
    this.#select.value = month;
    this.#table.classList.add("stale");
    this.#drawSteps();
    try {
      const response = await this.#ask(`/api/v1/usage/report?month=${month}`);
      const report = await response.json();
      // Overtaken by another choice.
      if (month !== this.#asked) return;
      this.#report = report;
      showProblem(this.#problem, null);
      this.#draw();
    } catch (error) {
      if (month === this.#asked) showProblem(this.#problem, error);
    } finally {
      if (month === this.#asked) this.#table.classList.remove("stale");
    }
  }

  #step(by) {
    const option = this.#select.options[this.#select.selectedIndex + by];
    if (option) this.show(option.value);
  }

  #drawSteps() {
    const { selectedIndex, options } = this.#select;
    document.getElementById("next").disabled = selectedIndex === 0;
    document.getElementById("previous").disabled = selectedIndex === options.length - 1;
  }

  #fillMonths() {
    const chosen = this.#select.value;
    const [year, month] = monthOf(Date.now(), this.#zone).split("-").map(Number);
    const options = Array.from({ length: MONTHS_BACK }, (_, back) => {
      const count = year * 12 + month - 1 - back;
      return element("option", { value: `${Math.floor(count / 12)}-${String((count % 12) + 1).padStart(2, "0")}` });
    });
    for (const option of options) option.textContent = monthName(option.value);
    this.#select.replaceChildren(...options);
    if (chosen) this.#select.value = chosen;
  }

  async #download(form) {
    try {
      const path = `/api/v1/usage/report?month=${this.#asked}&format=${form}&lang=${language.code}`;
      const blob = await (await this.#ask(path)).blob();
      const link = element("a", { href: URL.createObjectURL(blob), download: `usage-${this.#asked}.${form}` });
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      showProblem(this.#problem, error);
    }
  }

  #draw() {
    const report = this.#report;
    if (!report) return;
    const { currency, zone } = report;
    const caption = language.say("console.caption", { month: monthName(report.month) });
    document.getElementById("report-caption").textContent = caption;
    const complete = document.getElementById("complete");
    complete.textContent = language.say(report.complete ? "console.complete" : "console.running");
    complete.classList.toggle("complete", report.complete);
    document.getElementById("period").textContent = periodOf(report.as_of, zone);
    const money = (amount) => language.money(amount, currency);
    const sums = ["subtotal", "vat", "total"];
    document.getElementById("report-totals").replaceChildren(
      ...sums.map((sum) =>
        element("p", {}, element("span", {}, language.say(`console.${sum}`)), element("strong", {}, money(report[sum]))),
      ),
    );
    for (const body of this.#table.querySelectorAll("tbody, tfoot")) body.remove();
    this.#table.append(...bodiesOf(report.lines, money), footOf(sums, report, money));
  }
}

function bodiesOf(lines, money) {
  if (lines.length === 0) {
    return [element("tbody", {}, element("tr", {}, element("td", { colspan: 5 }, language.say("console.noUsage"))))];
  }
  const bodies = [];
  const groups = SERVICES.map((service) => [
    service,
    lines.filter(({ kind, meter }) => !kind && meter.startsWith(`${service}.`)),
  ]);
  groups.push(["adjustments", lines.filter(({ kind }) => kind)]);
  for (const [service, own] of groups) {
    if (own.length === 0) continue;
    const amount = money(sumOf(own.map((line) => line.amount)));
    const head = element(
      "tr.service",
      {},
      element("th", { scope: "rowgroup", colspan: 4 }, language.say(`services.${service}`)),
      element("td.figure", {}, amount),
    );
    bodies.push(element("tbody", {}, head, ...own.map((line) => rowOf(line, money))));
  }
  return bodies;
}

function rowOf(line, money) {
  const { meter, unit } = line;
  const bytes = unit === "byte";
  const counted = String(line.rated_quantity ?? line.quantity);
  const quantity = bytes ? rounded(shifted(counted, -GIGABYTE_PLACES), SHOWN_PLACES) : counted;
  const price = bytes ? shifted(line.unit_price, GIGABYTE_PLACES) : line.unit_price;
  const head = element(
    "th",
    { scope: "row" },
    ...(line.kind ? [line[`title_${language.code}`]] : titlesOf(meter)),
  );
  const cell = (key, ...children) => element("td.figure", { "data-head": language.say(`console.${key}`) }, ...children);
  return element(
    "tr.meter",
    {},
    head,
    cell("quantity", element("span", {}, groupDigits(quantity)), plainly(line)),
    element("td", { "data-head": language.say("console.unit") }, language.say(`counted.${bytes ? "gigabyte" : unit}`)),
    cell("unitPrice", money(price)),
    cell("amount", money(line.amount)),
  );
}

function titlesOf(meter) {
  const note = element("span.meter-note", {}, language.say(`meterNotes.${meter}`));
  return [language.say(`meters.${meter}`), note];
}

/** Say the quantity once more: seconds as hours and minutes, gigabytes to the byte. */
function plainly({ meter, unit, quantity }) {
  if (unit === "byte" && quantity > 0) {
    return element("span.plainly", {}, language.say("counted.exactly", { n: groupDigits(String(quantity)) }));
  }
  if (unit !== "second" || quantity < 60) return null;
  return element("span.plainly", {}, quantityOf(meter, quantity, unit));
}

function footOf(sums, report, money) {
  const rows = sums.map((sum) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", colspan: 4 }, language.say(`console.${sum}`)),
      element("td.figure", {}, money(report[sum])),
    ),
  );
  return element("tfoot", {}, ...rows);
}

function periodOf(asOf, zone) {
  if (!asOf) return language.say("console.notMeasured");
  const time = language.time(new Date(asOf), { dateStyle: "medium", timeStyle: "short", timeZone: zone });
  return language.say("console.period", { zone, time });
}

function monthName(month) {
  const [year, number] = month.split("-");
  return language.say("console.monthName", { year, month: Number(number) });
}

/** Name the month of a moment in a zone: at 15:00 UTC on its last day, Korea is in the next. */
export function monthOf(ms, zone) {
  const parts = new Intl.DateTimeFormat("en", { year: "numeric", month: "2-digit", timeZone: zone }).formatToParts(ms);
  const part = (type) => parts.find((each) => each.type === type).value;
  return `${part("year")}-${part("month")}`;
}
