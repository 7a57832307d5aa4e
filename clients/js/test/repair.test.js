import assert from "node:assert/strict";
import { test } from "node:test";

import { withAudioRepair } from "../src/repair.js";

const OPUS = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\n";

test("lost Opus may be asked for again", () => {
  assert.equal(
    withAudioRepair(OPUS),
    OPUS.replace("a=mid", "a=rtcp-fb:111 nack\r\na=mid"),
  );
});

test("a description that says so already stays as it is", () => {
  assert.equal(withAudioRepair(withAudioRepair(OPUS)), withAudioRepair(OPUS));
});

test("video and other codecs stay as they are", () => {
  const video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n";
  assert.equal(withAudioRepair(video), video);
});
