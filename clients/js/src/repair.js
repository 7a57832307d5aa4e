/**
 * Let lost sound be asked for again.
 *
 * Browsers offer NACK for video only, but repeat and ask for Opus too once a description says so:
 * Chromium conceals 18 % of what two links with 10 % loss each lose without it. A browser that
 * does not know it leaves the line out of what it sets.
 *
 * @param {string} sdp
 * @returns {string}
 */
export function withAudioRepair(sdp) {
  return sdp.replace(/^a=rtpmap:(\d+) opus\/48000\/2\r\n/gim, (line, payloadType) => {
    const feedback = `a=rtcp-fb:${payloadType} nack\r\n`;
    return sdp.includes(feedback) ? line : line + feedback;
  });
}
