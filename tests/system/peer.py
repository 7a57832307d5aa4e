"""A second kind of media client: aiortc by WHIP and WHEP."""

import array
import asyncio
import fractions
import math
import time
from dataclasses import dataclass, field

import aiohttp
import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960  # 20 ms, what Opus is sent in
VIDEO_FPS = 10


class PeerRefusedError(Exception):
    """WHIP or WHEP answered with a problem."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Tone(MediaStreamTrack):
    """A tone at half the full scale."""

    kind = "audio"

    def __init__(self, frequency_hz: float = 440.0) -> None:
        super().__init__()
        step = 2 * math.pi * frequency_hz / SAMPLE_RATE
        # 440 Hz fits 22 times into 50 ms: one second of samples is a whole number of periods.
        self._second = array.array(
            "h", (int(16_000 * math.sin(step * n)) for n in range(SAMPLE_RATE))
        ).tobytes()
        self._began: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next 20 ms at their time."""
        self._began = self._began or time.monotonic()
        await asyncio.sleep(self._began + self._sent / SAMPLE_RATE - time.monotonic())
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        at = (self._sent % SAMPLE_RATE) * 2
        frame.planes[0].update(self._second[at : at + FRAME_SAMPLES * 2])
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._sent += FRAME_SAMPLES
        return frame


class Picture(MediaStreamTrack):
    """A grey that changes with every frame."""

    kind = "video"

    def __init__(self, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self._width = width
        self._height = height
        self._began: float | None = None
        self._sent = 0

    async def recv(self) -> av.VideoFrame:
        """Return the next picture at its time."""
        self._began = self._began or time.monotonic()
        await asyncio.sleep(self._began + self._sent / VIDEO_FPS - time.monotonic())
        frame = av.VideoFrame(self._width, self._height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([self._sent * 5 % 256]) * plane.buffer_size)
        frame.pts = self._sent * 90_000 // VIDEO_FPS
        frame.time_base = fractions.Fraction(1, 90_000)
        self._sent += 1
        return frame


@dataclass
class Received:
    """What came through one received track, decoded."""

    kind: str
    frames: int = 0
    first_at: float | None = None
    energy: float = 0.0  # sum of squared samples in full-scale units, per frame averaged
    sizes: set[tuple[int, int]] = field(default_factory=set)


class Peer:
    """One WHIP or WHEP session."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.location: str | None = None
        self.etag: str | None = None
        self.links: list[str] = []
        self.connected_at: float | None = None
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
        # Otherwise aiortc leaves a second m-line of a kind on a transport that it throws away.
        bundle = RTCBundlePolicy.MAX_BUNDLE
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=bundle))
        self._listen_tasks: list[asyncio.Task[None]] = []  # each ends with its track

    async def publish(self, path: str, *tracks: MediaStreamTrack) -> None:
        """Send tracks by WHIP and wait until the transport is up."""
        for track in tracks:
            self._connection.addTransceiver(track, direction="sendonly")
        await self._negotiate(path)

    async def subscribe(self, path: str, *kinds: str) -> None:
        """Receive by WHEP into `received`, and wait until the transport is up."""
        self._connection.on("track", self._listen)
        for kind in kinds:
            self._connection.addTransceiver(kind, direction="recvonly")
        await self._negotiate(path)

    async def close(self) -> None:
        """End the session as RFC 9725 asks: DELETE, then the transport."""
        if self.location is not None:
            async with self._http.delete(f"{self.url}{self.location}") as answer:
                assert answer.status == 200, await answer.text()
            self.location = None
        await self.vanish()

    async def vanish(self) -> None:
        """Drop the transport without telling the server."""
        await self._connection.close()
        await self._http.close()
        for task in self._listen_tasks:
            await task

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.vanish()

    async def _negotiate(self, path: str) -> None:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        async with self._http.post(
            f"{self.url}{path}",
            data=self._connection.localDescription.sdp,
            headers={"Content-Type": "application/sdp"},
        ) as answer:
            body = await answer.text()
            if answer.status != 201:
                raise PeerRefusedError(answer.status, body)
            self.location = answer.headers["Location"]
            self.etag = answer.headers["ETag"]
            self.links = answer.headers.getall("Link", [])
            assert answer.content_type == "application/sdp"
        up = asyncio.Event()

        @self._connection.on("connectionstatechange")
        def _() -> None:
            if self._connection.connectionState == "connected":
                up.set()

        answered = RTCSessionDescription(_with_candidates_everywhere(body), "answer")
        await self._connection.setRemoteDescription(answered)
        async with asyncio.timeout(10):
            await up.wait()
        self.connected_at = time.time()

    def _listen(self, track: MediaStreamTrack) -> None:
        received = Received(track.kind)
        self.received.append(received)
        self._listen_tasks.append(
            asyncio.create_task(self._consume(track, received), name=f"listen-{track.kind}")
        )

    async def _consume(self, track: MediaStreamTrack, received: Received) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    received.sizes.add((frame.width, frame.height))
                elif isinstance(frame, av.AudioFrame):
                    samples = array.array("h", bytes(frame.planes[0]))
                    received.energy += (
                        sum((s / 32768) ** 2 for s in samples[::8]) * 8 / len(samples)
                    )
                received.frames += 1
                received.first_at = received.first_at or time.time()
        except MediaStreamError:
            return  # the end of the track


def _with_candidates_everywhere(answer: str) -> str:
    """Repeat the candidates in every m-line.

    RFC 9143 wants them in the first only. aiortc takes those of the last m-line that shares its
    transport, and finds none.
    """
    head, *media = answer.split("\r\nm=")
    lines = media[0].split("\r\n")
    candidates = [
        line for line in lines if line.startswith(("a=candidate:", "a=end-of-candidates"))
    ]
    rest = ["\r\n".join([section.rstrip("\r\n"), *candidates, ""]) for section in media[1:]]
    return "\r\nm=".join([head, media[0].rstrip("\r\n"), *rest]) + ("" if rest else "\r\n")
