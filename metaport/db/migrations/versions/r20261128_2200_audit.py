"""Who did what, sealed in batches."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2200_audit"
down_revision = "r20261128_2135_webhook_checkpoint"


def upgrade() -> None:
    op.create_table(
        "audit_batch",
        sa.Column(
            "number",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="순번, 1부터 빈틈없이 / dense, from 1",
        ),
        sa.Column(
            "previous",
            sa.LargeBinary,
            nullable=False,
            comment="앞 묶음의 봉인 / seal of the one before",
        ),
        sa.Column("row_count", sa.Integer, nullable=False, comment="기록 수 / how many rows"),
        sa.Column(
            "digest",
            sa.LargeBinary,
            nullable=False,
            comment="기록 봉인들의 SHA-256 / of the rows' seals",
        ),
        sa.Column(
            "sealed_at_s",
            sa.BigInteger,
            nullable=False,
            comment="봉인한 시각, UTC 초 / when, Unix seconds",
        ),
        sa.Column(
            "seal", sa.LargeBinary, nullable=False, comment="봉인, HMAC-SHA256 / seal, HMAC-SHA256"
        ),
        sa.Column(
            "forgotten",
            sa.LargeBinary,
            comment="보관 기간이 지나 지웠다는 봉인 / says its rows were deleted in time",
        ),
        comment="감사 기록의 묶음: 앞 묶음에 이어 봉인 / batches of the audit log, chained",
    )
    op.create_table(
        "audit_entry",
        sa.Column(
            "serial",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            comment="기록 순번 / order of entry",
        ),
        sa.Column("id", sa.Text, nullable=False, comment="기록 id / id, there once"),
        sa.Column(
            "at_ms",
            sa.BigInteger,
            nullable=False,
            comment="언제, UTC 밀리초 / when, Unix milliseconds",
        ),
        sa.Column("actor", sa.Text, nullable=False, comment="누가 / who did it"),
        sa.Column(
            "address",
            sa.Text,
            nullable=False,
            comment="어디서: 접속 주소 / from where: network address",
        ),
        sa.Column("via", sa.Text, nullable=False, comment="api 또는 cli / api or cli"),
        sa.Column("action", sa.Text, nullable=False, comment="무엇을 하였는지 / what was done"),
        sa.Column("object", sa.Text, nullable=False, comment="대상, JSON / on what, JSON"),
        sa.Column(
            "whose",
            sa.Text,
            nullable=False,
            comment="누구의 개인정보인지 / whose personal data were told",
        ),
        sa.Column(
            "personal",
            sa.Text,
            nullable=False,
            comment="어떤 개인정보인지, 없으면 빈 값 / which personal data; empty for none",
        ),
        sa.Column(
            "result",
            sa.Text,
            nullable=False,
            comment="결과: HTTP 상태, 종료 값 / status or exit code",
        ),
        sa.Column("request_id", sa.Text, nullable=False, comment="요청 id / id of the request"),
        sa.Column(
            "batch",
            sa.BigInteger,
            sa.ForeignKey("audit_batch.number", name="audit_entry_batch_fkey"),
            comment="봉인된 묶음, 아직이면 없음 / batch it is sealed in; none yet",
        ),
        sa.Column("seal", sa.LargeBinary, comment="이 기록의 봉인 / seal of this row"),
        sa.UniqueConstraint("id", name="audit_entry_unique_id"),
        comment="감사 기록: 누가 언제 어디서 무엇을 / audit log: who did what, when, from where",
    )
    op.create_index("audit_entry_by_batch", "audit_entry", ["batch", "serial"])
    op.create_index("audit_entry_by_time", "audit_entry", ["at_ms"])


def downgrade() -> None:
    op.drop_table("audit_entry")
    op.drop_table("audit_batch")
