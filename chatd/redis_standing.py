"""What servers say of their own durability, and what of it falls short of what was promised."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chatd.redis_options import Durability
from chatd.redis_script import Command

# Weakest first.
FSYNCS = ("none", "no", "everysec", "always")

ASK: tuple[Command, ...] = (
    ("INFO",),
    ("CONFIG", "GET", "append*", "min-replicas-to-write"),
)


class Standing(NamedTuple):
    """How a server keeps what it is told; None is what it does not tell everybody.

    `replicas` follow it now, and without `min_replicas` of them it takes no writes.
    """

    appendfsync: str | None
    replicas: int
    min_replicas: int | None


def lines_of(info: bytes) -> dict[str, str]:
    """Return what INFO says, by name."""
    return dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)


def standing_of(info: Mapping[str, str], settings: Any) -> Standing:
    """Read the replies to `ASK`: the lines of INFO, and the settings or an error."""
    replicas = int(info.get("connected_slaves", "0"))
    if isinstance(settings, Exception):
        return Standing(None, replicas, None)
    pairs = [setting.decode() for setting in settings]
    known = dict(zip(pairs[::2], pairs[1::2], strict=True))
    says = known.get("appendfsync", "") if known.get("appendonly") == "yes" else "none"
    kept = known.get("min-replicas-to-write", "")
    return Standing(
        says if says in FSYNCS else None, replicas, int(kept) if kept.isdigit() else None
    )


def weakest(standings: Iterable[Standing]) -> Standing | None:
    """Return the least of what several nodes say, None of none."""
    found = list(standings)
    if not found:
        return None
    fsyncs = [each.appendfsync for each in found if each.appendfsync is not None]
    held = [each.min_replicas for each in found if each.min_replicas is not None]
    return Standing(
        min(fsyncs, key=FSYNCS.index, default=None),
        min(each.replicas for each in found),
        min(held, default=None),
    )


def shortfall(standing: Standing, promised: Durability) -> str | None:
    """Say where a server keeps less than was promised, None where it does not."""
    says = standing.appendfsync
    if says is not None and FSYNCS.index(says) < FSYNCS.index(promised.appendfsync):
        return (
            f"Redis has appendfsync {says}, but the configuration promises {promised.appendfsync}"
        )
    if promised.replicas and standing.min_replicas == 0:
        return (
            "Redis has min-replicas-to-write 0: a primary that is cut off goes on delivering what "
            "a fail-over takes back"
        )
    return None
