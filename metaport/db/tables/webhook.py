"""Webhooks: who is told, what there is to tell, and how far that has come."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
)

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", Text, primary_key=True, comment="받는 곳의 id / id of the endpoint"),
    Column("url", Text, nullable=False, comment="보내는 주소 / address that is posted to"),
    Column("events", Text, nullable=False, comment="알릴 사건, JSON / patterns of events, JSON"),
    Column("enabled", Boolean, nullable=False, comment="보내는지 / whether it is told anything"),
    Column(
        "secret_version",
        Integer,
        nullable=False,
        comment="서명 비밀의 순번, 비밀은 저장하지 않음 / which secret signs; none is kept",
    ),
    Column(
        "rotated_at_s",
        BigInteger,
        nullable=False,
        comment="비밀을 바꾼 시각, UTC 초 / when the secret changed, Unix seconds",
    ),
    Column(
        "created_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="만든 사용자 / user who made it",
    ),
    Column("created_at_s", BigInteger, nullable=False, comment="만든 시각, UTC 초 / Unix seconds"),
    comment="웹훅을 받는 곳 / endpoints of webhooks",
)

webhook_event = Table(
    "webhook_event",
    metadata,
    Column("id", Text, primary_key=True, comment="사건의 id, 한 번만 있음 / id, there once"),
    Column("type", Text, nullable=False, comment="사건의 종류 / type, such as budget.reached"),
    Column("at_ms", BigInteger, nullable=False, comment="때, UTC 밀리초 / Unix milliseconds"),
    Column("body", Text, nullable=False, comment="보내는 내용, JSON / what is posted, JSON"),
    Index("webhook_event_by_time", "at_ms"),
    comment="알릴 사건 / events to be told",
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column(
        "event_id",
        Text,
        ForeignKey("webhook_event.id", ondelete="CASCADE"),
        primary_key=True,
        comment="사건 / event",
    ),
    Column(
        "endpoint_id",
        Text,
        ForeignKey("webhook_endpoint.id", ondelete="CASCADE"),
        primary_key=True,
        comment="받는 곳 / endpoint",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        comment="pending, delivered, dead: 보낼 것, 보낸 것, 포기한 것 / how far it has come",
    ),
    Column("attempts", Integer, nullable=False, comment="보내 본 횟수 / attempts so far"),
    Column(
        "next_at_s",
        BigInteger,
        nullable=False,
        comment="다음에 보낼 시각, UTC 초 / next attempt, Unix seconds",
    ),
    Column("last_status", Integer, comment="마지막 HTTP 상태 / last HTTP status"),
    Column("last_error", Text, comment="마지막 실패의 까닭 / why the last attempt failed"),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state_known"),
    Index("webhook_delivery_by_due", "state", "next_at_s"),
    comment="사건을 받는 곳마다의 전달 / delivery of an event to an endpoint",
)

# Only while an endpoint wants what stands in a log: what is not wanted holds no log back.
webhook_checkpoint = Table(
    "webhook_checkpoint",
    metadata,
    Column("reader", Text, primary_key=True, comment="읽는 기록 / log that is read"),
    Column(
        "position",
        BigInteger,
        nullable=False,
        comment="읽은 위치 / position up to which its events are put",
    ),
    comment="기록에서 사건을 어디까지 읽었는지 / how far events have been read from each log",
)
