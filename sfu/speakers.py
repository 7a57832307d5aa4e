"""Who speaks in a room, told when it changes."""

from typing import Any

from sfu.room import Member, Room

# Finer steps would send a frame for every breath.
LEVEL_STEP = 10
# Quieter than this is not told apart from silence, -60 dBov being a quiet room.
SILENCE_DBOV = -60.0


def loudness(level_dbov: float) -> int:
    """Turn a level in dBov (RFC 6464) into 10 (quiet) to 100, in steps."""
    share = (level_dbov - SILENCE_DBOV) / -SILENCE_DBOV
    return max(LEVEL_STEP, min(100, round(share * 100 / LEVEL_STEP) * LEVEL_STEP))


class Speakers:
    """Remembers what each room was told last."""

    def __init__(self) -> None:
        self._told: dict[str, list[dict[str, Any]]] = {}

    def changed(self, room: "Room[Any]") -> list[dict[str, Any]] | None:
        """Return the room's speakers, loudest first, or `None` when nothing changed."""
        loudest: dict[str, tuple[Member, int]] = {}
        for track in room.tracks.values():
            if track.kind == "audio" and track.media.speaking and not track.media.muted:
                level = loudness(track.media.level)
                if level > loudest.get(track.owner.id, (track.owner, 0))[1]:
                    loudest[track.owner.id] = (track.owner, level)
        speakers = [
            {"participant": member.id, "user": member.user, "level": level}
            for member, level in sorted(loudest.values(), key=lambda entry: -entry[1])
        ]
        if speakers == self._told.get(room.name, []):
            return None
        self._told[room.name] = speakers
        return speakers

    def forget(self, room: "Room[Any]") -> None:
        """Forget a room that ended."""
        self._told.pop(room.name, None)
