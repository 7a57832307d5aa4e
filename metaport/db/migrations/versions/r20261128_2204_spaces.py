"""What is laid down about spaces."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2204_spaces"
down_revision = "r20261128_2200_audit"


def upgrade() -> None:
    op.create_table(
        "space",
        sa.Column("space", sa.Text, nullable=False, comment="공간의 이름 / name of the space"),
        sa.Column("title_ko", sa.Text, nullable=False, comment="한국어 제목 / title in Korean"),
        sa.Column("title_en", sa.Text, nullable=False, comment="영어 제목 / title in English"),
        sa.Column(
            "capacity",
            sa.Integer,
            comment="동시에 들어갈 수 있는 사람 수, 없으면 제한 없음 / "
            "users at once, null is no bound",
        ),
        sa.Column(
            "zone", sa.Text, nullable=False, comment="운영 시간의 시간대 / zone of its hours"
        ),
        sa.Column(
            "hours", sa.Text, nullable=False, comment="운영 시간, JSON / opening hours, JSON"
        ),
        sa.Column(
            "closed",
            sa.Boolean,
            nullable=False,
            comment="닫아 두었는지 / closed whatever the hours",
        ),
        sa.Column(
            "state", sa.Text, nullable=False, comment="화면에 보이는 상태, JSON / state, JSON"
        ),
        sa.Column(
            "state_revision",
            sa.BigInteger,
            nullable=False,
            comment="상태가 바뀐 횟수 / how often the state was changed",
        ),
        sa.Column(
            "removed",
            sa.Boolean,
            nullable=False,
            comment="설정이 지워졌는지 / whether nothing is laid down any more",
        ),
        sa.Column(
            "revision",
            sa.BigInteger,
            nullable=False,
            comment="모든 공간을 통틀어 변경 순번 / order of changes over all spaces",
        ),
        sa.Column(
            "changed_by", sa.Text, nullable=False, comment="바꾼 사용자 / user who changed it"
        ),
        sa.Column(
            "changed_at_s",
            sa.BigInteger,
            nullable=False,
            comment="바꾼 시각, UTC 초 / when it was changed, Unix seconds",
        ),
        sa.CheckConstraint("capacity IS NULL OR capacity > 0", name=op.f("space_capacity_counts")),
        sa.CheckConstraint("state_revision >= 0", name=op.f("space_state_counts")),
        sa.PrimaryKeyConstraint("space"),
        comment="공간의 규칙과 상태 / rules and state of spaces",
    )
    op.create_index("space_by_revision", "space", ["revision"], unique=True)


def downgrade() -> None:
    op.drop_table("space")
