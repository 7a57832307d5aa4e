"""How an operation says that it will go: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

# What API.md promises: six months at least.
SHORTEST = timedelta(days=183)


class Deprecation(NamedTuple):
    """Not to be used since one moment, there until another; both in UTC."""

    since: datetime
    sunset: datetime

    @classmethod
    def of(cls, since: str, sunset: str) -> "Deprecation":
        """Make it of two days (ISO 8601), each from its midnight UTC.

        Raises:
            ValueError: less than six months lie between them.
        """
        first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (since, sunset))
        if last - first < SHORTEST:
            raise ValueError(f"{since} to {sunset}: less than six months")
        return cls(first, last)

    @property
    def headers(self) -> Mapping[str, str]:
        """The two headers: a Date of structured fields (RFC 9651), and an HTTP-date."""
        return {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Sunset": format_datetime(self.sunset, usegmt=True),
        }
