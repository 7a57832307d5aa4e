"""Chromium publishes by WHIP and restarts ICE by PATCH (RFC 9725 section 4.3.2): nobody notices."""

import asyncio
from pathlib import Path

from loadtest.launch import running
from tests.system.browser import launched
from tests.system.chat import guest
from tests.system.deadline import until
from tests.system.peer import Peer, Received

# Longer than the distance of two pictures, shorter than anybody would call a break.
GAP_S = 0.5

PUBLISH = """
async ([whip, token]) => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
  const peer = window.peer = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  for (const track of stream.getTracks()) peer.addTransceiver(track, {direction: 'sendonly'});
  await peer.setLocalDescription();
  const answer = await fetch(whip, {
    method: 'POST', body: peer.localDescription.sdp,
    headers: {Authorization: `Bearer ${token}`, 'Content-Type': 'application/sdp'}});
  window.session = answer.headers.get('Location');
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  return answer.status;
}
"""

RESTART = """
async (token) => {
  const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))[0].trim();
  peer.restartIce();
  await peer.setLocalDescription();
  const {sdp} = peer.localDescription;
  const fragment = [line(sdp, 'ice-ufrag'), line(sdp, 'ice-pwd'), 'm=audio 9 RTP/AVP 0',
    'a=mid:0', ''].join('\\r\\n');
  const answer = await fetch(session, {
    method: 'PATCH', body: fragment,
    headers: {Authorization: `Bearer ${token}`, 'If-Match': '*',
      'Content-Type': 'application/trickle-ice-sdpfrag'}});
  const theirs = await answer.text();
  const before = peer.remoteDescription.sdp;
  let after = before;
  for (const name of ['ice-ufrag', 'ice-pwd']) {
    after = after.replaceAll(line(before, name), line(theirs, name));
  }
  await peer.setRemoteDescription({type: 'answer', sdp: after});
  return [answer.status, line(before, 'ice-ufrag') !== line(theirs, 'ice-ufrag')];
}
"""

CONNECTED = """
async () => {
  let response = 0;
  for (const report of (await peer.getStats()).values()) {
    if (report.type === 'candidate-pair' && report.nominated) response = report.responsesReceived;
  }
  return [peer.connectionState, response, /a=ice-ufrag:(\\S+)/.exec(peer.remoteDescription.sdp)[1]];
}
"""


async def speak(folder: Path) -> str:
    """Restart ICE three times while a player decodes; say the longest gap between pictures."""
    async with running(folder / "data") as server, launched() as browser:
        publisher, viewer = await guest(server.url, "publisher"), await guest(server.url, "viewer")
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{server.url}/healthz")
        async with Peer(server.url, viewer.token) as player:
            assert (
                await page.evaluate(PUBLISH, [f"{server.url}/whip/plaza", publisher.token]) == 201
            )
            await player.subscribe(f"/whep/plaza?from={publisher.user}", "audio", "video")
            [video] = [r for r in player.received if r.kind == "video"]
            await until(lambda: video.frames > 10, 30, lambda: f"pictures: {video}")
            longest = 0.0
            for _ in range(3):
                restarting = asyncio.create_task(page.evaluate(RESTART, publisher.token))
                longest = max(longest, await _longest_gap(video, 3.0))
                assert await restarting == [200, True]
                assert (await page.evaluate(CONNECTED))[0] == "connected"
            assert longest < GAP_S, longest
            await player.close()
        await context.close()
    return f"three restarts by PATCH, at most {longest * 1000:.0f} ms between two pictures"


async def _longest_gap(video: Received, seconds: float) -> float:
    """Watch for some seconds; return the longest time without a new picture."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    frames, at, longest = video.frames, loop.time(), 0.0
    while loop.time() < end:
        await asyncio.sleep(0.005)
        if video.frames != frames:
            frames, at = video.frames, loop.time()
        longest = max(longest, loop.time() - at)
    return longest
