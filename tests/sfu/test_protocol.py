"""Every example of `sfu/PROTOCOL.md` is replayed: requests are understood, the rest is said so."""

import json
import re
from pathlib import Path
from typing import Any

import sfu
from sfu.errors import REFUSALS
from sfu.media_frames import read_frame
from tests.sfu.memory_peer import Network
from tests.sfu.packets import one_byte, rtp
from tests.sfu.world import MICROPHONE, ROOM, World

TEXT = (Path(sfu.__file__).parent / "PROTOCOL.md").read_text()
EXAMPLES: dict[str, dict[str, Any]] = {
    name: json.loads(body)
    for name, body in re.findall(r"<!-- example: (\S+) -->\n```json\n(.*?)```", TEXT, re.DOTALL)
}
REQUESTS = {
    "join", "publish", "answer", "mute", "subscribe", "restart", "trickle", "leave", "release"
}  # fmt: skip
# Made by the hub, which knows where rooms are.
OF_THE_HUB = {"media.move"}


def shape(value: Any) -> Any:
    """Reduce a frame to its fields and their types; of a list, its first entry counts."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items() if key != "id"}
    if isinstance(value, list):
        return [shape(entry) for entry in value[:1]]
    return type(value)


async def said(network: Network) -> dict[str, dict[str, Any]]:
    """Let two people do everything there is, and return a frame of each kind the server sent."""
    world = World(network)
    host, visitor = world.person("host"), world.person("visitor")
    frames = [host.join(), host.publish([MICROPHONE])]
    frames += [visitor.join(), visitor.answer()]
    guest = world.person("guest")
    guest.join()
    guest.publish([MICROPHONE])
    visitor.answer()
    frames.append(host.frame("mute", track=host.tracks["0"], muted=True))
    host.frame("mute", track=host.tracks["0"], muted=False)
    frames.append(visitor.frame("subscribe", auto=False, tracks=[host.tracks["0"]]))
    frames.append(visitor.frame("restart"))
    frames.append(visitor.frame("trickle"))
    publisher = host.connection("publishing").publisher
    for sequence in range(100):
        packet = rtp(sequence, timestamp=sequence * 960, extension=one_byte((2, b"\x8a")))
        publisher.receive_rtp(packet, world.clock() + sequence * 0.02)
    world.advance(0.5)
    world.ask("silence", room=ROOM, user="u-guest", kinds=["audio"])
    frames.append(host.frame("leave"))
    world.ask("hand_over", session=guest.session, room=ROOM)
    frames.append(guest.frame("release"))
    world.conference.drain()
    world.deliver()
    return {frame["t"]: frame for frame in [*frames, *visitor.pushed(), *guest.pushed()]}


def test_every_request_is_understood() -> None:
    for kind in REQUESTS:
        read_frame(EXAMPLES[f"media.{kind}"])


async def test_what_the_server_says_looks_like_its_example(network: Network) -> None:
    frames = await said(network)
    documented = {name for name in EXAMPLES if name.removeprefix("media.") not in REQUESTS}
    documented -= OF_THE_HUB
    assert set(frames) == documented
    for name in documented:
        assert shape(frames[name]) == shape(EXAMPLES[name]), name


def test_the_table_of_refusals_is_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXT, re.MULTILINE)
    assert {reason: int(code) for code, reason in rows} == {
        reason: refusal.code for reason, refusal in REFUSALS.items()
    }
