"""What a join is told when messages were published while the bus was asked."""

from collections.abc import Sequence

from chatd.bus import Page, Publication
from chatd.history import Entry
from chatd.wire import Since


def settle(page: Page, held: Sequence[Publication], since: Since | None, history: int) -> Page:
    """Return `page` brought up to the last of `held`, so that the next message follows it.

    `held` is in order and without a gap. What overlaps the page is dropped; what would leave a
    gap after it, or belongs to another epoch, makes the page unrecovered. A fresh page is up to
    date as it is.
    """
    if page.fresh:
        return page
    newer = [publication for publication in held if publication.epoch != page.epoch]
    newer = newer or [p for p in held if p.message.offset > page.offset]
    if not newer:
        return page
    last = newer[-1]
    follows = last.epoch == page.epoch and newer[0].message.offset == page.offset + 1
    entries = [Entry(publication.message.offset, publication.packed) for publication in newer]
    if since is None:
        kept = [*page.entries, *entries] if follows else entries
        return Page(last.epoch, last.message.offset, False, kept[-history:] if history else ())
    recovered = page.recovered and follows
    everything = (*page.entries, *entries) if recovered else ()
    return Page(last.epoch, last.message.offset, recovered, everything)
