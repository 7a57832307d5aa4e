/**
 * Make a clock for durations: it never goes back, and goes on while the machine sleeps.
 *
 * The page's own clock may stop in sleep, the wall clock may be set. So each step is the longer of
 * what the two say, and never less than nothing: a wall clock set forward is taken for sleep.
 *
 * @param {() => number} wall milliseconds since the Unix epoch
 * @param {() => number} page milliseconds since some moment, `performance.now`
 * @returns {() => number} milliseconds since it was made
 */
export function steadyClock(wall, page) {
  let elapsedMs = 0;
  let wallMs = wall();
  let pageMs = page();
  return () => {
    const nowWallMs = wall();
    const nowPageMs = page();
    elapsedMs += Math.max(0, nowWallMs - wallMs, nowPageMs - pageMs);
    wallMs = nowWallMs;
    pageMs = nowPageMs;
    return elapsedMs;
  };
}
