"""Unit prices derived from costs and capacities: by hand, and what must hold for any inputs."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.errors import ProposalError
from metering.forms import FORMS
from metering.meters import METERS
from metering.pricebook import read_price_book
from metering.proposal import Dated, Fixed, Habits, Inputs, Machine, load_inputs, propose
from metering.proposal import read_inputs as read
from metering.proposal_document import proposal_book, proposal_document
from metering.units import Unit

UNITS = ("message", "delivery", "voice_minute", "video_minute")


def dated(value: object) -> Dated:
    return Dated(Decimal(str(value)), "test", "2026-11")


def inputs(**changed: object) -> Inputs:
    """A machine of one core that costs a won a second when it is busy around the clock."""
    stated = Inputs(
        machine=Machine("가", "a", Decimal(30 * 86_400), 1, "test", "2026-11"),
        traffic_won_per_gb=dated(100),
        messages_per_core=dated(1_000),
        deliveries_per_core=dated(10_000),
        voice_per_core=dated(100),
        video_per_core=dated(10),
        voice_kbps=dated(40),
        video_kbps=dated(1_500),
        habits=Habits(10, 5, 20, 3),
        planned_users=100,
        margin_percent=Decimal(0),
        utilisation_percent=Decimal(100),
        busy_hour_percent=Decimal(100) / 24,
        growth=(1, 100, 10_000),
    )
    return msgspec.structs.replace(stated, **changed)


def test_a_unit_costs_its_share_of_a_core_and_its_traffic() -> None:
    proposal = propose(inputs())
    compute = {unit: float(proposal.price_of(unit).compute) for unit in UNITS}
    assert compute == pytest.approx(
        {"message": 0.001, "delivery": 0.0001, "voice_minute": 0.6, "video_minute": 6.0}
    )
    # 40 kbit/s for a minute are 0.3 MB; 1,500 kbit/s are 11.25 MB.
    assert float(proposal.price_of("voice_minute").traffic) == pytest.approx(0.0003 * 100)
    assert float(proposal.price_of("video_minute").traffic) == pytest.approx(0.01125 * 100)
    assert proposal.price_of("voice_minute").price == Decimal("0.66")  # 0.63, up to 0.06
    assert proposal.price_of("message").price == Decimal("1.0")  # of 1,000


def test_half_the_use_in_twice_the_peak_costs_four_times() -> None:
    busy = inputs(utilisation_percent=Decimal(50), busy_hour_percent=Decimal(100) / 12)
    once, four = propose(inputs()), propose(busy)
    for unit in UNITS:
        ratio = four.price_of(unit).compute / once.price_of(unit).compute
        assert float(ratio) == pytest.approx(4)


def test_fixed_costs_are_met_at_the_planned_number_of_users() -> None:
    fixed = Fixed("가", "a", Decimal(1_000_000), "test", "2026-11")
    stated = inputs(fixed=(fixed,), planned_users=1_000, growth=(1_000,))
    proposal = propose(stated)
    use = {"message": 10_000, "delivery": 50_000, "voice_minute": 20_000, "video_minute": 3_000}
    met = sum(proposal.price_of(unit).fixed * use[unit] for unit in UNITS)
    assert float(met) == pytest.approx(1_000_000)
    (month,) = proposal.growth
    assert month.amount >= 1_000_000


@settings(max_examples=300, deadline=None)
@given(
    st.decimals(0, 300, places=1), st.decimals(1, 100, places=1), st.decimals(5, 100, places=1),
    st.integers(1, 10**6), st.integers(0, 10**7),
)  # fmt: skip
def test_a_price_covers_its_cost_and_its_margin(
    margin: Decimal, use: Decimal, busy: Decimal, users: int, people: int
) -> None:
    fixed = (Fixed("가", "a", Decimal(people), "test", "2026-11"),)
    proposal = propose(
        inputs(
            margin_percent=margin, utilisation_percent=use, busy_hour_percent=busy,
            planned_users=users, fixed=fixed,
        )
    )  # fmt: skip
    for derived in proposal.prices:
        step = Decimal("0.06") if derived.per == 1 else Decimal("0.1")
        asked = (derived.cost + derived.margin) * derived.per
        assert derived.price >= asked
        assert derived.price - asked < step
        assert derived.price % step == 0
    amounts = [month.amount for month in proposal.growth]
    assert amounts == sorted(amounts)
    assert [month.machines for month in proposal.growth] == sorted(
        month.machines for month in proposal.growth
    )


def test_the_shipped_example_gives_prices_that_a_book_takes() -> None:
    """Every derived price can be written down: a minute's is a whole number of a second's."""
    lines = proposal_book(propose(load_inputs()))
    priced = {line.split('"')[1] for line in lines.splitlines()}
    words = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}
    rest = "".join(
        f'"{name}" = {{ price = 0, per = "{words.get(meter.unit, meter.unit)}" }}\n'
        for name, meter in METERS.items()
        if name not in priced
    )
    head = 'currency = "KRW"\nvat_percent = 10\n[[version]]\neffective = 2026-01-01\n'
    book = read_price_book(f"{head}[version.price]\n{lines}{rest}", "book.toml")
    assert book.versions[0].price_of("voice.participant_seconds").model.tiers[0].unit_price > 0


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_where_the_figures_come_from(form: str, lang: str) -> None:
    document = proposal_document(propose(load_inputs()), lang)
    body = FORMS[form](document)
    assert body == FORMS[form](document)
    if form in ("text", "html"):
        assert "make bench" in body.decode()
        assert {"ko": "단가 산출서", "en": "Unit price proposal"}[lang] in body.decode()


EXAMPLE = Path(__file__).parents[2] / "metering" / "proposal.example.toml"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("value = 120", "value = 0", "traffic_won_per_gb is to be more than 0"),
        ("utilisation_percent = 50", "utilisation_percent = 101", "at most 100"),
        ("busy_hour_percent = 12", "busy_hour_percent = 4", "4.17 to 100"),
        ("margin_percent = 10", "margin_percent = -1", "from 0"),
        ("growth = [100,", "growth = [0,", "from 1 up"),
        ("messages_sent = 60", "messages_sent = 0", "somebody has to say something"),
        ("cores = 2", "cores = 0", "machine.cores is to be more than 0"),
        ("cores = 2", "core = 2", "unknown field `core`"),
        ("cores = 2", 'cores = "two"', "line 18: Expected `int`"),
    ],
)
def test_inputs_that_cannot_be_trusted_are_refused(old: str, new: str, told: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ProposalError) as caught:
        read(text.replace(old, new, 1), "inputs.toml")
    assert told in str(caught.value)
