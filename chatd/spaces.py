"""Spaces: worlds whose rooms are `world/<space>/…`; when they are open, and what they show.

`SpaceBook` is the port, `MemorySpaces` the book that lives as long as its process. A space that
nothing is laid down about is always open, of any size, and has no state.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from chatd.opening_hours import Stretch, is_open, opens_at

PREFIX = "world/"
ZONE = "Asia/Seoul"


class SpaceSettings(msgspec.Struct, frozen=True):
    """What is laid down about one space.

    `capacity` counts users in any of its rooms. `closed` closes it whatever the `hours`. `state` is
    what clients show of it, `state_revision` counts its changes.
    """

    space: str
    title_ko: str = ""
    title_en: str = ""
    capacity: int | None = None
    zone: str = ZONE
    hours: tuple[Stretch, ...] = ()
    closed: bool = False
    state: dict[str, Any] = {}
    state_revision: int = 0

    def open_at(self, utc_s: float) -> bool:
        """Say whether it is open."""
        return not self.closed and is_open(self.hours, self.zone, utc_s)

    def opens_at_ms(self, utc_s: float) -> int | None:
        """Return when it opens next, None where it is open or nobody knows."""
        when = None if self.closed else opens_at(self.hours, self.zone, utc_s)
        return None if when is None else int(when * 1000)


def with_state(settings: SpaceSettings, patch: dict[str, Any]) -> SpaceSettings:
    """Return settings whose state a merge patch (RFC 7396) has changed."""
    state = merged(settings.state, patch)
    return msgspec.structs.replace(
        settings, state=state, state_revision=settings.state_revision + 1
    )


def merged(target: Any, patch: Any) -> Any:
    """Return what a merge patch makes of `target`: null takes a member away (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def space_of(room: str) -> str | None:
    """Return the space a room is in, None where it is in none."""
    if not room.startswith(PREFIX):
        return None
    space, slash, rest = room.removeprefix(PREFIX).partition("/")
    return space if space and slash and rest else None


class SpaceBook(Protocol):
    """What is laid down about every space; asked at each join, so it answers from memory.

    Guarantee asked of an implementation: `changed` is called with what was before and what is now,
    None for nothing, after `settings` tells it.
    """

    def settings(self, space: str) -> SpaceSettings | None:
        """Return what is laid down about a space."""

    def listen(self, changed: Callable[[SpaceSettings | None, SpaceSettings | None], None]) -> None:
        """Name who is told of changes; once."""


class MemorySpaces:
    """A book that lives as long as its process."""

    def __init__(self, *settings: SpaceSettings) -> None:
        self._settings = {each.space: each for each in settings}
        self._changed: Callable[[SpaceSettings | None, SpaceSettings | None], None] = (
            lambda before, after: None
        )

    def settings(self, space: str) -> SpaceSettings | None:
        return self._settings.get(space)

    def listen(self, changed: Callable[[SpaceSettings | None, SpaceSettings | None], None]) -> None:
        self._changed = changed

    def everything(self) -> list[SpaceSettings]:
        """Return what is laid down, in no order."""
        return list(self._settings.values())

    def put(self, settings: SpaceSettings) -> None:
        """Lay something down, in place of what was."""
        before = self._settings.get(settings.space)
        if settings != before:
            self._settings[settings.space] = settings
            self._changed(before, settings)

    def remove(self, space: str) -> None:
        """Lay nothing down about a space any more."""
        before = self._settings.pop(space, None)
        if before is not None:
            self._changed(before, None)
