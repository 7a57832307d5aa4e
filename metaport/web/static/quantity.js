import { language } from "./language.js";

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Write a quantity of a meter for people: seconds as hours and minutes, bytes with a fitting unit. */
export function quantityOf(meter, quantity, unit) {
  if (meter.includes("_seconds")) return durationOf(quantity);
  if (meter.endsWith("_bytes")) return sizeOf(quantity);
  const words = language.knows(`units.${unit}`) ? language.say(`units.${unit}`) : unit;
  return [language.number(quantity), words].filter(Boolean).join(language.code === "ko" ? "" : " ");
}

/** Write seconds as the two largest units that are not zero. */
export function durationOf(seconds) {
  const parts = { d: 86_400, h: 3_600, m: 60, s: 1 };
  let rest = Math.floor(seconds);
  const words = [];
  for (const [unit, size] of Object.entries(parts)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) words.push(language.say(`console.duration.${unit}`, { n: language.number(n) }));
  }
  return words.slice(0, 2).join("").trim() || language.say("console.duration.s", { n: 0 });
}

function sizeOf(bytes) {
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  const digits = power === 0 ? 0 : 1;
  const number = new Intl.NumberFormat(language.code, { maximumFractionDigits: digits }).format(value);
  return `${number} ${BYTE_UNITS[power]}`;
}
