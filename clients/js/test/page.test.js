/** What of the pages (`metaport/web/static`) is plain arithmetic or words. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const WEB = new URL("../../../metaport/web/", import.meta.url);
const STATIC = new URL("static/", WEB);
const { rounded, shifted, sumOf } = await import(new URL("decimal.js", STATIC));
const { spotlightSizes, tileSize } = await import(new URL("grid.js", STATIC));
const words = { ko: await wordsOf("ko"), en: await wordsOf("en") };

/** The page imports the SDK's words from where they are served. */
async function wordsOf(code) {
  const source = readFileSync(new URL(`i18n/${code}.js`, STATIC), "utf8");
  const served = source.replace('"/sdk/', `"${new URL("../src/", import.meta.url)}`);
  return (await import(`data:text/javascript,${encodeURIComponent(served)}`)).default;
}

function keysOf(branch, path = "") {
  return Object.entries(branch).flatMap(([key, value]) =>
    typeof value === "string" ? [`${path}${key}`] : keysOf(value, `${path}${key}.`),
  );
}

function blanksOf(branch) {
  const texts = keysOf(branch).map((key) => [key, valueOf(branch, key)]);
  return texts.map(([key, text]) => [key, [...text.matchAll(/\{\w+\}/g)].map(String).sort()]);
}

function valueOf(branch, key) {
  if (typeof branch === "string" || branch === undefined) return branch;
  if (key in branch) return branch[key];
  const [first, ...rest] = key.split(".");
  return valueOf(branch[first], rest.join("."));
}

test("both languages have the same words with the same blanks", () => {
  assert.deepEqual(blanksOf(words.ko).sort(), blanksOf(words.en).sort());
});

test("every word a page names exists", () => {
  const pages = ["index.html", "console.html"].map((name) => readFileSync(new URL(name, WEB), "utf8"));
  const scripts = readdirSync(STATIC)
    .filter((name) => name.endsWith(".js"))
    .map((name) => readFileSync(new URL(name, STATIC), "utf8"));
  const named = [
    ...pages.join().matchAll(/data-(?:text|label|placeholder)="([\w.-]+)"/g),
    ...scripts.join().matchAll(/language\.say\("([\w.]+)"/g),
  ].map(([, key]) => key);
  assert.ok(named.length > 100);
  assert.deepEqual(named.filter((key) => typeof valueOf(words.ko, key) !== "string"), []);
});

test("pages hold no inline script or style", () => {
  for (const name of ["index.html", "console.html"]) {
    const page = readFileSync(new URL(name, WEB), "utf8");
    assert.doesNotMatch(page, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
  }
});

test("amounts are added exactly", () => {
  assert.equal(sumOf(["0.1", "0.2"]), "0.3");
  assert.equal(sumOf(["9007199254740993", "1"]), "9007199254740994");
  assert.equal(sumOf(["12.34", "-0.34", "1"]), "13.00");
  assert.equal(sumOf([]), "0");
  assert.throws(() => sumOf(["1e3"]), TypeError);
});

test("the decimal point moves without a remainder", () => {
  assert.equal(shifted("1839201938821", -9), "1839.201938821");
  assert.equal(shifted("5", -9), "0.000000005");
  assert.equal(shifted("0.00000009", 9), "90");
  assert.equal(shifted("0", 9), "0");
  assert.equal(shifted("100", -2), "1");
});

test("figures are rounded half up", () => {
  assert.equal(rounded("0.0145", 3), "0.015");
  assert.equal(rounded("0.0144999", 3), "0.014");
  assert.equal(rounded("1.9996", 3), "2");
  assert.equal(rounded("90", 3), "90");
});

for (const [width, height] of [
  [930, 560],
  [366, 620],
  [288, 300],
]) {
  test(`tiles fill a frame of ${width}×${height} without leaving it`, () => {
    for (let count = 1; count <= 16; count += 1) {
      const size = tileSize(count, width, height, 8);
      const columns = Math.floor((width + 8) / (size.width + 8));
      const rows = Math.ceil(count / columns);
      assert.ok(rows * size.height + (rows - 1) * 8 <= height, `${count} tiles are too high`);
      const ratio = size.width / size.height;
      assert.ok(ratio > 0.9 && ratio < 1.82, `${count} tiles are ${ratio} times as wide as high`);
    }
  });
}

test("a shared screen leaves a strip for the people", () => {
  const { screen, person } = spotlightSizes(1, 6, 930, 560, 12);
  assert.ok(screen.height + 12 + person.height <= 560);
  assert.ok(6 * person.width + 5 * 12 <= 930);
  assert.ok(screen.height > 3 * person.height);
});
