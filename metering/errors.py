"""What metering refuses.

MeteringError
├── PeriodError         a month, a date or a zone that cannot be read
├── FileRefused         a file that cannot be trusted: file, line and reason
│   ├── PriceBookError
│   ├── ContractError
│   ├── MarketError
│   └── ProposalError
├── PriceMissing        usage that no price in force covers
├── MonthClosed         the month is closed already, or closed where it must not be
├── MonthOpen           the month is not closed, or cannot be yet
├── MonthAltered        a closed month is not what was closed
├── FontMissing         no Korean font for a PDF: the package that brings it is not installed
└── LedgerUnavailable   the ledger cannot be reached; try again later
"""


class MeteringError(Exception):
    """Base of everything metering raises on purpose."""


class PeriodError(MeteringError, ValueError):
    """A month, a date or a zone that cannot be read."""


class MonthClosed(MeteringError):
    """The month is closed already; it never changes."""


class MonthOpen(MeteringError):
    """The month is not closed, or cannot be yet."""


class MonthAltered(MeteringError):
    """A closed month is not what was closed: its digest is not that of what is kept."""


class FileRefused(MeteringError):
    """A file that cannot be trusted; `line` is None where no single line is to blame."""

    def __init__(self, source: str, line: int | None, reason: str) -> None:
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {reason}")
        self.source = source
        self.line = line
        self.reason = reason


class PriceBookError(FileRefused):
    """A price book that cannot be trusted."""


class ContractError(FileRefused):
    """A contract, or a list of costs, that cannot be trusted."""


class MarketError(FileRefused):
    """Prices of others that cannot be trusted."""


class ProposalError(FileRefused):
    """Costs and capacities from which no price can be derived."""


class PriceMissing(MeteringError, ValueError):
    """Usage that no price in force covers; nothing is priced with a guess."""


class FontMissing(MeteringError):
    """No Korean font for a PDF."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the Korean font for PDF comes with the package {package}, which is not installed; "
            "ask for html instead and print it"
        )
        self.package = package


class LedgerUnavailable(MeteringError):
    """The ledger cannot be reached or refuses to write; nothing of the call has happened."""
