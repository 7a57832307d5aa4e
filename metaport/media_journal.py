"""Facts of the SFU as usage in its local log, and who was there in its book of attendance.

Order of one `commit`, and what a crash after each step costs:
1. counters and attendances are appended to the local log in one write (nothing)
2. attendances that ended are appended to the book (nothing: the next start copies them there),
   with those that it had no room for before
"""

import logging
from collections.abc import Iterator, Sequence

import msgspec

from metaport.attendance import Book, attendance_record
from metaport.log import LogError
from metaport.usage_log import Count, UsageLog
from metering import meters
from metering.events import Session, Subject
from metering.windows import seconds_by_window
from sfu.errors import FactsRefused
from sfu.facts import Appearance, Attendance, Fact, MediaBytes, ParticipantInterval

logger = logging.getLogger(__name__)

# A log record of a MessagePack list of `sfu.facts.Appearance`.
APPEARANCES = b"v"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Appearance]).decode


class MediaJournal:
    """The facts port of the SFU over the local log."""

    def __init__(self, usage: UsageLog, book: Book | None = None) -> None:
        self._usage = usage
        self._book = book

    def commit(self, facts: Sequence[Fact]) -> None:
        """Store facts; when it returns, they survive the end of this process.

        Raises:
            FactsRefused: the log could not be written; nothing of the batch happened.
        """
        attended = [fact for fact in facts if isinstance(fact, Attendance)]
        records = [attendance_record(attended)] if attended else []
        if appeared := [fact for fact in facts if isinstance(fact, Appearance)]:
            records.append(APPEARANCES + _encode(appeared))
        try:
            self._usage.write(records, [count for fact in facts for count in media_counts(fact)])
        except LogError as error:
            raise FactsRefused(str(error)) from error
        if self._book is not None:
            self._keep(self._book, [each for each in attended if each.ended])

    def _keep(self, book: Book, ended: Sequence[Attendance]) -> None:
        try:
            book.keep(ended)
        except LogError as error:
            logger.error("attendance is kept later: %s", error)


def appearances_of(record: bytes) -> list[Appearance]:
    """Decode who and what appeared in media, or ended; nothing in records of other kinds."""
    return _decode(record[1:]) if record[:1] == APPEARANCES else []


def media_counts(fact: Fact) -> Iterator[Count]:
    """Say what a fact of the SFU adds to which counters."""
    subject = Subject(fact.room, fact.user)
    match fact:
        case ParticipantInterval():
            meter = meters.participation_meter(fact.pixels)
            session = Session(fact.began_ms // 1000, fact.session or fact.participant)
            for start_s, seconds in seconds_by_window(fact.start_ms, fact.end_ms):
                yield Count(meter, subject, start_s, seconds, session)
        case MediaBytes():
            at_s = fact.at_ms // 1000
            yield Count(meters.INGRESS_BYTES, subject, at_s, fact.ingress_bytes)
            yield Count(meters.EGRESS_BYTES, subject, at_s, fact.egress_bytes)
