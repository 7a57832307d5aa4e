"""The composition root: the only place that knows chatd, sfu and metering at once.

`run_hub` builds the hub process from the configuration, serves until told to stop, drains, and
returns. The SFU process has less to wire and a root of its own, `metaport.media_process`, so that
it starts without the database and the HTTP server.
"""

import asyncio
import logging
import time
import unicodedata
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from functools import cache
from typing import Any

from aiohttp import web

from chatd import errors as chat
from chatd.facts import MessagesRecovered
from chatd.grants import Rights, to
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.redis_options import Kept
from chatd.room_book import RoomSettings
from chatd.room_name import is_room_name
from chatd.server import ChatServer
from chatd.session import Identity
from chatd.stream_relay import StreamRelay
from metaport import admin, chat_journal, tls
from metaport.address_gate import BAD_TOKEN_BURST, BAD_TOKEN_PER_S, AddressGate, AddressLimit
from metaport.api.access import client_address
from metaport.api.app import build_app
from metaport.api.cursors import Cursors
from metaport.api.forwarded import Proxies
from metaport.api.once import Once, forget_answers
from metaport.api.resources import MediaResources
from metaport.api.rest_limit import RestLimit
from metaport.api.services import Readiness, Services
from metaport.app_key_watch import AppKeyWatch
from metaport.app_keys import AppKeyBook, AppKeySecrets
from metaport.audit import Sealer
from metaport.audit_spool import AuditSpool
from metaport.audit_writer import AuditKeeper, AuditWriter
from metaport.backbone import RedisBackbone, backbone_of
from metaport.background import HEARTBEAT_S, background, every, keep_synced
from metaport.budget_watch import BudgetWatch
from metaport.config import Config
from metaport.db.accounts import SqlAccounts
from metaport.db.apps import SqlApps
from metaport.db.audit import SqlAudit
from metaport.db.direct import DirectPool
from metaport.db.engine import connect, reach
from metaport.db.errors import DatabaseError, DatabaseUnavailable
from metaport.db.friends import SqlFriends
from metaport.db.idempotency import SqlIdempotency
from metaport.db.invitations import SqlInvitations
from metaport.db.ledger import SqlLedger
from metaport.db.messages import SqlMessages
from metaport.db.moderation import SqlModeration
from metaport.db.periods import Periods
from metaport.db.person import Persons
from metaport.db.revocations import SqlRevocations
from metaport.db.rooms import SqlRooms
from metaport.db.sessions import SqlSessions
from metaport.db.spaces import SqlSpaces
from metaport.db.webhooks import SqlWebhooks
from metaport.erasing import Eraser
from metaport.event_reader import EventReader
from metaport.garbage import spare_collections
from metaport.history import HistoryArchive, HistoryWriter, forget_old
from metaport.history_audit import HistoryAudit
from metaport.identity import TIDY_S, IdentityStores
from metaport.log import Log, LogError
from metaport.login_throttle import LoginThrottle
from metaport.logs import LoopLag
from metaport.media import MediaRelay, Member, SfuAway
from metaport.media_moderation import MediaModeration
from metaport.metrics import CHAT, CHAT_BY, Reading, expose
from metaport.moderation_desk import ModerationDesk
from metaport.moderation_file import ActFile
from metaport.moderation_watch import ModerationWatch
from metaport.node import Node, hub_node, hub_nodes, node_name
from metaport.openid import OpenIdClient
from metaport.passwords import Passwords
from metaport.people_log import PeopleLog
from metaport.redis_placements import placements_of
from metaport.retired_logs import RetiredLogs
from metaport.revocation import Revocations, of_token_id
from metaport.revocation_file import RevocationFile
from metaport.revocation_watch import RevocationWatch
from metaport.room_file import RoomFile
from metaport.room_watch import RoomWatch
from metaport.secret_files import api_key, app_key, webhook_key
from metaport.sent_counts import SentShipper
from metaport.sfu_directory import SfuDirectory
from metaport.sfu_process import sfu_processes
from metaport.shared_reports import SharedReports
from metaport.siblings import Siblings
from metaport.signers import Signers
from metaport.space_watch import SpaceWatch
from metaport.spending_caps import SpendingCaps
from metaport.tokens import Claims, TokenExpired, TokenInvalid, TokenRevoked, Tokens, TokenUndecided
from metaport.turn_log import TurnLogReader
from metaport.usage import LedgerReports, Shipper, price_book
from metaport.usage_log import UsageLog
from metaport.usage_privacy import usage_key, user_names
from metaport.usage_reconcile import reconcile_daily
from metaport.usage_retention import drop_old_details
from metaport.usage_storage import measure_stored
from metaport.webhooks import Secrets, Sender
from metering.errors import LedgerUnavailable, PriceBookError
from metering.meters import PEAK_USERS
from sfu.control import ControlError

logger = logging.getLogger(__name__)

# A renewed certificate is taken up within a day, without a restart.
RENEW_S = 86_400.0
TRIM_S = 5.0
# What is not carried into the database by then is at the next start: the log has it.
SHIP_S = 3.0
# A database that drops packets does not keep chat from starting.
DATABASE_DEADLINE_S = 2.0
# One that answers is waited for while its schema is made: seconds on a slow disk, and whoever
# came meanwhile would be told that rooms are away.
SCHEMA_DEADLINE_S = 60.0


def identity_of(claims: Claims) -> Identity:
    """Say in the chat's terms who a token speaks for."""
    return Identity(
        claims.user,
        claims.name,
        claims.roles,
        claims.rooms,
        claims.expires_at,
        claims.subscriptions,
        claims.token_id,
        claims.issued_at,
        claims.app,
    )


class TokenAuthenticator:
    """The chat's authenticator over the platform's tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def verify(self, token: str, now: float) -> Identity:
        """Turn a token into an identity. Raises `BadToken` and `TokenUndecided` of chatd."""
        try:
            claims = self._tokens.verify(token, now)
        except TokenExpired:
            raise chat.TokenExpired from None
        except TokenRevoked:
            raise chat.TokenRevoked from None
        except TokenUndecided as undecided:
            raise chat.TokenUndecided(int(undecided.retry_after_s * 1000)) from None
        except TokenInvalid:
            raise chat.BadToken from None
        return identity_of(claims)


def chat_limits(config: Config) -> Limits:
    """Turn the configuration of text, whose keys have the limits' names, into the hub's limits."""
    named = {key.name: getattr(config.chat, key.name) for key in fields(config.chat)}
    named.pop("guests")
    named.pop("guest_rooms")
    limits = Limits(**named)
    return limits.lifted() if config.bench else limits


async def run_hub(config: Config, stop: asyncio.Event, own: Node | None = None) -> None:
    """Serve chat, API and pages as hub `own` until `stop` is set, then drain.

    Without `own` it is the first hub of this machine.

    Raises:
        OSError: the port cannot be bound.
        LogError: the local log cannot be opened or replayed.
        DatabaseError: its URL is unknown, or its schema is not the one this program needs.
        NodeRefused: another hub on the same Redis has this one's name.
    """
    own = own or hub_node(config, 0)
    log = Log(own.log, segment_bytes=config.log.segment_bytes, fsync=config.log.fsync)
    try:
        ledger = SqlLedger(connect(config.database_url), config.usage.zone)
        try:
            await _try_ledger(ledger)
            await HubProcess(config, own, log, ledger).serve(stop)
        finally:
            await ledger.close()
    finally:
        log.close()


async def _try_ledger(ledger: SqlLedger) -> None:
    """Tell at once when the database is away; chat goes on and usage waits in the local log."""
    try:
        async with asyncio.timeout(DATABASE_DEADLINE_S):
            await reach(ledger.engine)
        async with asyncio.timeout(SCHEMA_DEADLINE_S):
            await ledger.prepare()
    except (DatabaseUnavailable, TimeoutError) as error:
        logger.error("the database is away: %s", error or "no answer")


class HubProcess:
    """One hub: chat, API, the usage shipper and the history writer over one log and database."""

    def __init__(self, config: Config, own: Node, log: Log, ledger: SqlLedger) -> None:
        self._config = config
        self._own = own
        self._log = log
        self._started_at = time.time()
        name_of = user_names(config)
        self._usage = UsageLog(log, own.name, time.time, name_of=name_of)
        self._minute_s = 0
        self._lag = LoopLag(asyncio.get_running_loop())
        self._revocations = Revocations()
        self._app_secrets = AppKeySecrets(app_key(config.secrets_dir))
        app_keys = AppKeyBook(self._app_secrets)
        self._signers = Signers(config, revoked=self._is_revoked, apps=app_keys)
        self._tokens = self._signers.tokens
        sfus = sfu_processes(config)
        # Also of those that are not started any more. One hub of a machine carries them all.
        sfu_logs = {*config.sfu_logs, *(sfu.log for sfu in sfus)} if own.number == 0 else ()
        others = {node_name(config, path.name): path for path in sfu_logs}
        self._shipper = Shipper(
            ledger, {own.name: log.directory, **others}, lambda: self._lag.loaded
        )
        self._ledger = ledger
        self._messages = messages = SqlMessages(ledger.engine)
        self._retired = RetiredLogs(config, ledger, messages)
        self._writer = HistoryWriter(messages, log.directory, own.name, lambda: self._lag.loaded)
        self._archive = HistoryArchive(messages, self._writer, self._gone)
        # Loaded once; one that is broken is tried again at the next question.
        self._book = cache(lambda: price_book(config))
        periods = Periods(ledger, usage_key(config))
        self._reports = LedgerReports(ledger, self._book, config.usage.zone, name_of, periods)
        # One pricing a minute serves both the caps and the budget.
        self._watched = SharedReports(ledger, self._book, config.usage.zone, periods)
        self._caps = SpendingCaps(
            config.usage.contract, self._watched, config.usage.zone, time.time
        )
        self._resources = MediaResources()
        # Sessions of revoked tokens on their way out; each leaves the set by itself.
        self._endings: set[asyncio.Task[None] | None] = set()
        self._relay = MediaRelay(
            placements_of(config),
            self._appear,
            self._resources.end,
            self._caps.refuses_media,
            lambda user, room: [what for what in self._desk.muted(user, room) if what != "text"],
        )
        self._directory = SfuDirectory(config, self._relay)
        self._backbone = backbone_of(config, log, name=own.name, lapsed=self._lapsed)
        # None where this hub counts what it orders.
        self._sent: SentShipper | None = None
        self._audit: HistoryAudit | None = None
        if isinstance(self._backbone, RedisBackbone):
            bus = self._backbone.bus
            self._audit = HistoryAudit(
                bus.streams,
                messages,
                self._laid_down,
                first=lambda: bus.registry.first,
                room_messages=Kept().room_messages,
            )
            self._sent = SentShipper(bus, ledger, bus.registry, name_of, said=self._audit.said)
        self._journal = chat_journal.ChatJournal(self._usage, orders=self._backbone.orders)
        self._webhooks = SqlWebhooks(ledger.engine)
        self._webhook_secrets = Secrets(webhook_key(config.secrets_dir))
        self._sender = Sender(self._webhooks, self._webhook_secrets, time.time)
        # Each hub reads its own log, the first one of a machine those of its SFUs.
        self._events = EventReader(self._webhooks, {own.name: log.directory, **others}, time.time)
        on_postgres = ledger.engine.dialect.name == "postgresql"
        self._direct = DirectPool(ledger.engine.url) if on_postgres else None
        self._room_store = SqlRooms(ledger.engine, self._direct)
        self._rooms = RoomWatch(
            self._room_store, RoomFile(own.file(config, "rooms")), self._backbone.signals
        )
        self._rooms.recall()
        self._friends = SqlFriends(ledger.engine)
        self._invitations = SqlInvitations(ledger.engine)
        self._space_store = SqlSpaces(ledger.engine)
        self._spaces = SpaceWatch(
            self._space_store, own.file(config, "spaces"), self._backbone.signals
        )
        self._spaces.recall()
        acts = SqlModeration(ledger.engine, self._webhooks)
        self._moderation = ModerationWatch(
            acts, ActFile(own.file(config, "moderation")), self._backbone.signals
        )
        self._moderation.recall()
        self._hub = Hub(
            self._backbone.bus,
            self._journal,
            TokenAuthenticator(self._tokens),
            media=self._relay,
            archive=self._archive,
            limits=chat_limits(config),
            neighbours=self._backbone.neighbours,
            online=self._backbone.online,
            book=self._rooms.book,
            guest_rooms=to(*config.chat.guest_rooms),
            caps=self._caps,
            moderation=self._moderation.book,
            spaces=self._spaces.book,
            comings_wanted=lambda: self._events.wants_people,
        )
        self._people = PeopleLog(log)
        self._people.begin(int(time.time() * 1000), self._hub.comings.present)
        self._desk = ModerationDesk(
            acts,
            self._moderation,
            self._backbone.errands,
            hub=self._hub,
            media=MediaModeration(self._relay.links),
            clock=time.time,
            node=own.name,
        )
        self._usage.settled_ms = self._hub.settled_ms
        self._hub.room_changed = self._review_media
        self._watch = RevocationWatch(
            self._revocations,
            SqlRevocations(ledger.engine),
            RevocationFile(own.file(config, "revocations")),
            self._backbone.signals,
            enforce=self._sign_out,
        )
        self._watch.recall()
        apps = SqlApps(ledger.engine)
        self._app_keys = AppKeyWatch(
            apps,
            app_keys,
            own.file(config, "app-keys"),
            self._backbone.signals,
            void=self._void,
        )
        self._app_keys.recall()
        self._identity = IdentityStores(
            SqlAccounts(ledger.engine),
            apps,
            SqlSessions(ledger.engine),
            Passwords(),
            LoginThrottle(),
            self._app_secrets,
            Eraser(
                Persons(ledger.engine),
                self._room_store,
                self._rooms.changed,
                name_of,
                time.time,
            ),
            self._app_keys.changed,
        )
        self._siblings = Siblings(
            own,
            hub_nodes(config),
            ready=lambda: not self._readiness().required,
            metrics=self._metrics,
        )
        self._gate = AddressGate()
        self._strikes = AddressLimit(BAD_TOKEN_PER_S, BAD_TOKEN_BURST)
        self._proxies = Proxies(config.http.trusted_proxies, config.http.forwarded == "forwarded")
        self._chat = ChatServer(
            self._hub, origins=config.http.origins, admit=self._admit, greeted=self._greeted
        )
        # Requests of a stream may come to any hub behind one address.
        streams = self._chat.streams
        self._stream_relay = StreamRelay(streams.name, self._backbone.signals, streams.take)
        streams.elsewhere = self._stream_relay
        self._rest_limit = RestLimit()
        self._api_key = api_key(config.secrets_dir)
        self._cursors = Cursors(self._api_key)
        self._idempotency = SqlIdempotency(ledger.engine)
        self._audit_log = SqlAudit(ledger.engine, self._direct)
        spool = AuditSpool(config.data.dir)
        self._audit_writer = AuditWriter(self._audit_log, spool)
        self._audit_keeper = AuditKeeper(
            self._audit_log,
            spool,
            Sealer(self._api_key),
            data_dir=config.data.dir,
            days=config.audit.days,
            clock=time.time,
        )
        # A class of 30 pupils behind one office address enters within a few seconds.
        self._guests = AddressLimit(20, 300)
        # WHIP and WHEP: a wall of screens behind one address, but not thousands of sessions.
        self._sessions = AddressLimit(5, 100)
        self._logins = AddressLimit(0.5, 10)
        # By user: an export of a room takes page after page.
        self._pages = AddressLimit(10, 100)
        # By user: direct rooms are opened one by one, by a person.
        self._openings = AddressLimit(0.2, 20)

    async def serve(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set, then drain.

        1. the listener closes
        2. connections are closed in waves with "reconnect at once"
        3. the last seconds and counters are written and shipped
        """
        config = self._config
        context = tls.server_context(config)
        runner = web.AppRunner(
            build_app(self._services()), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await runner.setup()
        site = web.TCPSite(
            runner,
            config.http.host,
            config.http.port,
            backlog=4096,
            ssl_context=context,
            # The kernel gives each connection to one of those that listen.
            reuse_port=config.hub.processes > 1 or None,
        )
        try:
            # Nobody comes in before it is known who may enter where, unless the database is away.
            watches = (self._rooms, self._moderation, self._spaces, self._events)
            await asyncio.gather(*(each.try_to_look(DATABASE_DEADLINE_S) for each in watches))
            await site.start()
            await self._siblings.start()
            await self._announce_sent()
            await self._backbone.start()
            self._backbone.errands.start()
            await self._directory.start()
            await self._signers.start()
            self._lag.start()
            spare_collections()
            async with background(
                follow_sfus=self._directory.follow(),
                ship=self._shipper.run(),
                ship_sent=self._ship_sent(),
                audit=self._audit_history(),
                write=self._writer.run(),
                read_events=self._events.run(),
                forget=self._forget(),
                forget_answers=self._forget_answers(),
                keep_audit=self._keep_audit(),
                retire=self._retire(),
                drop=drop_old_details(self._ledger, config.usage.detail_days, time.time),
                measure=self._measure(),
                tell=self._tell(),
                read_turn=self._read_turn(),
                mind_caps=self._caps.run(),
                reconcile=self._reconcile(),
                sync=keep_synced(self._log),
                checkpoint=every(HEARTBEAT_S, self._checkpoint),
                trim=every(TRIM_S, self._trim),
                follow_signers=self._signers.run(),
                follow_revocations=self._watch.run(),
                follow_rooms=self._rooms.run(),
                follow_app_keys=self._app_keys.run(),
                tidy=self._tidy(),
                follow_moderation=self._moderation.run(),
                follow_spaces=self._spaces.run(),
                renew=every(RENEW_S, lambda: tls.load_certificate(config, context)),
            ):
                logger.info("listening on %s:%d", config.http.host, config.http.port)
                failed = await self._until(stop)
                # Where several hubs share the port, the others get who comes from now on.
                await site.stop()
                # The rest of the promised time is for shipping the last figures.
                await self._chat.drain(config.drain_s * 0.8)
                if not self._hub.comings.present():
                    self._people.end()
            try:
                async with asyncio.timeout(max(SHIP_S, config.drain_s * 0.2)):
                    await self._ship_the_rest()
            except TimeoutError:
                logger.warning("the last figures and messages stay in the local log")
            if failed:
                raise RuntimeError(self._backbone.state)
        finally:
            self._stream_relay.close()
            await self._backbone.errands.close()
            await self._backbone.close()
            if self._direct is not None:
                await self._direct.close()
            self._lag.close()
            await self._relay.close()
            await runner.cleanup()
            await self._siblings.close()
            self._shipper.close()
            self._writer.close()
            self._events.close()

    async def _measure(self) -> None:
        # The directory and the database are those of all hubs of this machine.
        if self._own.number == 0:
            config, ledger = self._config, self._ledger
            name = self._own.name
            await measure_stored(ledger, ledger.engine, config.data.dir, name, time.time)

    async def _tell(self) -> None:
        """Watch the budget and send webhooks; once a machine, and safe to be done by several."""
        if self._own.number == 0:
            budget = BudgetWatch(
                self._config.usage.contract, self._watched, self._webhooks, time.time
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sender.run(), name="send-webhooks")
                group.create_task(budget.run(), name="watch-budget")

    async def _read_turn(self) -> None:
        if self._own.number == 0 and (path := self._config.turn.log) is not None:
            node = node_name(self._config, "turn")
            names = user_names(self._config)
            await TurnLogReader(path, self._ledger, node, time.time, names).run()

    async def _reconcile(self) -> None:
        if self._own.number == 0:
            await reconcile_daily(self._config, self._ledger, time.time)

    def _gone(self, room: str, epoch: str) -> AbstractSet[int]:
        return self._moderation.book.gone(room, epoch)

    def _lapsed(self, room: str) -> None:
        self._hub.lapsed(room)

    async def _until(self, stop: asyncio.Event) -> bool:
        """Wait until this process is to end; say whether because its backbone has failed.

        Raises:
            NodeRefused: another hub has this one's name.
        """
        stop_task = asyncio.create_task(stop.wait(), name="stop")
        failed_task = asyncio.create_task(self._backbone.failed(), name="backbone-failed")
        try:
            await asyncio.wait((stop_task, failed_task), return_when=asyncio.FIRST_COMPLETED)
            if failed_task.done():
                failed_task.result()
            return not stop_task.done()
        finally:
            for task in (stop_task, failed_task):
                task.cancel()
            await asyncio.gather(stop_task, failed_task, return_exceptions=True)

    async def _announce_sent(self) -> None:
        """Before this process's own log is shipped: no statement may be complete without it."""
        if self._sent is not None:
            try:
                async with asyncio.timeout(DATABASE_DEADLINE_S):
                    await self._sent.announce()
            except (LedgerUnavailable, TimeoutError) as error:
                logger.warning("counts of sent messages: %s", error or "no answer")

    async def _ship_sent(self) -> None:
        if self._sent is not None:
            await self._sent.run()

    def _laid_down(self, room: str) -> RoomSettings | None:
        return self._rooms.book.settings(room)

    async def _audit_history(self) -> None:
        if self._audit is not None:
            await self._audit.run()

    def _checkpoint(self) -> None:
        if (minute_s := int(time.time()) // 60 * 60) != self._minute_s:
            self._minute_s = minute_s
            self._usage.gauge(PEAK_USERS, minute_s, self._hub.users)
        self._usage.write()

    def _trim(self) -> None:
        # A job of its own: on a full disk nothing can be written, and this is what makes room.
        needed = self._backbone.needed_from()
        in_history = self._writer.stored or 0  # nothing is known to be there yet
        kept_from = in_history if needed is None else min(needed, in_history)
        kept = {
            name: position
            for name in self._shipper.logs
            if (position := self._events.position(name)) is not None
        }
        kept[self._own.name] = min(kept_from, kept.get(self._own.name, kept_from))
        self._shipper.trim(kept)

    async def _retire(self) -> None:
        if self._own.number == 0:
            await self._retired.run()

    async def _forget(self) -> None:
        if self._config.history.days:
            await forget_old(self._messages, self._config.history.days, time.time)

    async def _keep_audit(self) -> None:
        if self._own.number == 0:
            await self._audit_keeper.run()

    async def _forget_answers(self) -> None:
        if self._own.number == 0:
            await forget_answers(self._idempotency, time.time)

    async def _ship_the_rest(self) -> None:
        try:
            self._usage.write()
        except LogError as error:
            logger.error("%s", error)
        try:
            await self._shipper.ship()
        except (LedgerUnavailable, LogError, OSError) as error:
            logger.warning("usage stays in the local log until the next start: %s", error)
        try:
            await self._writer.write()
        except (DatabaseError, LogError, OSError) as error:
            logger.warning("messages stay in the local log until the next start: %s", error)

    async def _tidy(self) -> None:
        while self._own.number == 0:
            try:
                await self._identity.tidy(time.time())
            except DatabaseError as error:
                logger.warning("sessions that are over stay for now: %s", error)
            await asyncio.sleep(TIDY_S)

    def _void(self, key_id: str) -> None:
        """Sign out whoever is here by the key of an app that is void now."""
        self._revocations.add(of_token_id(key_id, time.time()))
        self._sign_out()

    def _is_revoked(self, claims: Claims) -> bool:
        return self._revocations.covers(claims.user, claims.token_id, claims.issued_at)

    def _sign_out(self) -> None:
        """Close whoever is here by a token that is void now: connections, WHIP and WHEP."""
        void = self._revocations.covers
        closed = self._hub.sign_out(
            lambda identity: void(identity.user_id, identity.token_id, identity.issued_at)
        )
        sessions = self._resources.made_by(void)
        self._end_sessions(sessions)
        logger.info("tokens revoked: %d connections, %d sessions end", closed, len(sessions))

    def _review_media(self, room: str) -> None:
        """End the WHIP and WHEP sessions of a room that may not be in it any more."""
        refused = []
        for participant, resource in self._resources.in_room(room):
            try:
                self._hub.admit(identity_of(resource.claims), room, resource.right)
            except chat.Refused as reason:
                # Who is in stays in while nothing is known.
                if reason.refusal is not chat.ROOMS_AWAY:
                    refused.append(participant)
        if refused:
            self._end_sessions(refused)
            logger.info("%r has other settings: %d media sessions end", room, len(refused))

    def _end_sessions(self, participants: Sequence[str]) -> None:
        for participant in participants:
            self._resources.end(participant)
            self._endings.add(asyncio.create_task(self._end_media(participant), name="end media"))

    async def _end_media(self, participant: str) -> None:
        try:
            await self._relay.request_http("delete", participant=participant)
        except (SfuAway, ControlError) as error:
            logger.warning("a media session that was to end may go on: %s", error)
        finally:
            self._endings.discard(asyncio.current_task())

    def _audited(self) -> dict[str, tuple[str, float]]:
        if self._audit is None:
            return {}
        return {
            "history_copied": ("Messages a hub died over, from Redis", self._audit.copied),
            "history_trimmed": ("Messages Redis trimmed before that", self._audit.trimmed),
        }

    def _recovered(self, room: str, user: str, count: int) -> None:
        at_ms = int(time.time() * 1000)
        self._journal.commit([MessagesRecovered(room, user, count, at_ms)])

    def _appear(self, member: Member) -> None:
        """Know a WHIP or WHEP session that began before this process did."""
        presence = self._hub.attach(member["room"], member["user"], member["name"])
        # Its token is not known any more: what is revoked from now on ends it, and a change of the
        # room does where the user as such may not be in it.
        unknown = Claims(
            member["user"], member["name"], frozenset(), None, float("inf"), issued_at=time.time()
        )
        self._resources.add(member["participant"], unknown, member["room"], Rights.READ, presence)

    def _services(self) -> Services:
        config = self._config
        return Services(
            config=config,
            clock=time.time,
            started_at=self._started_at,
            trusted=self._proxies,
            tokens=self._tokens,
            sfu=self._relay,
            reports=self._reports,
            archive=self._archive,
            recovered=self._recovered,
            resources=self._resources,
            revoke=self._watch.revoke,
            chat=self._chat.handle,
            open_stream=self._chat.streams.open,
            post_to_stream=self._chat.streams.post,
            attach=self._hub.attach,
            enter=self._enter,
            webhooks=self._webhooks,
            webhook_secrets=self._webhook_secrets,
            room_store=self._room_store,
            rooms_changed=self._rooms.changed,
            present=self._hub.present,
            moderation=self._desk,
            friend_store=self._friends,
            invitations=self._invitations,
            space_store=self._space_store,
            spaces_changed=self._spaces.changed,
            wait_for_room=self._unless_bench(self._openings.wait_s),
            identity=self._identity,
            openid=None if config.oidc.issuer is None else OpenIdClient(config.oidc),
            check_admin=lambda user, password: admin.check(config.secrets_dir, user, password),
            wait_for_guest=self._unless_bench(self._guests.wait_s),
            wait_for_media=self._unless_bench(self._sessions.wait_s),
            wait_for_login=self._logins.wait_s,
            wait_for_bad_token=self._unless_bench(self._strikes.wait_s),
            wait_for_page=self._unless_bench(self._pages.wait_s),
            rest_limit=None if config.bench else self._rest_limit,
            cursors=self._cursors,
            audit=self._audit_writer.write,
            audit_log=self._audit_log,
            once=Once(self._idempotency, self._api_key, time.time),
            readiness=self._readiness,
            status=self._status,
            metrics=self._siblings.metrics,
        )

    def _enter(self, claims: Claims, raw: str, right: Rights, *, attends: bool = False) -> str:
        room = unicodedata.normalize("NFC", raw)
        if not is_room_name(room):
            raise chat.Refused(chat.BAD_ROOM)
        self._hub.admit(identity_of(claims), room, right, attends=attends)
        if attends and self._caps.refuses_media(room):
            raise chat.Refused(chat.OVER_BUDGET)
        return room

    def _admit(self, request: web.Request) -> float:
        """Return the seconds after which this address may shake hands, 0.0 for now."""
        return self._unless_bench(self._gate.wait_s)(client_address(request, self._proxies))

    def _greeted(self, request: web.Request) -> Callable[[bool], None]:
        return self._gate.greeted(client_address(request, self._proxies))

    def _unless_bench(self, wait_s: Callable[[str], float]) -> Callable[[str], float]:
        return (lambda _: 0.0) if self._config.bench else wait_s

    def _readiness(self) -> Readiness:
        degraded = {}
        if away := self._relay.away():
            degraded["media"] = f"away: {', '.join(away)}"
        if self._watch.failing is not None:
            degraded["revocation"] = self._watch.failing
        if self._rooms.failing is not None:
            degraded["rooms"] = self._rooms.failing
        if self._moderation.failing is not None:
            degraded["moderation"] = self._moderation.failing
        if self._app_keys.failing is not None:
            degraded["app_keys"] = self._app_keys.failing
        if self._spaces.failing is not None:
            degraded["spaces"] = self._spaces.failing
        if self._signers.failing is not None:
            degraded["signers"] = self._signers.failing
        if self._shipper.failing is not None:
            degraded["ledger"] = self._shipper.failing
        if self._caps.failing is not None:
            degraded["caps"] = self._caps.failing
        if self._events.failing is not None:
            degraded["events"] = self._events.failing
        if self._audit_keeper.failing is not None:
            degraded["audit"] = self._audit_keeper.failing
        if self._sender.failing is not None:
            degraded["webhooks"] = self._sender.failing
        if self._writer.failing is not None:
            degraded["history"] = self._writer.failing
        if self._retired.failing is not None:
            degraded["retired"] = self._retired.failing
        if self._audit is not None and self._audit.failing is not None:
            degraded["audit"] = self._audit.failing
        try:
            self._book()
        except PriceBookError as error:
            degraded["prices"] = str(error)
        if self._backbone.concern is not None:
            degraded["durability"] = self._backbone.concern
        if self._sent is not None and self._sent.failing is not None:
            degraded["sent"] = self._sent.failing
        required = {} if self._usage.failing is None else {"log": self._usage.failing}
        if self._backbone.state is not None:
            required["bus"] = self._backbone.state
        if self._hub.draining:
            required["hub"] = "draining"
        losses = self._backbone.losses
        return Readiness(required, degraded, {} if losses is None else {"durability": losses})

    async def _status(self) -> dict[str, Any]:
        stats = await self._relay.stats()
        answered = [each for each in stats.values() if each is not None]
        counters = self._hub.counters
        state = self._readiness()
        return {
            "connections": counters.connections,
            "rooms": counters.rooms,
            "messages": counters.messages_in,
            "participants": sum(each["participants"] for each in answered),
            "media": len(answered) > 0,
            "failing": state.required,
            "degraded": state.degraded,
            "ledger_as_of": min(self._as_of_s(), default=None),
        }

    def _as_of_s(self) -> list[int]:
        """Return up to when the ledger has what this process carries there, by reader."""
        sent = None if self._sent is None else self._sent.as_of_s
        return [*self._shipper.as_of_s.values(), *([] if sent is None else [sent])]

    async def _metrics(self) -> tuple[bytes, str]:
        stats = await self._relay.stats()
        as_of_s = min(self._as_of_s(), default=self._started_at)
        counters = self._hub.counters
        reading = Reading(
            chat={name: getattr(counters, name) for name in (*CHAT, *CHAT_BY)},
            sfus=stats,
            gauges={
                "loop_lag_seconds": ("Worst lateness of the hub's loop", self._lag.take_worst_s()),
                "loop_busy_ratio": ("Part of the time the hub's loop works", self._lag.busy),
                "ledger_lag_seconds": ("Age of the ledger's figures", time.time() - as_of_s),
                "log_failures": ("Refused writes of the local log", self._usage.failures),
                **self._audited(),
            },
            lag={
                "log_lag_bytes": self._shipper.lag_bytes(),
                "history_lag_bytes": {self._own.name: self._writer.lag_bytes()},
            },
        )
        return expose(reading)
