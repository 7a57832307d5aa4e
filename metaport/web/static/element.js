/**
 * Build an element.
 *
 * @param {string} tag `div`, `div.class.class`
 * @param {Record<string, any>} [attributes] `on…` adds a listener; `true` an empty attribute;
 *   `false`, `null` and `undefined` none
 * @param {...(Node | string | null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length > 0) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Draw an icon of the sprite; beside words, so nothing for a screen reader. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Draw another icon in the place of one. */
export function redraw(svg, name) {
  const href = `/static/icons.svg#${name}`;
  const use = svg.querySelector("use");
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

const HUES = 6;

/** Draw the round sign of a person: the first letter of the name, on one of a few calm colours. */
export function avatar(name, id) {
  let sum = 0;
  for (const character of String(id)) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  const initial = [...name.trim()][0]?.toUpperCase() ?? "?";
  return element(`span.avatar.hue-${sum % HUES}`, { "aria-hidden": "true" }, initial);
}
