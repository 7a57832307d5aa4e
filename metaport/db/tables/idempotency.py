"""Answers of requests that are not done twice."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

api_idempotency = Table(
    "api_idempotency",
    metadata,
    Column(
        "caller",
        Text,
        primary_key=True,
        info=personal(Personal.PERSON),
        comment="요청한 사용자 / user who asked",
    ),
    Column(
        "key_hash",
        Text,
        primary_key=True,
        comment="Idempotency-Key의 SHA-256 / SHA-256 of the Idempotency-Key",
    ),
    Column(
        "request_hash",
        Text,
        nullable=False,
        comment="요청의 SHA-256: 메서드, 경로, 본문 / SHA-256 of method, path and body",
    ),
    Column(
        "claimed_by",
        Text,
        nullable=False,
        comment="처리 중인 요청의 id / id of the request that does it",
    ),
    Column(
        "claimed_at_s",
        BigInteger,
        nullable=False,
        comment="처리를 시작한 시각, UTC 초 / when it was begun, Unix seconds",
    ),
    Column(
        "status",
        Integer,
        comment="HTTP 상태, 처리 중에는 없음 / none while under way",
    ),
    Column(
        "answer",
        LargeBinary,
        comment="봉인된 답, 비밀이 있을 수 있음 / the answer, sealed: it may hold a secret",
    ),
    Index("api_idempotency_by_time", "claimed_at_s"),
    comment="같은 Idempotency-Key의 요청에 돌려줄 답 / answers told again to repeats",
)
