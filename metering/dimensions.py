"""By what usage is told apart: app, space, room, node, user."""

import enum
from collections.abc import Callable, Iterable, Mapping

from metering.events import DEFAULT_APP, Place
from metering.ledger import Ledger
from metering.windows import Period

Used = Mapping[str, Mapping[str, int]]


class Dimension(enum.StrEnum):
    """What a report is broken down by. Nodes and users are in the details of the ledger only."""

    APP = "app"
    SPACE = "space"
    ROOM = "room"
    NODE = "node"
    USER = "user"


async def used_by(ledger: Ledger, dimension: Dimension, period: Period) -> Used:
    """Return what was used, by the keys of a dimension in order, then by meter.

    Usage without a room, space or user has the key of nothing, "".

    Raises PeriodError where nodes or users are asked for and their details are no longer kept.
    """
    match dimension:
        case Dimension.NODE:
            return _gathered(
                (node, meter, n) for (meter, node), n in (await ledger.by_node(*period)).items()
            )
        case Dimension.USER:
            return _gathered(
                (subject.user, meter, n)
                for (meter, subject), n in (await ledger.by_subject(*period)).items()
            )
    key = _KEYS[dimension]
    return _gathered(
        (key(place), meter, n) for (meter, place), n in (await ledger.by_place(*period)).items()
    )


def _space_of(place: Place) -> str:
    """Name a space with its app, as its rooms do."""
    if place.app == DEFAULT_APP or not place.space:
        return place.space
    return f"{place.app}:{place.space}"


_KEYS: Mapping[Dimension, Callable[[Place], str]] = {
    Dimension.APP: lambda place: place.app,
    Dimension.SPACE: _space_of,
    Dimension.ROOM: lambda place: place.room,
}


def _gathered(found: Iterable[tuple[str, str, int]]) -> Used:
    used: dict[str, dict[str, int]] = {}
    for key, meter, quantity in found:
        meters = used.setdefault(key, {})
        meters[meter] = meters.get(meter, 0) + quantity
    return dict(sorted(used.items()))
