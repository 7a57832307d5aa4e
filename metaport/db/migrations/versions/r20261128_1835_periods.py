"""Closed months with their lines, and corrections, none of which may be changed."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1835_periods"
down_revision = "r20261128_1816_room_settings"

SUM = sa.Numeric(38, 0).with_variant(sa.BigInteger(), "sqlite")
TABLES = ("closed_month", "closed_line", "correction")


def upgrade() -> None:
    op.create_table(
        "closed_month",
        sa.Column(
            "month", sa.Text, primary_key=True, comment="달, 예: 2026-11 / month, such as 2026-11"
        ),
        sa.Column("zone", sa.Text, nullable=False, comment="시간대 / time zone it is cut in"),
        sa.Column(
            "start_s",
            sa.BigInteger,
            nullable=False,
            comment="시작, UTC 초 / its start, Unix seconds",
        ),
        sa.Column(
            "end_s", sa.BigInteger, nullable=False, comment="끝(제외), UTC 초 / its end, excluded"
        ),
        sa.Column(
            "as_of_s",
            sa.BigInteger,
            nullable=False,
            comment="집계된 때, UTC 초 / up to when its figures were known",
        ),
        sa.Column(
            "closed_at_s",
            sa.BigInteger,
            nullable=False,
            comment="마감 시각, UTC 초 / when it was closed",
        ),
        sa.Column(
            "closed_by", sa.Text, nullable=False, comment="마감한 사람 / person who closed it"
        ),
        sa.Column(
            "note",
            sa.Text,
            nullable=False,
            comment="집계가 덜 된 채 마감한 까닭 / why it was closed incomplete, or empty",
        ),
        sa.Column(
            "price_book",
            sa.Text,
            nullable=False,
            comment="단가표 전문, TOML / the price book, whole",
        ),
        sa.Column(
            "price_book_source",
            sa.Text,
            nullable=False,
            comment="단가표의 이름 / name of that book",
        ),
        sa.Column(
            "figures", sa.Text, nullable=False, comment="최대값 등, JSON / peaks and counts, JSON"
        ),
        sa.Column(
            "corrections",
            sa.Text,
            nullable=False,
            comment="이 달에 든 정정, JSON / booked in it, JSON",
        ),
        sa.Column(
            "statement", sa.Text, nullable=False, comment="명세서, JSON / its statement, JSON"
        ),
        sa.Column(
            "digest", sa.Text, nullable=False, comment="전체의 SHA-256 / hash over all of it"
        ),
        sa.Column(
            "signature",
            sa.Text,
            nullable=False,
            comment="해시의 서명, HMAC / signature of the hash",
        ),
        sa.CheckConstraint("start_s < end_s", name=op.f("closed_month_starts_before_it_ends")),
        sa.CheckConstraint("closed_by <> ''", name=op.f("closed_month_by_somebody")),
        sa.CheckConstraint("length(digest) = 64", name=op.f("closed_month_digest_is_sha256")),
        comment="마감한 달 / closed months; never changed",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "closed_line",
        sa.Column(
            "month",
            sa.Text,
            sa.ForeignKey("closed_month.month", name=op.f("closed_line_month_fkey")),
            primary_key=True,
            comment="달 / month",
        ),
        sa.Column(
            "day_start_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="날의 시작, UTC 초 / start of the day, Unix seconds",
        ),
        sa.Column("meter", sa.Text, primary_key=True, comment="계량 항목 / meter"),
        sa.Column("app", sa.Text, primary_key=True, comment="앱 / app"),
        sa.Column(
            "space", sa.Text, primary_key=True, comment="공간, 없으면 빈 값 / space, empty if none"
        ),
        sa.Column(
            "room", sa.Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"
        ),
        sa.Column("quantity", SUM, nullable=False, comment="수량 / quantity"),
        sa.CheckConstraint("quantity >= 0", name=op.f("closed_line_quantity_not_negative")),
        comment="마감한 달의 사용량 / usage of a closed month, by day and place; never changed",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "correction",
        sa.Column(
            "number", sa.Integer, primary_key=True, comment="정정 번호 / number of the correction"
        ),
        sa.Column(
            "corrects",
            sa.Text,
            sa.ForeignKey("closed_month.month", name=op.f("correction_corrects_fkey")),
            nullable=False,
            comment="바로잡는 달 / closed month that was wrong",
        ),
        sa.Column(
            "booked_in",
            sa.Text,
            nullable=False,
            comment="명세서에 실리는 달 / month whose statement has it",
        ),
        sa.Column(
            "day_start_s",
            sa.BigInteger,
            nullable=False,
            comment="값이 매겨지는 날 / day whose price it has",
        ),
        sa.Column("meter", sa.Text, nullable=False, comment="계량 항목 / meter"),
        sa.Column(
            "room", sa.Text, nullable=False, comment="방, 없으면 빈 값 / room, empty if none"
        ),
        sa.Column(
            "quantity", sa.BigInteger, nullable=False, comment="더하거나 빼는 수량 / more or less"
        ),
        sa.Column(
            "amount",
            sa.Text,
            nullable=False,
            comment="공급가액의 차이, 십진수 / difference of the amount, decimal, without VAT",
        ),
        sa.Column("reason", sa.Text, nullable=False, comment="까닭 / reason"),
        sa.Column("person", sa.Text, nullable=False, comment="정정한 사람 / person who corrected"),
        sa.Column(
            "at_s", sa.BigInteger, nullable=False, comment="정정한 때, UTC 초 / when, Unix seconds"
        ),
        sa.CheckConstraint("booked_in > corrects", name=op.f("correction_booked_later")),
        sa.CheckConstraint("quantity <> 0", name=op.f("correction_quantity_not_zero")),
        sa.CheckConstraint(
            "reason <> '' AND person <> ''", name=op.f("correction_says_why_and_who")
        ),
        comment="마감한 달의 정정 / corrections of closed months; never changed",
    )

    _refuse_changes()


def _refuse_changes() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% never changes', TG_TABLE_NAME; END $$"
        )
        for table in TABLES:
            op.execute(
                f"CREATE TRIGGER {table}_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE "
                f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in TABLES:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} never changes'); END"
            )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
