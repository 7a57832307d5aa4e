/** What both ways to the server have in common, WebSocket and stream of events. */

export const WIRE_VERSION = 1;
export const SUBPROTOCOL = "metaport.v1.json";
/** A sign of life, asked for or not. */
export const PING = JSON.stringify({ t: "ping" });

/** Close codes from 4000 on are the server's own; this one says that the connection just broke. */
export const BROKEN = 1006;
/** Come back after the delay told. */
export const LATER = 4100;

/** The digits a close reason carries where no `error` frame could: `refused 3000`. @param {string} reason */
export function delayIn(reason) {
  const digits = /\d+/.exec(reason);
  return digits ? Number(digits[0]) : undefined;
}
