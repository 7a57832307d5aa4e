/** Arithmetic on decimal strings, exact: amounts never pass through a binary fraction. */

/**
 * Add decimal strings.
 *
 * @param {string[]} decimals
 * @returns {string}
 */
export function sumOf(decimals) {
  const places = Math.max(0, ...decimals.map((each) => split(each).fraction.length));
  return write(decimals.reduce((total, each) => total + scaled(each, places), 0n), places);
}

/**
 * Move the decimal point: to the right for a positive number of places.
 *
 * @param {string} decimal
 * @param {number} places
 * @returns {string} without trailing zeros
 */
export function shifted(decimal, places) {
  const { fraction } = split(decimal);
  const digits = scaled(decimal, fraction.length);
  const left = fraction.length - places;
  const text = left > 0 ? write(digits, left) : write(digits * 10n ** BigInt(-left), 0);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/**
 * Round half up.
 *
 * @param {string} decimal not negative
 * @param {number} places kept at most
 * @returns {string} without trailing zeros
 */
export function rounded(decimal, places) {
  const { fraction } = split(decimal);
  if (fraction.length <= places) return shifted(decimal, 0);
  const step = 10n ** BigInt(fraction.length - places);
  const digits = (scaled(decimal, fraction.length) + step / 2n) / step;
  return shifted(write(digits, places), 0);
}

function scaled(decimal, places) {
  const { sign, whole, fraction } = split(decimal);
  return BigInt(`${sign}${whole}${fraction.padEnd(places, "0")}`);
}

function split(decimal) {
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(decimal) ?? [];
  if (whole === undefined) throw new TypeError(`not a decimal: ${decimal}`);
  return { sign, whole, fraction };
}

function write(digits, places) {
  const sign = digits < 0n ? "-" : "";
  const text = (digits < 0n ? -digits : digits).toString().padStart(places + 1, "0");
  if (places === 0) return sign + text;
  return `${sign}${text.slice(0, -places)}.${text.slice(-places)}`;
}
