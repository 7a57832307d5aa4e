"""The bus of several processes: Redis orders, keeps, counts and fans out.

1. `RedisBus.publish` packs drafts into parcels and puts each into the lane of its partition
   (`redis_lane`); lanes that have no batch under way make one.
2. A courier per node (`redis_courier`) carries everything of a loop iteration in one pipeline.
   `ordering.lua` does all of it in one call: repeats, epoch and offset, stream, count, publish.
3. The answer gives each draft its place; other processes hear the publication
   (`redis_subscriber`). Both go through the room's `mirror.Mirror`, which lets them out in order.
4. Once per loop iteration the listener gets what is in order, and the receipts of what it has
   got: it stores, acknowledges and delivers.

**A receipt is given for what Redis has answered and the listener has stored; a refusal for what
was certainly not done, or is certainly lost; until either is certain, neither.**

Not supported: reading from replicas, RESP3, moving a room between partitions.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chatd.bus import Answer as AnswerRead
from chatd.bus import BusListener, Clock, Draft, Publication, Receipt
from chatd.errors import BUS_AWAY, BusAway, FactsRefused, Refused
from chatd.facts import RoomOpened
from chatd.history import Entry
from chatd.mirror import Mirror, Question
from chatd.redis_courier import Courier, Errand
from chatd.redis_lane import Lane
from chatd.redis_link import RedisSilent, RedisUnreachable, link_to
from chatd.redis_options import RedisOptions
from chatd.redis_registry import Registry
from chatd.redis_script import (
    WINDOW_S,
    Answer,
    Command,
    Head,
    Ordered,
    Parcel,
    Partition,
    Place,
    SentCount,
    decode_answer,
    decode_head,
    decode_message,
    parcel_of,
    place_of,
    publish_command,
    read_command,
    sent_bytes_key,
    sent_counts,
    sent_key,
)
from chatd.redis_signals import RedisSignals
from chatd.redis_standing import ASK, Standing, lines_of, shortfall, standing_of, weakest
from chatd.redis_streams import Streams
from chatd.redis_subscriptions import Subscriptions
from chatd.wire import MSGPACK, Message, Since

_log = logging.getLogger("chatd.redis")

# Told to those whose drafts are refused; Redis comes back within seconds, or not soon.
_RETRY_MS = 2000

# Delivered, written, read, said: so many loop iterations pass until answers to a message are
# drafts. What waits goes with them; two batches that take turns would be two writes to everybody,
# and took twice the CPU for a delivery in a room of 1,000 with 8 under way.
_REST = 5

# Two pipelines to a node at a time: this process works while Redis does. Lanes of a server that
# is no cluster, so that both have something to carry; in a cluster each partition is one.
_TRACKS = 2
_LANES = 4


def _fresh() -> str:
    return secrets.token_hex(6)


class RedisBus:
    """A `chatd.bus.Bus` on Redis 7 or newer, or Valkey. All of it in one event loop.

    `start` first, `close` last. `state` is None while everything works, else a sentence. `broke` is
    called when one of the tasks here dies of a bug: nothing is taken any more, and the process is
    to be started again. `name` and `home` are what `registry` tells of this process.
    `lapsed` is called with a room whose members here have lost their place, because its epoch
    has changed or messages they missed are no longer kept: they must join again. What comes
    after is in order from there.

    Unlike `LocalBus` it cannot take back what is ordered: while the listener refuses a batch,
    the batch waits and drafts are refused. The key of a publication is known only where it was
    accepted. A room must be subscribed to when it is read.

    Guarantee: `Bus`'s, as far as `Durability` says. Epochs change when a room's place is gone, or
    when Redis has a new replication id: every promotion and every restart draws one. (A run id
    would not tell a promotion. A volatile mark on the server would not tell A to B to A while
    nobody spoke, and offsets known to processes die with them.) With `appendfsync="always"` a
    restart that read the append-only file keeps its epochs, and a slot that moves between nodes of
    a cluster does too. A coordinated fail-over that lost nothing, or an hour without the last
    replica, also draws an id: clients then page over history where they might have recovered.
    """

    def __init__(
        self,
        url: str,
        *,
        lapsed: Callable[[str], None],
        options: RedisOptions | None = None,
        clock: Clock = time,
        name: str = "",
        home: str = "",
        broke: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options or RedisOptions()
        self._lapsed = lapsed
        self._clock = clock
        self._link = link_to(url, self._options.prefix, self._options.times)
        # Names this process's lanes and publications; never used again.
        self._process = _fresh()
        self._origin = self._process.encode()
        self.process = self._process
        self._broke = broke
        self._subscriptions = Subscriptions(
            self._link,
            process=self._process,
            times=self._options.times,
            ears=self,
            ended=self._on_end,
        )
        self.gone: Callable[[str], None] = lambda process: None
        """Called with the id of a process that has gone; replace it before `start`."""
        self.registry = Registry(
            self._link,
            process=self._process,
            name=name or self._process,
            home=home or self._process,
            gone=self._on_gone,
            now=clock.monotonic,
        )
        # Beats; None until `start`, ended by `close`.
        self._beat_task: asyncio.Task[None] | None = None
        self.signals = RedisSignals(self._link, self._subscriptions, self._origin)
        """News between the processes on this Redis."""
        self.streams = Streams(self._link)
        """What Redis still has of rooms."""
        # By node and track.
        self._couriers: dict[tuple[str, int], Courier] = {}
        # One per courier; ended by `close`.
        self._run_tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        # Looks at the topology; None until `start`, ended by `close`.
        self._attend_task: asyncio.Task[None] | None = None
        self._topology_doubted = asyncio.Event()
        self._lanes_each = 1 if self._link.sharded else _LANES
        self._lanes = [
            Lane(partition, partition.index * self._lanes_each + index)
            for partition in self._link.partitions
            for index in range(self._lanes_each)
        ]
        # Rooms subscribed to, least recently published first.
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._by_channel: dict[bytes, Mirror] = {}
        self._places: dict[str, Place] = {}
        self._gapped: dict[str, Mirror] = {}
        # When each room is compared with its stream, soonest first.
        self._looks: deque[tuple[float, Mirror]] = deque()
        self._tail_bytes = 0
        # For the listener, gathered within a loop iteration.
        self._publications: list[Publication] = []
        self._receipts: list[Receipt] = []
        self._deliver_scheduled = False
        self._withheld: FactsRefused | None = None
        # Server time minus ours; from every answer.
        self._skew_s = 0.0
        self._concern: str | None = None
        self.standing: Standing | None = None
        """What the servers say of their durability, the least of all; None: not asked yet."""
        # Replication ids of all primaries of a cluster, as the last look found them.
        self._peers = ""
        self._unreachable: str | None = "not connected to Redis yet"
        # Why a task here has died.
        self._broken: str | None = None
        self._listener: BusListener | None = None
        self._closed = False
        self._batch_settled = asyncio.Event()

    # Life.

    async def start(self) -> None:
        """Begin to connect; returns at once, `state` tells when it has."""
        self._attend_task = asyncio.create_task(self._attend(), name="redis-topology")
        self._beat_task = asyncio.create_task(self.registry.run(), name="redis-registry")
        for task in (self._attend_task, self._beat_task):
            task.add_done_callback(self._on_end)

    async def close(self) -> None:
        """Wait a little for what is under way, then let go of Redis."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.times.reply_s):
                while any(lane.batch is not None for lane in self._lanes):
                    self._batch_settled.clear()
                    await self._batch_settled.wait()
        self._deliver()
        tasks = list(self._run_tasks.values())
        tasks += [task for task in (self._attend_task, self._beat_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.signals.close()
        if self._unreachable is None:
            await self.registry.leave()
        await self._subscriptions.close()
        await self._link.close()

    @property
    def state(self) -> str | None:
        """What is wrong, as a sentence; None when messages flow both ways."""
        if self._broken is not None:
            return self._broken
        if self._unreachable is not None:
            return self._unreachable
        for courier in self._couriers.values():
            if courier.away is not None:
                return courier.away
        if self._withheld is not None:
            return f"messages wait because facts are not stored ({self._withheld})"
        return self._subscriptions.fault

    @property
    def concern(self) -> str | None:
        """Say where Redis is less durable than was promised; messages flow all the same."""
        return self._concern

    @property
    def rooms(self) -> int:
        """Rooms subscribed to."""
        return len(self._mirrors)

    @property
    def history_bytes(self) -> int:
        """Payload bytes kept here for recovery."""
        return self._tail_bytes

    # The port.

    def listen(self, listener: BusListener) -> None:
        self._listener = listener

    def subscribe(self, room: str) -> None:
        if room in self._mirrors:
            return
        kept = self._options.kept
        place = place_of(room, self._link.partitions)
        self._places[room] = place
        self._mirrors[room] = mirror = Mirror(room, kept.room_messages, kept.room_bytes)
        self._by_channel[place.channel] = mirror
        self._subscriptions.want(place.channel, place.partition)
        self._looks.append((self._clock.monotonic() + self._options.times.position_s, mirror))

    def unsubscribe(self, room: str) -> None:
        mirror = self._mirrors.pop(room, None)
        if mirror is None:
            return
        place = self._places.pop(room)
        del self._by_channel[place.channel]
        self._gapped.pop(room, None)
        self._subscriptions.unwant(place.channel)
        self._tail_bytes -= mirror.forget()
        publications, receipts = mirror.abandon()
        self._give(publications, receipts)
        for question in mirror.questions:
            question.answer(_away())
        mirror.questions.clear()

    def publish(self, drafts: Sequence[Draft]) -> None:
        refused: list[Draft] = []
        lanes: dict[int, Lane] = {}
        waiting_bytes = sum(lane.waiting_bytes for lane in self._lanes)
        for draft in drafts:
            place = self._places.get(draft.room) or place_of(draft.room, self._link.partitions)
            lane = self._lane_of(place)
            if self._refusing(lane) or waiting_bytes > self._options.kept.waiting_bytes:
                refused.append(draft)
                continue
            parcel = parcel_of(draft, place)
            waiting_bytes += parcel.size_bytes
            lane.add(parcel)
            lanes[lane.number] = lane
        for lane in lanes.values():
            self._dispatch(lane)
        if refused:
            full = self._withheld is not None and self._unreachable is None
            reason = self.state or "too many messages wait for Redis"
            self._refuse(refused, reason, FactsRefused if full else BusAway)

    def read(self, room: str, since: Since | None, history: int, answer: AnswerRead) -> None:
        mirror = self._mirrors[room]
        # A page must not tell what the listener, and so everybody else, has not got yet.
        self._deliver()
        page = mirror.page(since, history) if self._withheld is None else None
        if page is not None:
            answer(page)
            return
        deadline = self._clock.monotonic() + self._options.times.join_s
        mirror.questions.append(Question(since, history, answer, deadline))
        self._read(mirror)

    def sweep(self, now: float) -> None:
        for mirror in list(self._mirrors.values()):
            if mirror.questions:
                late = [question for question in mirror.questions if now >= question.deadline]
                mirror.questions = [q for q in mirror.questions if now < q.deadline]
                for question in late:
                    question.answer(_away())
                if not mirror.epoch and not mirror.questions:
                    self._give(*mirror.abandon())
        self._compare(now)
        for mirror in self._mirrors.values():
            if self._tail_bytes <= self._options.kept.process_bytes:
                return
            self._tail_bytes -= mirror.forget()

    # For metering.

    def utc_s(self) -> float:
        """Return the time of the server, by its last answer."""
        return self._clock.time() + self._skew_s

    async def sent_counts(self, since_s: float, until_s: float | None = None) -> list[SentCount]:
        """Return what was accepted in every window that ends after `since_s` (UTC).

        Each is the total of its window so far; ask until the window has passed by more than the
        longest outage, at most `Kept.sent_s` later. Windows that begin at `until_s` or later are
        left out.

        Raises:
            RedisUnreachable, RedisSilent: ask again.
        """
        end_s = int(self.utc_s()) + 1 if until_s is None else int(until_s)
        windows = range(int(since_s) // WINDOW_S * WINDOW_S, end_s, WINDOW_S)
        by_node: dict[str, list[Partition]] = {}
        for partition in self._link.partitions:
            by_node.setdefault(self._link.node(partition), []).append(partition)
        counts: list[SentCount] = []
        for node, of_node in by_node.items():
            asked = [(window, partition) for window in windows for partition in of_node]
            commands = [
                ("HGETALL", key(partition, window))
                for window, partition in asked
                for key in (sent_key, sent_bytes_key)
            ]
            replies = await self._link.send(node, commands)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise RedisUnreachable(str(reply))
            for (window, _), sent, sizes in zip(asked, replies[::2], replies[1::2], strict=True):
                counts += sent_counts(window, sent, sizes)
        return counts

    # What the subscriptions hear.

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take a publication of any process."""
        mirror = self._by_channel.get(channel)
        if mirror is None:
            self.signals.heard(channel, payload)
            return
        epoch_bytes, offset_digits, origin, packed = payload.split(b" ", 3)
        # Our own comes with the answer as well, which has the body and the key.
        if origin == self._origin:
            return
        epoch, offset = epoch_bytes.decode(), int(offset_digits)
        if not mirror.knows(epoch, offset):
            self._take(mirror, _publication(epoch, packed))

    def confirmed(self, channel: bytes) -> None:
        """Read what was missed before the subscription, if anybody needs the room."""
        mirror = self._by_channel.get(channel)
        if mirror is None:
            self.signals.confirmed(channel)
        elif mirror.epoch or mirror.questions:
            mirror.behind = True
            self._read(mirror)

    def deafened(self, channels: Iterable[bytes]) -> None:
        """Nothing to do: every channel is read again when it is confirmed again."""

    def moved(self) -> None:
        """Look which node serves what now."""
        self._topology_doubted.set()

    # Reading rooms.

    def _compare(self, now: float) -> None:
        """Read the rooms that are due: whoever is connected gets what was missed."""
        while self._looks and self._looks[0][0] <= now:
            _, mirror = self._looks.popleft()
            if self._mirrors.get(mirror.room) is mirror:
                self._looks.append((now + self._options.times.position_s, mirror))
                if mirror.epoch:
                    mirror.behind = True
                    self._read(mirror)

    def _read(self, mirror: Mirror) -> None:
        if mirror.reading or self._closed:
            return
        place = self._places[mirror.room]
        # A first reading before the subscription would leave a gap between them.
        if not mirror.epoch and not self._subscriptions.is_confirmed(place.channel):
            return
        mirror.reading = True
        self._route(_Reading(self, mirror, place))

    def _needed(self, mirror: Mirror) -> tuple[Since | None, int]:
        """Return what one reading must bring for everybody: the farthest since, most history."""
        sinces = [question.since for question in mirror.questions if question.since is not None]
        history = max((q.history for q in mirror.questions if q.since is None), default=0)
        if mirror.epoch:
            sinces.append(Since(mirror.epoch, mirror.offset))
        current = [since for since in sinces if since.epoch == mirror.epoch]
        if mirror.epoch or not sinces:
            return min(current, key=lambda since: since.offset, default=None), history
        # Before the first reading any epoch may be the right one; most people have the same.
        epochs = [since.epoch for since in sinces]
        common = max(set(epochs), key=epochs.count)
        return (
            min((s for s in sinces if s.epoch == common), key=lambda since: since.offset),
            history,
        )

    def _loaded(self, mirror: Mirror, lane: Lane, peers: str, reply: Sequence[bytes]) -> None:
        head = decode_head(reply[0])
        self._learn(lane, head, peers)
        if self._mirrors.get(mirror.room) is not mirror:
            return
        first = head.offset - len(reply) + 2
        entries = [Entry(first + index, packed) for index, packed in enumerate(reply[1:])]
        if head.opened and self._listener is not None:
            self._listener.opened(RoomOpened(mirror.room, head.epoch))
        before_bytes = mirror.tail.size_bytes
        lapsed, ready = mirror.load(
            head.epoch, head.offset, entries, lambda packed: _publication(head.epoch, packed)
        )
        self._tail_bytes += mirror.tail.size_bytes - before_bytes
        if lapsed:
            self._deliver()
            self._lapsed(mirror.room)
        lost = [receipt.draft for receipt in mirror.forsake()]
        if lost:
            self._refuse(lost, "Redis lost the message")
        self._give(ready, mirror.release())
        # What was in order before must be with the listener before the room's place is told.
        self._deliver()
        self._answer(mirror)

    def _answer(self, mirror: Mirror) -> None:
        if self._withheld is not None:
            return
        questions, mirror.questions = mirror.questions, []
        for question in questions:
            page = mirror.page(question.since, question.history)
            nowhere = question.placed and mirror.is_elsewhere(question.since)
            if page is None and (question.read or nowhere):
                # Redis was asked for all of it and has no more.
                page = mirror.best_page(question.since, question.history)
            if page is None:
                mirror.questions.append(question)
            else:
                question.answer(page)
        if mirror.questions:
            self._read(mirror)

    # Ordering.

    def _lane_of(self, place: Place) -> Lane:
        first = place.partition.index * self._lanes_each
        return self._lanes[first + place.spread % self._lanes_each]

    def _dispatch(self, lane: Lane) -> None:
        if not lane.rest and lane.next_batch() is not None:
            self._route(_Publishing(self, lane))

    def _rest(self, lane: Lane) -> None:
        """Let the answers to what was just settled into the next batch."""
        if self._closed:
            lane.rest = 0
        else:
            lane.rest -= 1
        if lane.rest:
            asyncio.get_running_loop().call_soon(self._rest, lane)
        else:
            self._dispatch(lane)

    def _settled(self, lane: Lane, peers: str, reply: bytes) -> None:
        answer = decode_answer(reply)
        self._learn(lane, answer, peers)
        if answer.places == "clock":
            lane.again()
            self._route(_Publishing(self, lane))
            return
        parcels = lane.settled()
        self._batch_settled.set()
        if isinstance(answer.places, str):
            self._refuse([parcel.draft for parcel in parcels], "Redis lost the message")
        else:
            for parcel, place in zip(parcels, answer.places, strict=True):
                self._place(parcel, place)
        lane.rest = _REST
        self._rest(lane)

    def _place(self, parcel: Parcel, place: Ordered) -> None:
        draft = parcel.draft
        if place.outcome == "refused":
            _log.warning("Redis takes no messages: %s", place.epoch)
            self._refuse([draft], place.epoch, FactsRefused)
            return
        receipt = Receipt(draft, place.offset, f"{place.epoch}-{place.offset}", place.at_ms)
        mirror = self._mirrors.get(draft.room)
        if place.outcome == "repeat":
            receipt.repeat = True
            # Who accepted it first may have died between Redis and its own log.
            if mirror is not None and mirror.epoch and mirror.epoch != place.epoch:
                # Its stream went with its epoch: what is sent again is the only copy at hand.
                receipt.epoch = place.epoch
                receipt.unkept = _publication_of(draft, place, receipt)
            elif mirror is not None:
                receipt.unkept = mirror.copy(place.epoch, place.offset, _own_publication)
            self._give((), (receipt,))
            return
        publication = _publication_of(draft, place, receipt)
        if mirror is None or not (mirror.epoch or mirror.questions):
            self._give((publication,), (receipt,))  # they have left: nobody here listens
            return
        if not mirror.knows(place.epoch, place.offset):
            self._take(mirror, publication)
        elif not mirror.claim(publication):
            receipt.unkept = publication
        if mirror.wait(place.epoch, receipt):
            self._watch_gap(mirror)
        else:
            self._give((), (receipt,))

    def _unsettled(self, lane: Lane, reason: str) -> None:
        self._refuse([parcel.draft for parcel in lane.settled()], reason)
        self._dispatch(lane)

    # Through the mirrors to the listener.

    def _take(self, mirror: Mirror, publication: Publication) -> None:
        before_bytes = mirror.tail.size_bytes
        ready = mirror.receive(publication)
        if ready:
            self._tail_bytes += mirror.tail.size_bytes - before_bytes
            self._mirrors.move_to_end(mirror.room)
            self._give(ready, mirror.release())
        elif mirror.behind:
            self._read(mirror)
        elif mirror.gapped:
            self._watch_gap(mirror)

    def _watch_gap(self, mirror: Mirror) -> None:
        if not self._gapped:
            asyncio.get_running_loop().call_later(self._options.times.gap_s, self._heal)
        self._gapped.setdefault(mirror.room, mirror)

    def _heal(self) -> None:
        """Read every room that still misses something."""
        gapped, self._gapped = self._gapped, {}
        for mirror in gapped.values():
            if mirror.gapped:
                mirror.behind = True
                self._read(mirror)

    def _give(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        self._publications += publications
        self._receipts += receipts
        if (publications or receipts) and not self._deliver_scheduled:
            self._deliver_scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._deliver_scheduled = False
        if self._withheld is not None:
            return
        publications, self._publications = self._publications, []
        receipts, self._receipts = self._receipts, []
        if not publications and not receipts:
            return
        assert self._listener is not None, "listen() comes first"
        try:
            self._listener.ordered(publications, receipts)
        except FactsRefused as refusal:
            # They are ordered and stay so: offer them again before anything later.
            self._publications[:0] = publications
            self._receipts[:0] = receipts
            self._withheld = refusal
            asyncio.get_running_loop().call_later(refusal.retry_after_ms / 1000, self._offer_again)

    def _offer_again(self) -> None:
        self._withheld = None
        self._deliver()
        for mirror in list(self._mirrors.values()):
            self._answer(mirror)

    # Refusing.

    def _refusing(self, lane: Lane) -> bool:
        if (
            self._closed
            or self._broken is not None
            or self._withheld is not None
            or self._unreachable is not None
        ):
            return True
        node = self._link.node(lane.partition)
        courier = self._couriers.get((node, lane.number % _TRACKS))
        if courier is not None and courier.away is not None:
            return True
        return self._subscriptions.unanswered(node)

    def _fled(self, courier: Courier, sentence: str) -> None:
        """Refuse what was certainly not sent; what may have been done waits for its outcome."""
        for lane in self._lanes:
            node = self._link.node(lane.partition)
            if (node, lane.number % _TRACKS) == (courier.node, courier.track):
                drafts = [parcel.draft for parcel in lane.give_up()]
                if drafts:
                    self._refuse(drafts, sentence)

    def _refuse(
        self, drafts: Sequence[Draft], reason: str, why: type[FactsRefused] = BusAway
    ) -> None:
        assert self._listener is not None, "listen() comes first"
        self._listener.refused(drafts, why(reason, _RETRY_MS))

    # Nodes.

    def _route(self, errand: Errand) -> None:
        node = self._link.node(errand.partition)
        key = (node, errand.track)
        courier = self._couriers.get(key)
        if courier is None:
            self._couriers[key] = courier = Courier(
                node,
                errand.track,
                self._link,
                durability=self._options.durability,
                times=self._options.times,
                route=self._route,
                fled=self._fled,
                doubt=self._topology_doubted.set,
            )
            name = f"redis-courier-{node}-{errand.track}"
            self._run_tasks[key] = asyncio.create_task(courier.run(), name=name)
            self._run_tasks[key].add_done_callback(self._on_end)
        courier.add(errand)

    def _on_gone(self, process: str) -> None:
        self.gone(process)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Notice a task that has died of a bug; none of them ever ends but by `close`."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.critical("%s has died", task.get_name(), exc_info=error)
        self._broken = f"{task.get_name()} has died ({type(error).__name__}); restart this process"
        self._broke()

    async def _attend(self) -> None:
        """Connect, and look again whenever somebody doubts the topology."""
        first, longest = self._options.times.retry_s
        pause_s = first
        while True:
            self._topology_doubted.clear()
            try:
                await self._link.refresh()
                await self._examine()
            except (RedisUnreachable, RedisSilent) as error:
                if self._unreachable is not None:
                    self._unreachable = f"Redis does not answer ({error})"
                await asyncio.sleep(pause_s)
                pause_s = min(longest, pause_s * 2)
                continue
            self._unreachable = None
            pause_s = first
            self._subscriptions.arrange()
            self._relieve()
            await self._topology_doubted.wait()
            # A slot on the move is told with every channel in it.
            await asyncio.sleep(first)

    def _relieve(self) -> None:
        """Let go of couriers to nodes that serve nothing any more."""
        served = {self._link.node(partition) for partition in self._link.partitions}
        for key in [key for key in self._couriers if key[0] not in served]:
            courier = self._couriers.pop(key)
            self._run_tasks.pop(key).cancel()
            for errand in courier.dismiss():
                self._route(errand)

    async def _examine(self) -> None:
        """Compare the server with what was promised about it."""
        standings: list[Standing] = []
        ids: set[str] = set()
        failure: Exception | None = None
        for node in {self._link.node(partition) for partition in self._link.partitions}:
            try:
                info, settings = await self._link.send(node, ASK)
            except (RedisUnreachable, RedisSilent) as error:
                failure = error  # its courier says so; the other nodes are served
                continue
            if isinstance(info, Exception):
                raise RedisUnreachable(str(info))
            told = lines_of(info)
            unfit = _unfit(told, self._link.sharded)
            if unfit is not None:
                raise RedisUnreachable(unfit)
            if told.get("role") == "master":
                ids.add(told["master_replid"])
            standings.append(standing_of(told, settings))
        if failure is not None and not ids:
            raise failure
        self._peers = ",".join(sorted(ids)) if self._link.sharded else ""
        self.standing = weakest(standings)
        concern = self.standing and shortfall(self.standing, self._options.durability)
        if concern is not None and self._concern is None:
            _log.warning("%s", concern)
        self._concern = concern

    def _learn(self, lane: Lane, answer: Answer | Head, peers: str) -> None:
        lane.generation = answer.generation
        if peers:
            lane.peers = peers
        self._skew_s = answer.now_ms / 1000 - self._clock.time()

    def _news(self, lane: Lane) -> str:
        return "" if lane.peers == self._peers else self._peers


class _Publishing(Errand):
    """A lane's batch on its way."""

    writes = True

    def __init__(self, bus: RedisBus, lane: Lane) -> None:
        self.partition = lane.partition
        self.track = lane.number % _TRACKS
        self._bus = bus
        self._lane = lane
        self._first = True
        self._peers = ""

    def command(self) -> Command | None:
        bus, lane, batch = self._bus, self._lane, self._lane.batch
        if batch is None:
            return None
        self._peers = bus._news(lane)
        known = batch.sent_under
        self._first = not known
        # A name no generation has, where none is known: then no doubt is resolved as "not done".
        batch.sent_under = known or lane.generation or "unknown"
        return publish_command(
            options=bus._options,
            partition=lane.partition,
            sharded=bus._link.sharded,
            process=bus._process,
            lane=lane.number,
            sequence=batch.sequence,
            known=known,
            fresh=_fresh(),
            peers=self._peers,
            utc_s=bus.utc_s(),
            parcels=batch.parcels,
        )

    def done(self, reply: Any) -> None:
        self._bus._settled(self._lane, self._peers, reply)

    def failed(self, reason: str) -> bool:
        if not self._first:
            return False
        self._bus._unsettled(self._lane, reason)
        return True

    def undone(self) -> None:
        if self._first and self._lane.batch is not None:
            self._lane.batch.sent_under = ""


class _Reading(Errand):
    """A room that is read."""

    def __init__(self, bus: RedisBus, mirror: Mirror, place: Place) -> None:
        self.partition = place.partition
        self._bus = bus
        self._mirror = mirror
        self._place = place
        self._lane = bus._lane_of(place)
        self.track = self._lane.number % _TRACKS
        self._peers = ""
        self._asked = False

    def command(self) -> Command | None:
        mirror = self._mirror
        if not (mirror.questions or mirror.behind or self._asked):
            mirror.reading = False
            return None
        # What is found missing from here on may have come after what this brings.
        self._asked, mirror.behind = True, False
        self._peers = self._bus._news(self._lane)
        since, history = self._bus._needed(mirror)
        for question in mirror.questions:
            question.placed = True
            question.read = question.since is None or (
                since is not None and question.since.epoch == since.epoch
            )
        return read_command(
            options=self._bus._options,
            place=self._place,
            fresh=_fresh(),
            peers=self._peers,
            since=since,
            history=history,
        )

    def done(self, reply: Any) -> None:
        mirror = self._mirror
        again, mirror.reading = mirror.behind, False
        self._bus._loaded(mirror, self._lane, self._peers, reply)
        if again:
            mirror.behind = True
            self._bus._read(mirror)

    def failed(self, reason: str) -> bool:
        self._mirror.reading = False
        self._mirror.behind = bool(self._mirror.epoch)
        questions, self._mirror.questions = self._mirror.questions, []
        for question in questions:
            question.answer(_away())
        return True

    def undone(self) -> None:
        pass


def _publication_of(draft: Draft, place: Ordered, receipt: Receipt) -> Publication:
    message = Message(
        draft.room,
        place.offset,
        receipt.message_id,
        draft.user,
        draft.name,
        place.at_ms,
        draft.body,
    )
    return Publication(place.epoch, draft.key, message, MSGPACK.encode(message))


def _own_publication(epoch: str, packed: bytes) -> Publication:
    """Return a publication that this process is to keep."""
    return Publication(epoch, None, decode_message(packed), packed)


def _publication(epoch: str, packed: bytes) -> Publication:
    return Publication(epoch, None, decode_message(packed), packed, own=False)


def _away() -> Refused:
    return Refused(BUS_AWAY, retry_after_ms=_RETRY_MS)


def _unfit(told: dict[str, str], sharded: bool) -> str | None:
    version = told.get("redis_version", "0")
    if int(version.partition(".")[0] or 0) < 7:
        return f"version {version} is too old; 7 or newer is needed"
    if (told.get("cluster_enabled") == "1") != sharded:
        return "no cluster; write redis://" if sharded else "a cluster; write redis+cluster://"
    return None
