import assert from "node:assert/strict";
import { test } from "node:test";

import en from "../src/i18n/en.js";
import ko from "../src/i18n/ko.js";

function keysOf(words, path = "") {
  return Object.entries(words).flatMap(([key, value]) =>
    typeof value === "string" ? [`${path}${key}`] : keysOf(value, `${path}${key}/`),
  );
}

test("both languages have the same words", () => {
  assert.deepEqual(keysOf(ko).sort(), keysOf(en).sort());
});
