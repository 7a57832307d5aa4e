"""Facts of the SFU as usage in its local log."""

from collections.abc import Iterator, Sequence

from metaport.log import LogError
from metaport.usage_log import Count, UsageLog
from metering import meters
from metering.events import Subject
from metering.windows import seconds_by_window
from sfu.errors import FactsRefused
from sfu.facts import Fact, MediaBytes, ParticipantInterval


class MediaJournal:
    """The facts port of the SFU over the local log."""

    def __init__(self, usage: UsageLog) -> None:
        self._usage = usage

    def commit(self, facts: Sequence[Fact]) -> None:
        """Store facts; when it returns, they survive the end of this process.

        Raises:
            FactsRefused: the log could not be written; nothing of the batch happened.
        """
        try:
            self._usage.write((), [count for fact in facts for count in media_counts(fact)])
        except LogError as error:
            raise FactsRefused(str(error)) from error


def media_counts(fact: Fact) -> Iterator[Count]:
    """Say what a fact of the SFU adds to which counters."""
    subject = Subject(fact.room, fact.user)
    match fact:
        case ParticipantInterval():
            meter = meters.participation_meter(fact.pixels)
            for start_s, seconds in seconds_by_window(fact.start_ms, fact.end_ms):
                yield Count(meter, subject, start_s, seconds)
        case MediaBytes():
            at_s = fact.at_ms // 1000
            yield Count(meters.INGRESS_BYTES, subject, at_s, fact.ingress_bytes)
            yield Count(meters.EGRESS_BYTES, subject, at_s, fact.egress_bytes)
