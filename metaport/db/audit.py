"""The audit log on SQL: entries are added freely, sealed one batch after the other, and checked."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from metaport.audit import GENESIS, Batch, Entry, Sealer
from metaport.db.direct import DirectPool
from metaport.db.store import SqlStore
from metaport.db.tables.audit import audit_batch, audit_entry
from metaport.language import Say

# Any number will do as long as it is always the same one: one hub of all seals at a time.
SEAL_LOCK = 0x6D65746175646974
# Sealed together: 3,000 held the loop for 35 to 73 ms, 250 at a time hold it for 9.
MOST_ROWS = 250
# A row that is older and not sealed was put there by somebody else, or nobody seals.
UNSEALED_S = 60

# One list a column: asyncpg sends them as they are, and the server plans one statement.
_ADD = (
    f"INSERT INTO audit_entry ({', '.join(Entry._fields)}) SELECT * FROM unnest("
    + ", ".join(
        f"${place}::{'bigint' if name == 'at_ms' else 'text'}[]"
        for place, name in enumerate(Entry._fields, 1)
    )
    + ") ON CONFLICT (id) DO NOTHING"
)

_SEAL_ALL = text(
    "UPDATE audit_entry SET batch = :batch, seal = sealed.seal"
    " FROM unnest(CAST(:serials AS bigint[]), CAST(:seals AS bytea[])) AS sealed(serial, seal)"
    " WHERE audit_entry.serial = sealed.serial"
)

_COLUMNS = [audit_entry.c[name] for name in Entry._fields]


class Fault(NamedTuple):
    """Something the chain shows: what, and the serial or the number of the batch."""

    kind: str
    at: int
    say: Say


class Checked(NamedTuple):
    """What `SqlAudit.verify` has seen."""

    rows: int
    unsealed: int
    last: Batch | None
    faults: list[Fault]


class Filter(NamedTuple):
    """Which entries to tell: those of an actor, of personal data only, before a serial."""

    actor: str | None = None
    personal: bool = False
    before: int | None = None


class SqlAudit(SqlStore):
    """Entries and batches; entries are added by `direct` where it is given."""

    def __init__(self, engine: AsyncEngine, direct: DirectPool | None = None) -> None:
        super().__init__(engine)
        self._direct = direct

    async def add(self, entries: Sequence[Entry]) -> None:
        """Write entries down; one that is there already is left as it is."""
        if self._direct is not None and self._prepared:
            await self._direct.repeat(_ADD, *map(list, zip(*entries, strict=True)))
            return
        statement = self._insert(audit_entry).on_conflict_do_nothing(index_elements=["id"])
        async with self._transaction() as connection:
            await connection.execute(statement, [entry._asdict() for entry in entries])

    async def seal(self, sealer: Sealer, now: float) -> Batch | None:
        """Seal the first of what is new as one batch; return it, None where nothing was new."""
        new = (
            select(audit_entry.c.serial, *_COLUMNS)
            .where(audit_entry.c.batch.is_(None))
            .order_by(audit_entry.c.serial)
            .limit(MOST_ROWS)
        )
        async with self._transaction() as connection:
            # Nothing new most of the time: then nobody is kept from writing.
            if (await connection.execute(new.limit(1))).first() is None:
                return None
        async with self._read_then_write(SEAL_LOCK) as connection:
            rows = (await connection.execute(new)).all()
            if not rows:
                return None
            last = await self._last(connection)
            number, previous = (1, GENESIS) if last is None else (last.number + 1, last.seal)
            seals = [sealer.row(row.serial, _entry(row)) for row in rows]
            batch = sealer.batch(number, previous, seals, len(rows), int(now))
            await connection.execute(insert(audit_batch).values(_values(batch)))
            await _mark(connection, number, [row.serial for row in rows], seals)
        return batch

    async def verify(self, sealer: Sealer, now: float, anchor: Batch | None = None) -> Checked:
        """Recompute the chain from its beginning; `anchor` is a batch that must be in it."""
        faults: list[Fault] = []
        rows = 0
        before: Batch | None = None
        async with self._transaction() as connection:
            async for batch, forgotten in _batches(connection):
                faults += _chained(sealer, before, batch)
                found = await self._rows_of(connection, batch.number)
                rows += len(found)
                faults += _checked(sealer, batch, forgotten, found)
                before = batch
                if anchor is not None and anchor.number == batch.number:
                    if anchor.seal != batch.seal:
                        faults.append(_fault("changed", batch.number))
                    anchor = None
            if anchor is not None:
                faults.append(_fault("truncated", anchor.number))
            stray = await connection.execute(
                select(audit_entry.c.serial)
                .where(audit_entry.c.batch.is_not(None))
                .where(audit_entry.c.batch.not_in(select(audit_batch.c.number)))
            )
            faults += [_fault("stray", row.serial) for row in stray]
            unsealed = (
                await connection.execute(
                    select(audit_entry.c.serial, audit_entry.c.at_ms).where(
                        audit_entry.c.batch.is_(None)
                    )
                )
            ).all()
        late = [row.serial for row in unsealed if row.at_ms < (now - UNSEALED_S) * 1000]
        faults += [_fault("unsealed", serial) for serial in late]
        return Checked(rows, len(unsealed), before, faults)

    async def page(self, wanted: Filter, limit: int) -> list[tuple[int, Entry]]:
        """Return entries with their serials, the newest first."""
        query = select(audit_entry.c.serial, *_COLUMNS).order_by(audit_entry.c.serial.desc())
        if wanted.actor is not None:
            query = query.where(audit_entry.c.actor == wanted.actor)
        if wanted.personal:
            query = query.where(audit_entry.c.personal != "")
        if wanted.before is not None:
            query = query.where(audit_entry.c.serial < wanted.before)
        async with self._transaction() as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        return [(row.serial, _entry(row)) for row in rows]

    async def forget(self, sealer: Sealer, before_s: float) -> int:
        """Delete the rows of batches sealed before a moment; the batches stay, and say so."""
        old = select(audit_batch.c.number, audit_batch.c.seal).where(
            audit_batch.c.sealed_at_s < int(before_s), audit_batch.c.forgotten.is_(None)
        )
        async with self._read_then_write() as connection:
            batches = (await connection.execute(old)).all()
            deleted = 0
            for batch in batches:
                rows = delete(audit_entry).where(audit_entry.c.batch == batch.number)
                deleted += (await connection.execute(rows)).rowcount
                said = sealer.forgotten(batch.number, batch.seal)
                await connection.execute(
                    update(audit_batch)
                    .where(audit_batch.c.number == batch.number)
                    .values(forgotten=said)
                )
        return deleted

    async def _last(self, connection: AsyncConnection) -> Batch | None:
        query = select(audit_batch).order_by(audit_batch.c.number.desc()).limit(1)
        row = (await connection.execute(query)).first()
        return None if row is None else _batch(row)

    async def _rows_of(self, connection: AsyncConnection, number: int) -> Sequence[Row[Any]]:
        query = select(audit_entry.c.serial, audit_entry.c.seal, *_COLUMNS)
        query = query.where(audit_entry.c.batch == number).order_by(audit_entry.c.serial)
        return (await connection.execute(query)).all()


async def _mark(
    connection: AsyncConnection, number: int, serials: list[int], seals: list[bytes]
) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(_SEAL_ALL, {"batch": number, "serials": serials, "seals": seals})
        return
    await connection.execute(
        text("UPDATE audit_entry SET batch = :batch, seal = :seal WHERE serial = :serial"),
        [
            {"batch": number, "seal": seal, "serial": serial}
            for serial, seal in zip(serials, seals, strict=True)
        ],
    )


async def _batches(connection: AsyncConnection) -> AsyncIterator[tuple[Batch, bytes | None]]:
    """Yield all batches in order, some at a time: the log may be long."""
    after = -1
    while True:
        query = select(audit_batch).where(audit_batch.c.number > after)
        rows = (await connection.execute(query.order_by(audit_batch.c.number).limit(500))).all()
        for row in rows:
            yield _batch(row), row.forgotten
        if not rows:
            return
        after = rows[-1].number


def _chained(sealer: Sealer, before: Batch | None, batch: Batch) -> list[Fault]:
    number, previous = (1, GENESIS) if before is None else (before.number + 1, before.seal)
    if batch.number != number:
        return [_fault("missing-batch", number)]
    seal = sealer.chain(batch.number, batch.previous, batch.digest, batch.rows, batch.sealed_at_s)
    if batch.previous != previous or batch.seal != seal:
        return [_fault("changed-batch", batch.number)]
    return []


def _checked(
    sealer: Sealer, batch: Batch, forgotten: bytes | None, rows: Sequence[Row[Any]]
) -> list[Fault]:
    if forgotten is not None and forgotten != sealer.forgotten(batch.number, batch.seal):
        return [_fault("changed-batch", batch.number)]
    if forgotten is not None:
        return [_fault("stray", row.serial) for row in rows]
    faults = [
        _fault("changed", row.serial)
        for row in rows
        if row.seal != sealer.row(row.serial, _entry(row))
    ]
    if len(rows) != batch.rows:
        kind = "missing" if len(rows) < batch.rows else "added"
        return [*faults, _fault(kind, batch.number)]
    seals = [row.seal or b"" for row in rows]
    if not faults and sealer.batch(0, b"", seals, 0, 0).digest != batch.digest:
        faults.append(_fault("reordered", batch.number))
    return faults


_FAULTS = {
    "changed": Say("기록 {at}이(가) 바뀌었습니다", "row {at} was changed"),
    "missing": Say("묶음 {at}에서 기록이 없어졌습니다", "rows of batch {at} are missing"),
    "added": Say("묶음 {at}에 기록이 더해졌습니다", "rows were added to batch {at}"),
    "reordered": Say("묶음 {at}의 기록 순서가 바뀌었습니다", "rows of batch {at} were exchanged"),
    "missing-batch": Say("묶음 {at}이(가) 없습니다", "batch {at} is missing"),
    "changed-batch": Say("묶음 {at}이(가) 바뀌었습니다", "batch {at} was changed"),
    "truncated": Say("묶음 {at}부터 끝이 잘렸습니다", "the end is cut off from batch {at} on"),
    "stray": Say(
        "기록 {at}은(는) 있을 수 없는 묶음의 것입니다", "row {at} is of a batch that is not"
    ),
    "unsealed": Say("기록 {at}이(가) 봉인되지 않았습니다", "row {at} has not been sealed"),
}


def _fault(kind: str, at: int) -> Fault:
    said = _FAULTS[kind]
    return Fault(kind, at, Say(said.ko.format(at=at), said.en.format(at=at)))


def _entry(row: Row[Any]) -> Entry:
    return Entry(*(getattr(row, name) for name in Entry._fields))


def _batch(row: Row[Any]) -> Batch:
    return Batch(row.number, row.previous, row.row_count, row.digest, row.sealed_at_s, row.seal)


def _values(batch: Batch) -> dict[str, Any]:
    return {
        "number": batch.number,
        "previous": batch.previous,
        "row_count": batch.rows,
        "digest": batch.digest,
        "sealed_at_s": batch.sealed_at_s,
        "seal": batch.seal,
    }
