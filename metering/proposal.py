"""The unit price proposal (단가 산출서): from costs and measured capacity to the price of a unit.

1. A core costs what its machine costs, divided by its cores. It can be used only so far: up to
   `utilisation_percent` in the busiest hour, and the other hours are quieter, so that a month has
   `utilisation / (24 x busy share)` of its seconds to sell.
2. A message, a delivery or a participant-second takes 1 / capacity core-seconds; media also takes
   traffic at its bitrate.
3. What does not grow with use (people, base machines) is shared over the use of the planned number
   of users, in proportion to 2.
4. The margin is added, and the price is rounded up to a step that can be written down.

Amounts are without VAT and in won. Divisions do not end, so they are carried to 40 digits; the
price that comes out is exact, because it is rounded to its step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from importlib import resources
from pathlib import Path

import msgspec

from metering.errors import ProposalError
from metering.toml_file import read_text, read_toml

EXAMPLE = "proposal.example.toml"
MONTH_S = Decimal(30 * 86_400)
_ABOUT = Context(prec=40, rounding=ROUND_HALF_UP)


class Dated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure with where and when it comes from."""

    value: Decimal
    source: str
    as_of: str


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cost of every month that does not grow with use."""

    title_ko: str
    title_en: str
    won_per_month: Decimal
    source: str
    as_of: str


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one more machine costs a month, and its cores."""

    title_ko: str
    title_en: str
    won_per_month: Decimal
    cores: int
    source: str
    as_of: str


class Habits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user does in a month."""

    messages_sent: int
    receivers: int  # connections that a message is delivered to, on average
    voice_minutes: int
    video_minutes: int


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a proposal is derived from."""

    machine: Machine
    traffic_won_per_gb: Dated
    # Measured, one core: messages accepted a second in rooms of five, deliveries a second, and
    # participants who hear or see at once.
    messages_per_core: Dated
    deliveries_per_core: Dated
    voice_per_core: Dated
    video_per_core: Dated
    voice_kbps: Dated
    video_kbps: Dated
    habits: Habits
    planned_users: int
    margin_percent: Decimal
    utilisation_percent: Decimal
    busy_hour_percent: Decimal  # of a day's use, in its busiest hour
    growth: tuple[int, ...]
    fixed: tuple[Fixed, ...] = ()

    def dated(self) -> Mapping[str, Dated]:
        """Return the figures that carry a source."""
        names = ("traffic_won_per_gb", "messages_per_core", "deliveries_per_core",
                 "voice_per_core", "video_per_core", "voice_kbps", "video_kbps")  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Derived:
    """One unit price, and the steps that lead to it (won for one unit)."""

    unit: str  # message | delivery | voice_minute | video_minute
    compute: Decimal
    traffic: Decimal
    fixed: Decimal
    margin: Decimal
    price: Decimal
    per: int

    @property
    def cost(self) -> Decimal:
        """Return what a unit costs before margin and rounding."""
        return self.compute + self.traffic + self.fixed


@dataclass(frozen=True, slots=True)
class Growth:
    """A month at a number of users: amounts at the proposed prices, and what it takes."""

    users: int
    text: Decimal
    voice: Decimal
    video: Decimal
    machines: int
    traffic_gb: Decimal
    cost: Decimal

    @property
    def amount(self) -> Decimal:
        """Return the sum without VAT."""
        return self.text + self.voice + self.video


@dataclass(frozen=True, slots=True)
class Proposal:
    """Unit prices derived from `inputs`, and the months that they come to."""

    inputs: Inputs
    prices: tuple[Derived, ...]
    growth: tuple[Growth, ...]

    def price_of(self, unit: str) -> Derived:
        """Return the price of a unit by its name."""
        return next(price for price in self.prices if price.unit == unit)


def load_inputs(path: Path | None = None) -> Inputs:
    """Read the inputs in a file, or the example that is shipped. Raises ProposalError."""
    if path is None:
        text = resources.files("metering").joinpath(EXAMPLE).read_text(encoding="utf-8")
        return read_inputs(text, EXAMPLE)
    return read_inputs(read_text(path, ProposalError), str(path))


def read_inputs(text: str, source: str) -> Inputs:
    """Read inputs from TOML; `source` names it in errors. Raises ProposalError."""
    inputs = read_toml(text, source, Inputs, ProposalError)
    positive = {name: dated.value for name, dated in inputs.dated().items()} | {
        "machine.cores": Decimal(inputs.machine.cores),
        "planned_users": Decimal(inputs.planned_users),
        "utilisation_percent": inputs.utilisation_percent,
        "busy_hour_percent": inputs.busy_hour_percent,
    }
    for name, value in positive.items():
        if not value.is_finite() or value <= 0:
            raise ProposalError(source, None, f"{name} is to be more than 0")
    if inputs.utilisation_percent > 100 or not Decimal(100) / 24 <= inputs.busy_hour_percent <= 100:
        raise ProposalError(
            source, None, "utilisation_percent is at most 100, busy_hour_percent 4.17 to 100"
        )
    if inputs.margin_percent < 0 or min(inputs.growth, default=0) < 1:
        raise ProposalError(source, None, "margin and growth are from 0 and from 1 up")
    if not _use(inputs.habits, 1)["message"]:
        raise ProposalError(source, None, "habits: somebody has to say something")
    return inputs


def propose(inputs: Inputs) -> Proposal:
    """Derive unit prices and what they come to."""
    compute = {
        unit: _divide(_core_second(inputs), capacity)
        for unit, capacity in (
            ("message", inputs.messages_per_core.value),
            ("delivery", inputs.deliveries_per_core.value),
            ("voice_minute", _divide(inputs.voice_per_core.value, Decimal(60))),
            ("video_minute", _divide(inputs.video_per_core.value, Decimal(60))),
        )
    }
    traffic = {unit: gb * inputs.traffic_won_per_gb.value for unit, gb in _gb(inputs).items()}
    use = _use(inputs.habits, inputs.planned_users)
    variable = sum((use[unit] * (compute[unit] + traffic[unit]) for unit in use), Decimal(0))
    fixed = sum((entry.won_per_month for entry in inputs.fixed), Decimal(0))
    share = _divide(fixed, variable)
    prices = tuple(_derive(inputs, unit, compute[unit], traffic[unit], share) for unit in compute)
    return Proposal(inputs, prices, tuple(_grow(inputs, prices, users) for users in inputs.growth))


def _derive(
    inputs: Inputs, unit: str, compute: Decimal, traffic: Decimal, share: Decimal
) -> Derived:
    fixed = _ABOUT.multiply(compute + traffic, share)
    cost = compute + traffic + fixed
    margin = _ABOUT.multiply(cost, _divide(inputs.margin_percent, Decimal(100)))
    # A price is written for 1,000 messages to a tenth of a won; for a minute to 0.06 won, so
    # that a second of it, which is what is counted, is a whole number of 0.001 won.
    per, step = (1, Decimal("0.06")) if unit.endswith("minute") else (1_000, Decimal("0.1"))
    price = _up(_ABOUT.multiply(cost + margin, Decimal(per)), step)
    return Derived(unit, compute, traffic, fixed, margin, price, per)


def _core_second(inputs: Inputs) -> Decimal:
    """Return the price of a core-second that can be sold."""
    idle_too = _divide(inputs.machine.won_per_month, Decimal(inputs.machine.cores) * MONTH_S)
    busy = _divide(inputs.busy_hour_percent, Decimal(100)) * 24
    return _divide(idle_too * busy, _divide(inputs.utilisation_percent, Decimal(100)))


def _gb(inputs: Inputs) -> dict[str, Decimal]:
    """Return what a unit sends out, in GB (10^9 bytes)."""

    def minute(kbps: Decimal) -> Decimal:
        return _divide(kbps * 1_000 * 60, Decimal(8) * 10**9)

    nothing = Decimal(0)
    return {
        "message": nothing,
        "delivery": nothing,
        "voice_minute": minute(inputs.voice_kbps.value),
        "video_minute": minute(inputs.video_kbps.value),
    }


def _use(habits: Habits, users: int) -> dict[str, Decimal]:
    return {
        "message": Decimal(users * habits.messages_sent),
        "delivery": Decimal(users * habits.messages_sent * habits.receivers),
        "voice_minute": Decimal(users * habits.voice_minutes),
        "video_minute": Decimal(users * habits.video_minutes),
    }


def _grow(inputs: Inputs, prices: tuple[Derived, ...], users: int) -> Growth:
    use = _use(inputs.habits, users)
    amounts = {
        price.unit: _whole(_divide(use[price.unit] * price.price, Decimal(price.per)))
        for price in prices
    }
    per_core = {
        "message": inputs.messages_per_core.value,
        "delivery": inputs.deliveries_per_core.value,
        "voice_minute": _divide(inputs.voice_per_core.value, Decimal(60)),
        "video_minute": _divide(inputs.video_per_core.value, Decimal(60)),
    }
    # Of the month's use, the busiest hour has busy share / 30; in units a second.
    busy = _divide(inputs.busy_hour_percent, Decimal(100) * 30 * 3600)
    cores = sum((_divide(use[unit] * busy, per_core[unit]) for unit in use), Decimal(0))
    cores = _divide(cores, _divide(inputs.utilisation_percent, Decimal(100)))
    machines = max(1, int(_up(_divide(cores, Decimal(inputs.machine.cores)), Decimal(1))))
    gb = sum((use[unit] * each for unit, each in _gb(inputs).items()), Decimal(0))
    cost = (
        machines * inputs.machine.won_per_month
        + gb * inputs.traffic_won_per_gb.value
        + sum((entry.won_per_month for entry in inputs.fixed), Decimal(0))
    )
    return Growth(
        users=users,
        text=amounts["message"] + amounts["delivery"],
        voice=amounts["voice_minute"],
        video=amounts["video_minute"],
        machines=machines,
        traffic_gb=_whole(gb),
        cost=_whole(cost),
    )


def _divide(amount: Decimal, by: Decimal) -> Decimal:
    return _ABOUT.divide(amount, by)


def _up(amount: Decimal, step: Decimal) -> Decimal:
    count = _divide(amount, step).quantize(Decimal(1), rounding=ROUND_CEILING)
    return _ABOUT.multiply(count, step)


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), context=_ABOUT)
