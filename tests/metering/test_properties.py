"""What earns trust, over thousands of cases: order, splits, repeats and zones change nothing."""

import itertools
import random
from datetime import timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.events import Subject, UsageRow
from metering.figures import figures_of
from metering.ledger import MemoryLedger
from metering.meters import ACTIVE_USERS, METERS, PEAK_USERS, STORED_BYTES, TEXT_BYTES_IN
from metering.pricebook import default_price_book
from metering.report import RENDERERS, build_report
from metering.windows import Period, day_of, day_start, month_period, open_zone

SEOUL = open_zone("Asia/Seoul")
NOVEMBER = month_period("2026-11", SEOUL)
BOOK = default_price_book()
# Around the border of the month in Seoul and in UTC, and around changes of clocks.
STARTS = st.one_of(
    st.integers(-100, 100).map(lambda n: NOVEMBER.start_s + n * 900),
    st.integers(-100, 100).map(lambda n: NOVEMBER.end_s + n * 900),
    st.integers(0, 30 * 96).map(lambda n: NOVEMBER.start_s + n * 900),
)
ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("Asia/Seoul", "UTC", "America/New_York", "Asia/Kathmandu")]
)


@st.composite
def growing(draw: st.DrawFn) -> list[UsageRow]:
    """Rows of a few identities, whose quantities only grow."""
    identities = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["hub", "sfu"]),
                st.sampled_from(["1", "2"]),
                st.sampled_from(sorted(METERS)),
                st.builds(Subject, st.sampled_from(["lobby", "a:b/c"]), st.sampled_from("uv")),
                STARTS,
            ),
            max_size=6,
            unique=True,
        )
    )
    rows = []
    for identity in identities:
        growth = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=3))
        rows += [UsageRow(*identity, total) for total in itertools.accumulate(growth)]
    return rows


async def tried(rows: list[UsageRow], lot: random.Random) -> MemoryLedger:
    """Bring rows in another order, in pieces, and some of them again."""
    ledger = MemoryLedger()
    order = rows + lot.choices(rows, k=4) if rows else []
    lot.shuffle(order)
    while order:
        size = lot.randint(1, len(order))
        await ledger.upsert(order[:size])
        order = order[size:]
    return ledger


@settings(max_examples=400)
@given(rows=growing(), seed=st.integers(0, 2**32))
async def test_order_splits_and_repeats_keep_the_same(rows: list[UsageRow], seed: int) -> None:
    plain, other = MemoryLedger(), await tried(rows, random.Random(seed))
    await plain.upsert(rows)
    assert await other.by_subject(0, 2**40) == await plain.by_subject(0, 2**40)
    assert await other.by_place(*NOVEMBER) == await plain.by_place(*NOVEMBER)


@settings(max_examples=100)
@given(rows=growing(), seed=st.integers(0, 2**32))
async def test_order_splits_and_repeats_make_the_same_bytes(
    rows: list[UsageRow], seed: int
) -> None:
    plain, other = MemoryLedger(), await tried(rows, random.Random(seed))
    await plain.upsert(rows)
    first, second = [
        await build_report(ledger, BOOK, "2026-11", "Asia/Seoul", 2e9) for ledger in (plain, other)
    ]
    for form in ("json", "csv", "text"):
        assert RENDERERS[form](first, "ko") == RENDERERS[form](second, "ko")


@settings(max_examples=200)
@given(rows=growing(), zone=ZONES)
async def test_days_add_up_to_months_and_months_to_all(
    rows: list[UsageRow], zone: ZoneInfo
) -> None:
    ledger = MemoryLedger()
    await ledger.upsert(rows)
    months = [month_period(month, zone) for month in ("2026-10", "2026-11", "2026-12")]
    summed: dict[str, int] = {}
    for month in months:
        by_day: dict[str, int] = {}
        day = day_of(month.start_s, zone)
        while (start_s := day_start(day, zone)) < month.end_s:
            day += timedelta(days=1)
            for meter, quantity in (await ledger.totals(start_s, day_start(day, zone))).items():
                by_day[meter] = by_day.get(meter, 0) + quantity
        assert by_day == await ledger.totals(*month)
        for meter, quantity in by_day.items():
            summed[meter] = summed.get(meter, 0) + quantity
    assert summed == await ledger.totals(months[0].start_s, months[-1].end_s)


async def test_figures_are_those_somebody_measured() -> None:
    ledger = MemoryLedger()
    assert await figures_of(ledger, Period(*NOVEMBER)) == {}
    nobody, at_s = Subject("", ""), NOVEMBER.start_s
    await ledger.upsert(
        [
            UsageRow("hub", "1", TEXT_BYTES_IN, Subject("lobby", "u"), at_s, 7),
            UsageRow("hub", "1", TEXT_BYTES_IN, Subject("lobby", "v"), at_s, 8),
            UsageRow("hub", "1", PEAK_USERS, nobody, at_s + 60, 3),
            UsageRow("hub-2", "1", PEAK_USERS, nobody, at_s + 60, 4),
            UsageRow("hub", "1", PEAK_USERS, nobody, at_s + 120, 6),
            UsageRow("hub", "1", STORED_BYTES, nobody, at_s + 3600, 10**9),
        ]
    )
    assert await figures_of(ledger, Period(*NOVEMBER)) == {
        TEXT_BYTES_IN: 15,
        PEAK_USERS: 7,
        ACTIVE_USERS: 2,
        STORED_BYTES: 10**9,
    }
