const GAP_PX = 12;
const WIDEST = 16 / 9;
// In an upright frame a squarer tile wastes less room than it cuts off.
const NARROWEST = { upright: 1, lying: 4 / 3 };
const STRIP_SHARE = 0.22;

/**
 * Work out the size of equal tiles that fill a frame best.
 *
 * @param {number} count
 * @param {number} width of the frame, in pixels
 * @param {number} height
 * @param {number} [gap]
 * @returns {{width: number, height: number}}
 */
export function tileSize(count, width, height, gap = GAP_PX) {
  const narrowest = height > width ? NARROWEST.upright : NARROWEST.lying;
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const room = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    const fitted = fit(room, narrowest);
    if (fitted.width * fitted.height > best.width * best.height) best = fitted;
  }
  return { width: Math.floor(best.width), height: Math.floor(best.height) };
}

/**
 * Work out the sizes with a shared screen: it gets most of the frame, the people a strip below.
 *
 * @param {number} screens
 * @param {number} people
 * @param {number} width
 * @param {number} height
 * @param {number} [gap]
 */
export function spotlightSizes(screens, people, width, height, gap = GAP_PX) {
  const strip = Math.max(72, Math.round(height * STRIP_SHARE));
  const personWidth = Math.min((width - gap * (people - 1)) / people, strip * WIDEST);
  const person = { width: Math.floor(personWidth), height: Math.floor(Math.min(strip, personWidth / WIDEST)) };
  const room = { width: (width - gap * (screens - 1)) / screens, height: height - person.height - gap };
  return { screen: { width: Math.floor(room.width), height: Math.floor(room.height) }, person };
}

function fit(room, narrowest) {
  const height = Math.min(room.height, room.width / narrowest);
  return { width: Math.min(room.width, height * WIDEST), height };
}
