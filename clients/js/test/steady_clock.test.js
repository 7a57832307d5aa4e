import assert from "node:assert/strict";
import { test } from "node:test";

import { steadyClock } from "../src/steady_clock.js";

test("durations are those of whichever clock went further, and never negative", () => {
  let wallMs = 1_000_000;
  let pageMs = 50;
  const elapsed = steadyClock(() => wallMs, () => pageMs);
  const after = (wall, page) => {
    wallMs += wall;
    pageMs += page;
    return elapsed();
  };
  assert.equal(after(100, 100), 100);
  // The clock is set back an hour.
  assert.equal(after(-3_600_000, 100), 200);
  // The machine slept, and the page's clock with it.
  assert.equal(after(60_000, 0), 60_200);
  assert.equal(after(0, 0), 60_200);
  assert.equal(after(-10, 0), 60_200);
});
