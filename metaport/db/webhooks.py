"""Webhooks on SQL: endpoints, events that are there once, and deliveries with their leases."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.store import SqlStore
from metaport.db.tables.webhook import (
    webhook_checkpoint,
    webhook_delivery,
    webhook_endpoint,
    webhook_event,
)

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"


class Endpoint(NamedTuple):
    """Who is told: an address, patterns of event types, and which secret signs."""

    id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    secret_version: int
    rotated_at_s: int


class Event(NamedTuple):
    """Something to tell. The same `id` is the same event, however often it is put."""

    id: str
    type: str
    at_ms: int
    data: dict[str, Any]


class Due(NamedTuple):
    """One delivery that is to be tried now."""

    event_id: str
    type: str
    at_ms: int
    body: str
    endpoint: Endpoint
    attempts: int


class Delivery(NamedTuple):
    """How far telling an event to an endpoint has come."""

    event_id: str
    type: str
    at_ms: int
    state: str
    attempts: int
    next_at_s: int
    last_status: int | None
    last_error: str | None


class SqlWebhooks(SqlStore):
    """Endpoints, events and deliveries."""

    async def endpoints(self) -> list[Endpoint]:
        """Return all endpoints in the order they were made."""
        query = select(webhook_endpoint).order_by(
            webhook_endpoint.c.created_at_s, webhook_endpoint.c.id
        )
        async with self._transaction() as connection:
            return [_endpoint(row) for row in await connection.execute(query)]

    async def add(self, endpoint: Endpoint, by: str, at_s: float) -> None:
        """Keep a new endpoint."""
        values = _values(endpoint) | {
            "id": endpoint.id,
            "created_by": by,
            "created_at_s": int(at_s),
        }
        async with self._transaction() as connection:
            await connection.execute(insert(webhook_endpoint).values(values))

    async def change(self, before: Endpoint, endpoint: Endpoint) -> bool:
        """Keep an endpoint as it is now, unless it is not `before` any more."""
        known = _values(before) | {"id": before.id}
        statement = update(webhook_endpoint).where(
            and_(*(webhook_endpoint.c[name] == value for name, value in known.items()))
        )
        async with self._transaction() as connection:
            done = await connection.execute(statement.values(_values(endpoint)))
            return done.rowcount == 1

    async def remove(self, endpoint_id: str) -> bool:
        """Forget an endpoint and what it was still to be told; False where there is none."""
        statement = delete(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id)
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def put(self, events: Sequence[Event]) -> int:
        """Keep events and whom they are for; return how many were not there before.

        One transaction: an event stands with all its deliveries or not at all.
        """
        async with self._transaction() as connection:
            return await self.put_within(connection, events)

    async def put_from_log(self, events: Sequence[Event], reader: str, position: int) -> int:
        """Keep events, and how far a log has been read, in one transaction."""
        statement = self._insert(webhook_checkpoint).values(reader=reader, position=position)
        async with self._transaction() as connection:
            new = await self.put_within(connection, events) if events else 0
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["reader"], set_={"position": position}
                )
            )
            return new

    async def checkpoint(self, reader: str) -> int | None:
        """Return how far a log has been read, None where nobody wanted anything of it."""
        table = webhook_checkpoint.c
        async with self._transaction() as connection:
            position: int | None = await connection.scalar(
                select(table.position).where(table.reader == reader)
            )
            return position

    async def forget_checkpoints(self, readers: Sequence[str]) -> None:
        """Forget how far logs were read: nobody wants anything of them now."""
        table = webhook_checkpoint.c
        query = select(table.reader).where(table.reader.in_(readers)).limit(1)
        async with self._transaction() as connection:
            # Asked each second: a transaction that writes nothing costs little.
            if await connection.scalar(query) is not None:
                done = delete(webhook_checkpoint).where(table.reader.in_(readers))
                await connection.execute(done)

    async def put_within(self, connection: AsyncConnection, events: Sequence[Event]) -> int:
        """Keep events in a transaction of somebody else, with what they tell of."""
        enabled = select(webhook_endpoint).where(webhook_endpoint.c.enabled)
        endpoints = [_endpoint(row) for row in await connection.execute(enabled)]
        return sum([await self._put(connection, event, endpoints) for event in events])

    async def _put(
        self, connection: AsyncConnection, event: Event, endpoints: Sequence[Endpoint]
    ) -> int:
        body = json.dumps(
            {"id": event.id, "type": event.type, "at": event.at_ms, "data": event.data},
            ensure_ascii=False,
        )
        statement = self._insert(webhook_event).values(
            id=event.id, type=event.type, at_ms=event.at_ms, body=body
        )
        done = await connection.execute(statement.on_conflict_do_nothing())
        if done.rowcount != 1:
            return 0
        told = [
            {
                "event_id": event.id, "endpoint_id": endpoint.id, "state": PENDING, "attempts": 0,
                "next_at_s": event.at_ms // 1000,
            }
            for endpoint in endpoints
            if any(fnmatchcase(event.type, pattern) for pattern in endpoint.events)
        ]  # fmt: skip
        if told:
            await connection.execute(insert(webhook_delivery), told)
        return 1

    async def claim(self, now_s: float, limit: int, lease_s: int) -> list[Due]:
        """Take deliveries that are due; nobody else gets them before the lease is over."""
        table = webhook_delivery.c
        query = (
            select(webhook_delivery, webhook_event, webhook_endpoint)
            .join(webhook_event, webhook_event.c.id == table.event_id)
            .join(webhook_endpoint, webhook_endpoint.c.id == table.endpoint_id)
            .where(table.state == PENDING, table.next_at_s <= int(now_s))
            .where(webhook_endpoint.c.enabled)
            .order_by(table.next_at_s)
            .limit(limit)
            # SQLite has one writer at a time, leaves this out, and is told to begin as one.
            .with_for_update(skip_locked=True, of=webhook_delivery)
        )
        async with self._read_then_write() as connection:
            rows = (await connection.execute(query)).all()
            for row in rows:
                await connection.execute(
                    update(webhook_delivery)
                    .where(_is(row.event_id, row.endpoint_id))
                    .values(next_at_s=int(now_s) + lease_s)
                )
        return [
            Due(
                row.event_id, row.type, row.at_ms, row.body,
                Endpoint(
                    row.endpoint_id, row.url, tuple(json.loads(row.events)), row.enabled,
                    row.secret_version, row.rotated_at_s,
                ),
                row.attempts,
            )
            for row in rows
        ]  # fmt: skip

    async def settle(
        self,
        due: Due,
        state: str,
        *,
        next_at_s: int,
        status: int | None = None,
        error: str | None = None,
    ) -> None:
        """Write down how an attempt ended."""
        statement = update(webhook_delivery).where(_is(due.event_id, due.endpoint.id))
        values = {
            "state": state,
            "attempts": due.attempts + 1,
            "next_at_s": next_at_s,
            "last_status": status,
            "last_error": error,
        }
        async with self._transaction() as connection:
            await connection.execute(statement.values(values))

    async def deliveries(
        self,
        endpoint_id: str,
        state: str | None,
        limit: int,
        after: tuple[int, str] | None = None,
    ) -> list[Delivery]:
        """Return deliveries to an endpoint, the newest events first.

        `after` is the time (milliseconds) and id of an event: only those that follow it.
        """
        table = webhook_delivery.c
        query = select(webhook_delivery, webhook_event.c.type, webhook_event.c.at_ms).join(
            webhook_event, webhook_event.c.id == table.event_id
        )
        query = query.where(table.endpoint_id == endpoint_id)
        if state is not None:
            query = query.where(table.state == state)
        if after is not None:
            at_ms, event_id = after
            same = and_(webhook_event.c.at_ms == at_ms, table.event_id > event_id)
            query = query.where(or_(webhook_event.c.at_ms < at_ms, same))
        query = query.order_by(webhook_event.c.at_ms.desc(), table.event_id).limit(limit)
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Delivery(
                row.event_id, row.type, row.at_ms, row.state, row.attempts, row.next_at_s,
                row.last_status, row.last_error,
            )
            for row in rows
        ]  # fmt: skip

    async def replay(self, endpoint_id: str, event_id: str | None, now_s: float) -> int:
        """Try dead deliveries again, one event or all; return how many."""
        table = webhook_delivery.c
        statement = update(webhook_delivery).where(
            table.endpoint_id == endpoint_id, table.state == DEAD
        )
        if event_id is not None:
            statement = statement.where(table.event_id == event_id)
        values = {"state": PENDING, "attempts": 0, "next_at_s": int(now_s)}
        async with self._transaction() as connection:
            return (await connection.execute(statement.values(values))).rowcount

    async def forget(self, before_s: float) -> int:
        """Delete old events that nobody is still to be told; return how many."""
        waiting = select(webhook_delivery.c.event_id).where(webhook_delivery.c.state == PENDING)
        statement = delete(webhook_event).where(
            webhook_event.c.at_ms < int(before_s * 1000), webhook_event.c.id.not_in(waiting)
        )
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount


def _is(event_id: str, endpoint_id: str) -> Any:
    table = webhook_delivery.c
    return and_(table.event_id == event_id, table.endpoint_id == endpoint_id)


def _values(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "events": json.dumps(endpoint.events),
        "enabled": endpoint.enabled,
        "secret_version": endpoint.secret_version,
        "rotated_at_s": endpoint.rotated_at_s,
    }


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        row.id,
        row.url,
        tuple(json.loads(row.events)),
        row.enabled,
        row.secret_version,
        row.rotated_at_s,
    )
