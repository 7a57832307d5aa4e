"""What a command over the REST API is: its words, its options, and what it asks."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from metaport.language import Say

if TYPE_CHECKING:
    from metaport.client.server import Server

Run = Callable[["Server", argparse.Namespace], Awaitable[Any]]

# What a command returns that has shown its answer itself.
SHOWN = object()


class Misused(Exception):
    """The command line says something that means nothing."""

    def __init__(self, say: Say) -> None:
        self.say = say
        super().__init__(say.en)


class Option(NamedTuple):
    """`--name`: a flag, or a file."""

    name: str
    say: Say
    file: bool = False


class Verb(NamedTuple):
    """A command: its positional words, whether it takes KEY=VALUE, and what it does.

    `name` of two words stands in a group: `key list`.
    """

    name: str
    words: tuple[str, ...]
    takes: bool
    say: Say
    run: Run
    options: tuple[Option, ...] = ()


def listed(columns: str, resource: Callable[[Server], Any]) -> Run:
    """Return what lists all of a resource in columns."""

    async def run(server: Server, _: argparse.Namespace) -> Any:
        return columns.split(), [each async for each in resource(server).list()]

    return run


def on(kind: str) -> Callable[[Server], Any]:
    """Return what makes the client of a kind of resource, imported when it is needed."""

    def make(server: Server) -> Any:
        from metaport.client import people, rooms, spaces

        made = {
            "room": rooms.Rooms, "space": spaces.Spaces, "user": people.Users, "app": people.Apps,
        }  # fmt: skip
        return made[kind](server)

    return make


def plain(kind: str, method: str, *words: str) -> Run:
    """Return what calls a method of a resource with the words and the KEY=VALUE given."""

    async def run(server: Server, given: argparse.Namespace) -> Any:
        call = getattr(on(kind)(server), method)
        fields = settings_of(getattr(given, "settings", []))
        return await call(*(getattr(given, word) for word in words), **fields)

    return run


def settings_of(words: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE: values are JSON, or the text itself. Raises `Misused`."""
    import msgspec

    fields: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Misused(
                Say(f"{word!r}: KEY=VALUE로 적어 주세요", f"{word!r}: write it as KEY=VALUE")
            )
        try:
            fields[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            fields[name] = value
    return fields
