"""Telling a client what was refused."""

from collections.abc import Callable

from chatd.client import Client
from chatd.counters import Counters
from chatd.delivery import Delivery
from chatd.errors import BAD_FRAME, Close, Refused
from chatd.wire import Error


class Refusals:
    """Answers with `error` frames, counts them, and closes where the refusal says so."""

    def __init__(
        self, counters: Counters, delivery: Delivery, close: Callable[[Client, Close], None]
    ) -> None:
        self._counters = counters
        self._delivery = delivery
        self._close = close

    def tell(self, client: Client, refused: Refused) -> None:
        """Tell `client`; a refusal that closes ends the conversation."""
        refusal = refused.refusal
        self._counters.errors[refusal.reason] += 1
        if refusal is BAD_FRAME:
            self._counters.bad_frames += 1
        if refused.limit is not None:
            self._counters.limited[refused.limit] += 1
        self._delivery.reply(
            client,
            Error(
                refusal.code,
                refusal.reason,
                refused.message,
                refused.id,
                refused.retry_after_ms,
                refused.limit,
                refused.opens_at,
            ),
        )
        if refusal.closes is not None:
            self._close(client, refusal.closes)
