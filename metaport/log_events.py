"""What a log record tells the platform's backend: one event for each thing that happened.

The id of an event says what happened, so that a record that is read again is the same event.
"""

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from chatd.facts import Attended, MessageAccepted
from metaport.chat_journal import BATCH, MESSAGE, PEOPLE, messages_of, people_of
from metaport.db.webhooks import Event
from metaport.media_journal import APPEARANCES, appearances_of
from sfu.facts import Appearance

# Every type there is in a log, and which kinds of record tell it.
TYPES = {
    "message.sent": (MESSAGE, BATCH),
    "room.joined": (PEOPLE,),
    "room.left": (PEOPLE,),
    "user.online": (PEOPLE,),
    "user.offline": (PEOPLE,),
    "media.joined": (APPEARANCES,),
    "media.left": (APPEARANCES,),
    "media.track_started": (APPEARANCES,),
    "media.track_ended": (APPEARANCES,),
}


def wanted_types(patterns: Iterable[str]) -> frozenset[str]:
    """Return the types of log events that fit one of the patterns of endpoints."""
    asked = tuple(patterns)
    return frozenset(name for name in TYPES if any(fnmatchcase(name, pattern) for pattern in asked))


def events_of(record: bytes, types: frozenset[str], node: str) -> list[Event]:
    """Return the events of these types that a record of `node`'s log tells."""
    kind = record[:1]
    if not any(kind in TYPES[name] for name in types):
        return []  # most records: not even decoded
    found = [
        *map(_of_message, messages_of(record)),
        *(_of_person(each, node) for each in people_of(record)),
        *map(_of_appearance, appearances_of(record)),
    ]
    return [event for event in found if event.type in types]


def _of_message(fact: MessageAccepted) -> Event:
    room = hashlib.sha256(fact.room.encode()).hexdigest()[:16]
    data = {
        "room": fact.room, "epoch": fact.epoch, "offset": fact.offset, "message": fact.id,
        "user": fact.user, "name": fact.name, "body": fact.body,
    }  # fmt: skip
    return Event(f"message/{room}/{fact.id}", "message.sent", fact.at_ms, data)


def _of_person(fact: Attended, node: str) -> Event:
    if fact.room:
        name = "room.joined" if fact.here else "room.left"
    else:
        name = "user.online" if fact.here else "user.offline"
    data = {"user": fact.user, "name": fact.name, "hub": node}
    if fact.room:
        data["room"] = fact.room
    return Event(f"people/{fact.id}", name, fact.at_ms, data)


def _of_appearance(fact: Appearance) -> Event:
    end = "end" if fact.ended else "begin"
    data = {"room": fact.room, "user": fact.user, "participant": fact.participant}
    if not fact.track:
        name = "media.left" if fact.ended else "media.joined"
        return Event(f"media/{fact.participant}/{end}", name, fact.at_ms, data)
    data |= {"track": fact.track, "kind": fact.kind, "source": fact.source}
    name = "media.track_ended" if fact.ended else "media.track_started"
    return Event(f"media/{fact.track}/{end}", name, fact.at_ms, data)
