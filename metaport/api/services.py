"""What the handlers work with; filled by `metaport.compose`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from chatd.archive import Archive
from chatd.grants import Rights
from chatd.room_book import RoomSettings
from metaport.api.cursors import Cursors
from metaport.api.forwarded import Proxies
from metaport.api.once import Once
from metaport.api.resources import MediaResources, Presence
from metaport.api.rest_limit import RestLimit
from metaport.audit import Entry
from metaport.config import Config
from metaport.db.audit import SqlAudit
from metaport.db.friends import SqlFriends
from metaport.db.invitations import SqlInvitations
from metaport.db.spaces import SqlSpaces
from metaport.db.webhooks import SqlWebhooks
from metaport.identity import IdentityStores
from metaport.language import Say
from metaport.moderation_desk import ModerationDesk
from metaport.openid import OpenIdClient
from metaport.revocation import Revocation
from metaport.tokens import Claims, Tokens
from metaport.usage import Today
from metaport.webhooks import Secrets
from metering.budget_statement import BudgetStatement
from metering.contract import Contract
from metering.dimensions import Dimension
from metering.report import Report


class Sfu(Protocol):
    """All SFUs as the API sees them: one request, one answer."""

    async def request_http(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask the SFU that a request is for; raises `ControlError`, `metaport.media.SfuAway`."""

    async def diagnose(self, room: str | None) -> dict[str, list[dict[str, Any]]]:
        """Return how everybody's media is doing in a room, or in all: rooms by SFU."""

    def overview(self) -> list[dict[str, Any]]:
        """Return what is known of each SFU."""


class Recovered(Protocol):
    """Where messages read back are counted."""

    def __call__(self, room: str, user: str, count: int) -> None:
        """Count them, before they are told; raises `chatd.errors.FactsRefused`."""


class Enter(Protocol):
    """The way into a room."""

    def __call__(self, claims: Claims, raw: str, right: Rights, *, attends: bool = False) -> str:
        """Return the name of a room that a token may use; who `attends` needs a place in it.

        Raises:
            Refused: BAD_ROOM, or what the door or a full room says.
        """


class RoomStore(Protocol):
    """What is laid down about rooms, as `metaport.db.rooms.SqlRooms` keeps it.

    Everything here raises `DatabaseError` when the database is away.
    """

    async def get(self, room: str) -> RoomSettings | None:
        """Return what is laid down about a room."""

    async def page(self, after: str, limit: int) -> list[RoomSettings]:
        """Return settings in the order of names, those after `after`."""

    async def create(self, settings: RoomSettings, by: str, at_s: float) -> RoomSettings | None:
        """Lay something down about a room; where something is, return it."""

    async def change(
        self, before: RoomSettings, settings: RoomSettings, by: str, at_s: float
    ) -> bool:
        """Lay something else down, unless it is not `before` any more."""

    async def remove(self, room: str, by: str, at_s: float) -> bool:
        """Lay nothing down any more; False where nothing was."""


class Reports(Protocol):
    """Questions to the ledger, priced."""

    async def month(
        self, month: str, now: float, *, details: bool = False, by: Dimension | None = None
    ) -> Report:
        """Build the report of a month; raises `ValueError` on an impossible month."""

    async def today(self, by: str, now: float) -> Today:
        """Return what was used since midnight, by `app`, `space` or `room`."""

    async def budget(self, contract: Contract, now: float) -> BudgetStatement:
        """Hold the months of a contract so far against it."""

    async def visit(self, user: str, now: float) -> dict[str, Any]:
        """Price what one user caused in the last 24 hours."""


@dataclass(frozen=True)
class Readiness:
    """What keeps this process from serving, and what is merely worse: part → sentence.

    `notes` are what an operator has chosen and should know.
    """

    required: Mapping[str, str]
    degraded: Mapping[str, str]
    notes: Mapping[str, Say] = field(default_factory=dict)


@dataclass(frozen=True)
class Services:
    """One hub process's API dependencies. Times are seconds since the Unix epoch."""

    config: Config
    clock: Callable[[], float]
    started_at: float
    trusted: Proxies
    tokens: Tokens
    sfu: Sfu
    reports: Reports
    archive: Archive
    recovered: Recovered
    resources: MediaResources
    revoke: Callable[[Revocation], Awaitable[bool]]
    """Take tokens back; False while not all hubs can be told."""
    chat: Callable[[web.Request], Awaitable[web.StreamResponse]]
    open_stream: Callable[[web.Request], Awaitable[web.StreamResponse]]
    post_to_stream: Callable[[web.Request], Awaitable[web.StreamResponse]]
    attach: Callable[[str, str, str], Presence]
    enter: Enter
    room_store: RoomStore
    rooms_changed: Callable[[], Awaitable[None]]
    """Take up what the store says now, here and on the other hubs."""
    moderation: ModerationDesk
    friend_store: SqlFriends
    invitations: SqlInvitations
    space_store: SqlSpaces
    spaces_changed: Callable[[], Awaitable[None]]
    """Take up what is laid down about spaces now, here and on the other hubs."""
    present: Callable[[str], int]
    """How many users are in a room."""
    wait_for_room: Callable[[str], float]
    """Seconds until this user may open another direct room; 0 admits it."""
    webhooks: SqlWebhooks
    webhook_secrets: Secrets
    identity: IdentityStores
    openid: OpenIdClient | None
    """None where no provider is configured."""
    check_admin: Callable[[str, str], bool]
    wait_for_login: Callable[[str], float]
    wait_for_guest: Callable[[str], float]
    wait_for_media: Callable[[str], float]
    """Seconds until this address may try again; 0 admits the try."""
    wait_for_bad_token: Callable[[str], float]
    """Seconds until a bad token of this address is looked at again; 0 for now."""
    wait_for_page: Callable[[str], float]
    """Seconds until this user may read another page of messages; 0 admits it."""
    rest_limit: RestLimit | None
    """None where requests are not counted."""
    cursors: Cursors
    once: Once
    audit: Callable[[Entry], Awaitable[None]]
    """Write an entry down before the answer; raises `OSError`."""
    audit_log: SqlAudit
    readiness: Callable[[], Readiness]
    status: Callable[[], Awaitable[dict[str, Any]]]
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]


SERVICES = web.AppKey("services", Services)
