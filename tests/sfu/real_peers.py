"""Real aiortc peer connections as encoder, player and chat client of a real SFU."""

import array
import asyncio
import math
from typing import Any

import av
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import AudioStreamTrack

from sfu.control import ControlClient, Map

ROOM = "room"
AMPLITUDE = 12_000


class Tone(AudioStreamTrack):
    """A sine of 440 Hz."""

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()
        assert isinstance(frame, av.AudioFrame)
        assert frame.pts is not None
        step = 2 * math.pi * 440 / frame.sample_rate
        samples = (int(AMPLITUDE * math.sin(step * (frame.pts + n))) for n in range(frame.samples))
        frame.planes[0].update(array.array("h", samples).tobytes())
        return frame


def peer_connection() -> RTCPeerConnection:
    """Make a peer connection that bundles from the start.

    With aiortc's default policy the m-lines of a kind share a transport in the offer; when the
    answer bundles everything, only the first of them is moved to the common one and the others
    stay on a transport that was stopped.
    """
    return RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )


def loudest(frame: av.AudioFrame) -> int:
    """Return the largest sample."""
    samples = array.array("h")
    samples.frombytes(bytes(frame.planes[0])[: frame.samples * 2])
    return max(map(abs, samples))


async def hears(transceiver: RTCRtpTransceiver) -> None:
    """Wait until what is decoded is as loud as the tone."""
    while True:
        frame = await transceiver.receiver.track.recv()
        assert isinstance(frame, av.AudioFrame)
        if loudest(frame) > AMPLITUDE / 2:
            return


async def sees(transceiver: RTCRtpTransceiver, frames: int = 5) -> None:
    """Wait until frames were decoded."""
    for _ in range(frames):
        frame = await transceiver.receiver.track.recv()
        assert isinstance(frame, av.VideoFrame)
        assert (frame.width, frame.height) == (640, 480)


def by_kind(pc: RTCPeerConnection, kind: str) -> list[RTCRtpTransceiver]:
    return [t for t in pc.getTransceivers() if t.kind == kind]


class Encoder:
    """A WHIP client: a tone and a moving picture."""

    def __init__(self, control: ControlClient, user: str = "u-encoder") -> None:
        self.control = control
        self.user = user
        self.pc = peer_connection()
        self.created: Map = {}

    async def start(self, *, video: bool = True) -> None:
        self.pc.addTrack(Tone())
        if video:
            self.pc.addTrack(VideoStreamTrack())
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.created = await self.control.request(
            {
                "op": "whip",
                "room": ROOM,
                "user": self.user,
                "name": "encoder",
                "sdp": self.pc.localDescription.sdp,
            }
        )
        await self.pc.setRemoteDescription(RTCSessionDescription(self.created["sdp"], "answer"))


class Player:
    """A WHEP client."""

    def __init__(self, control: ControlClient) -> None:
        self.control = control
        self.pc = peer_connection()
        self.created: Map = {}

    async def start(self, publisher: str | None = None, *, places: int = 1) -> None:
        for _ in range(places):
            self.pc.addTransceiver("audio", direction="recvonly")
            self.pc.addTransceiver("video", direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.created = await self.control.request(
            {
                "op": "whep",
                "room": ROOM,
                "user": "u-player",
                "name": "player",
                "sdp": self.pc.localDescription.sdp,
                "from": publisher,
            }
        )
        await self.pc.setRemoteDescription(RTCSessionDescription(self.created["sdp"], "answer"))


class ChatClient:
    """A chat client: publishes on one connection, answers the server's offers on another."""

    def __init__(self, control: ControlClient, name: str) -> None:
        self.control = control
        self.name = name
        self.frames: asyncio.Queue[Map] = asyncio.Queue()
        self.up = peer_connection()
        self.down = peer_connection()

    async def frame(self, kind: str, **fields: Any) -> Map:
        return await self.control.request(
            {
                "op": "frame",
                "session": f"s-{self.name}",
                "user": f"u-{self.name}",
                "name": self.name,
                "room": ROOM,
                "may_publish": True,
                "frame": {"t": f"media.{kind}", "room": ROOM, **fields},
            }
        )

    async def publish(self) -> Map:
        self.up.addTrack(Tone())
        await self.up.setLocalDescription(await self.up.createOffer())
        published = await self.frame("publish", sdp=self.up.localDescription.sdp)
        await self.up.setRemoteDescription(RTCSessionDescription(published["sdp"], "answer"))
        return published

    async def next(self, kind: str) -> Map:
        """Wait for a pushed frame of a kind."""
        while True:
            frame = await self.frames.get()
            if frame["t"] == f"media.{kind}":
                return frame

    async def answer(self) -> Map:
        """Wait for an offer and answer it."""
        offer = await self.next("offer")
        await self.down.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await self.down.setLocalDescription(await self.down.createAnswer())
        await self.frame("answer", n=offer["n"], sdp=self.down.localDescription.sdp)
        return offer

    async def close(self) -> None:
        await self.up.close()
        await self.down.close()
