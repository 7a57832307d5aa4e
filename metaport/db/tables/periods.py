"""Closed months with their lines, and corrections. Triggers refuse to change what stands."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    Table,
    Text,
)

from metaport.db.tables import metadata
from metaport.db.tables.usage import SUM

closed_month = Table(
    "closed_month",
    metadata,
    Column("month", Text, primary_key=True, comment="달, 예: 2026-11 / month, such as 2026-11"),
    Column("zone", Text, nullable=False, comment="시간대 / time zone it is cut in"),
    Column("start_s", BigInteger, nullable=False, comment="시작, UTC 초 / its start, Unix seconds"),
    Column("end_s", BigInteger, nullable=False, comment="끝(제외), UTC 초 / its end, excluded"),
    Column(
        "as_of_s",
        BigInteger,
        nullable=False,
        comment="집계된 때, UTC 초 / up to when its figures were known",
    ),
    Column(
        "closed_at_s", BigInteger, nullable=False, comment="마감 시각, UTC 초 / when it was closed"
    ),
    Column("closed_by", Text, nullable=False, comment="마감한 사람 / person who closed it"),
    Column(
        "note",
        Text,
        nullable=False,
        comment="집계가 덜 된 채 마감한 까닭 / why it was closed incomplete, or empty",
    ),
    Column("price_book", Text, nullable=False, comment="단가표 전문, TOML / the price book, whole"),
    Column("price_book_source", Text, nullable=False, comment="단가표의 이름 / name of that book"),
    Column("figures", Text, nullable=False, comment="최대값 등, JSON / peaks and counts, JSON"),
    Column(
        "corrections", Text, nullable=False, comment="이 달에 든 정정, JSON / booked in it, JSON"
    ),
    Column(
        "sessions",
        Text,
        nullable=False,
        server_default="[]",
        comment="참여별로 올림한 시간, JSON / what sessions came to where they are rounded, JSON",
    ),
    Column(
        "reconciled",
        Text,
        nullable=False,
        server_default="[]",
        comment="마감 때의 대조 결과, JSON / what had been compared when it was closed, JSON",
    ),
    Column("statement", Text, nullable=False, comment="명세서, JSON / its statement, JSON"),
    Column("digest", Text, nullable=False, comment="전체의 SHA-256 / hash over all of it"),
    Column("signature", Text, nullable=False, comment="해시의 서명, HMAC / signature of the hash"),
    CheckConstraint("start_s < end_s", name="starts_before_it_ends"),
    CheckConstraint("closed_by <> ''", name="by_somebody"),
    CheckConstraint("length(digest) = 64", name="digest_is_sha256"),
    comment="마감한 달 / closed months; never changed",
    sqlite_with_rowid=False,
)

closed_line = Table(
    "closed_line",
    metadata,
    Column(
        "month",
        Text,
        ForeignKey("closed_month.month"),
        primary_key=True,
        comment="달 / month",
    ),
    Column(
        "day_start_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="날의 시작, UTC 초 / start of the day, Unix seconds",
    ),
    Column("meter", Text, primary_key=True, comment="계량 항목 / meter"),
    Column("app", Text, primary_key=True, comment="앱 / app"),
    Column("space", Text, primary_key=True, comment="공간, 없으면 빈 값 / space, empty if none"),
    Column("room", Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"),
    Column("quantity", SUM, nullable=False, comment="수량 / quantity"),
    CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    comment="마감한 달의 사용량 / usage of a closed month, by day and place; never changed",
    sqlite_with_rowid=False,
)

correction = Table(
    "correction",
    metadata,
    Column("number", Integer, primary_key=True, comment="정정 번호 / number of the correction"),
    Column(
        "corrects",
        Text,
        ForeignKey("closed_month.month"),
        nullable=False,
        comment="바로잡는 달 / closed month that was wrong",
    ),
    Column(
        "booked_in",
        Text,
        nullable=False,
        comment="명세서에 실리는 달 / month whose statement has it",
    ),
    Column(
        "day_start_s",
        BigInteger,
        nullable=False,
        comment="값이 매겨지는 날 / day whose price it has",
    ),
    Column("meter", Text, nullable=False, comment="계량 항목 / meter"),
    Column("room", Text, nullable=False, comment="방, 없으면 빈 값 / room, empty if none"),
    Column("quantity", BigInteger, nullable=False, comment="더하거나 빼는 수량 / more or less"),
    Column(
        "amount",
        Text,
        nullable=False,
        comment="공급가액의 차이, 십진수 / difference of the amount, decimal, without VAT",
    ),
    Column("reason", Text, nullable=False, comment="까닭 / reason"),
    Column("person", Text, nullable=False, comment="정정한 사람 / person who corrected"),
    Column("at_s", BigInteger, nullable=False, comment="정정한 때, UTC 초 / when, Unix seconds"),
    CheckConstraint("booked_in > corrects", name="booked_later"),
    CheckConstraint("quantity <> 0", name="quantity_not_zero"),
    CheckConstraint("reason <> '' AND person <> ''", name="says_why_and_who"),
    comment="마감한 달의 정정 / corrections of closed months; never changed",
)
