"""Who speaks: levels in steps, the loudest first, told only when it changes."""

import pytest

from sfu.codec import AUDIO_LEVEL
from sfu.forwarding import Publisher
from sfu.room import Member, PublishedTrack, Room
from sfu.speakers import Speakers, loudness
from tests.sfu.packets import OPUS, Wire, one_byte, rtp


class Voice:
    """A member with a microphone."""

    def __init__(self, room: Room[Member], name: str) -> None:
        self.member = Member(f"p-{name}", f"u-{name}", name)
        self.publisher = Publisher(Wire(), random=bytes)
        self.track = self.publisher.add_track(
            f"t-{name}", "audio", "microphone", "0", [OPUS], {AUDIO_LEVEL: 1}, [0x1000]
        )
        self.sequence = 0
        room.members[self.member.id] = self.member
        room.tracks[self.track.id] = PublishedTrack(self.track, self.member, "0", OPUS)

    def speak(self, level_dbov: int, seconds: float = 2.0) -> None:
        for _ in range(round(seconds / 0.02)):
            self.sequence += 1
            extension = one_byte((1, bytes([0x80 | -level_dbov])))
            packet = rtp(self.sequence, timestamp=self.sequence * 960, extension=extension)
            self.publisher.receive_rtp(packet, self.sequence * 0.02)


@pytest.fixture
def room() -> Room[Member]:
    return Room("room")


def test_levels_are_steps_of_ten() -> None:
    assert [loudness(dbov) for dbov in (-127, -60, -57, -30, -3, 0)] == [10, 10, 10, 50, 100, 100]


def test_silence_is_not_told(room: Room[Member]) -> None:
    Voice(room, "quiet")
    assert Speakers().changed(room) is None


def test_the_loudest_comes_first(room: Room[Member]) -> None:
    near, far = Voice(room, "near"), Voice(room, "far")
    far.speak(-35)
    near.speak(-10)
    speakers = Speakers().changed(room)
    assert speakers is not None
    assert [s["user"] for s in speakers] == ["u-near", "u-far"]
    assert speakers[0]["level"] > speakers[1]["level"]


def test_the_same_speakers_are_told_once(room: Room[Member]) -> None:
    voice, speakers = Voice(room, "host"), Speakers()
    voice.speak(-20)
    assert speakers.changed(room)
    voice.speak(-20)
    assert speakers.changed(room) is None
    voice.track.muted = True
    assert speakers.changed(room) == []
    assert speakers.changed(room) is None


def test_a_forgotten_room_starts_in_silence(room: Room[Member]) -> None:
    voice, speakers = Voice(room, "host"), Speakers()
    voice.speak(-20)
    speakers.changed(room)
    speakers.forget(room)
    assert speakers.changed(room)
