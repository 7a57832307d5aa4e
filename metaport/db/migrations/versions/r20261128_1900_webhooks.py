"""Webhooks: who is told, what there is to tell, and how far that has come."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1900_webhooks"
down_revision = "r20261128_1845_reconciliation"


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Text, primary_key=True, comment="받는 곳의 id / id of the endpoint"),
        sa.Column(
            "url", sa.Text, nullable=False, comment="보내는 주소 / address that is posted to"
        ),
        sa.Column(
            "events", sa.Text, nullable=False, comment="알릴 사건, JSON / patterns of events, JSON"
        ),
        sa.Column(
            "enabled", sa.Boolean, nullable=False, comment="보내는지 / whether it is told anything"
        ),
        sa.Column(
            "secret_version",
            sa.Integer,
            nullable=False,
            comment="서명 비밀의 순번, 비밀은 저장하지 않음 / which secret signs; none is kept",
        ),
        sa.Column(
            "rotated_at_s",
            sa.BigInteger,
            nullable=False,
            comment="비밀을 바꾼 시각, UTC 초 / when the secret changed, Unix seconds",
        ),
        sa.Column("created_by", sa.Text, nullable=False, comment="만든 사용자 / user who made it"),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="만든 시각, UTC 초 / Unix seconds",
        ),
        comment="웹훅을 받는 곳 / endpoints of webhooks",
    )
    op.create_table(
        "webhook_event",
        sa.Column(
            "id", sa.Text, primary_key=True, comment="사건의 id, 한 번만 있음 / id, there once"
        ),
        sa.Column(
            "type", sa.Text, nullable=False, comment="사건의 종류 / type, such as budget.reached"
        ),
        sa.Column(
            "at_ms", sa.BigInteger, nullable=False, comment="때, UTC 밀리초 / Unix milliseconds"
        ),
        sa.Column(
            "body", sa.Text, nullable=False, comment="보내는 내용, JSON / what is posted, JSON"
        ),
        comment="알릴 사건 / events to be told",
    )
    op.create_index("webhook_event_by_time", "webhook_event", ["at_ms"])
    op.create_table(
        "webhook_delivery",
        sa.Column(
            "event_id",
            sa.Text,
            sa.ForeignKey(
                "webhook_event.id", ondelete="CASCADE", name="webhook_delivery_event_id_fkey"
            ),
            primary_key=True,
            comment="사건 / event",
        ),
        sa.Column(
            "endpoint_id",
            sa.Text,
            sa.ForeignKey(
                "webhook_endpoint.id", ondelete="CASCADE", name="webhook_delivery_endpoint_id_fkey"
            ),
            primary_key=True,
            comment="받는 곳 / endpoint",
        ),
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            comment="pending, delivered, dead: 보낼 것, 보낸 것, 포기한 것 / how far it has come",
        ),
        sa.Column("attempts", sa.Integer, nullable=False, comment="보내 본 횟수 / attempts so far"),
        sa.Column(
            "next_at_s",
            sa.BigInteger,
            nullable=False,
            comment="다음에 보낼 시각, UTC 초 / next attempt, Unix seconds",
        ),
        sa.Column("last_status", sa.Integer, comment="마지막 HTTP 상태 / last HTTP status"),
        sa.Column(
            "last_error", sa.Text, comment="마지막 실패의 까닭 / why the last attempt failed"
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'dead')", name="webhook_delivery_state_known"
        ),
        comment="사건을 받는 곳마다의 전달 / delivery of an event to an endpoint",
    )
    op.create_index("webhook_delivery_by_due", "webhook_delivery", ["state", "next_at_s"])


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook_event")
    op.drop_table("webhook_endpoint")
