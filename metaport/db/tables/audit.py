"""Who did what, sealed in batches."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from metaport.db.personal import STAYS, Personal, personal
from metaport.db.tables import metadata

audit_batch = Table(
    "audit_batch",
    metadata,
    Column(
        "number",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="순번, 1부터 빈틈없이 / dense, from 1",
    ),
    Column(
        "previous", LargeBinary, nullable=False, comment="앞 묶음의 봉인 / seal of the one before"
    ),
    Column("row_count", Integer, nullable=False, comment="기록 수 / how many rows"),
    Column(
        "digest", LargeBinary, nullable=False, comment="기록 봉인들의 SHA-256 / of the rows' seals"
    ),
    Column(
        "sealed_at_s",
        BigInteger,
        nullable=False,
        comment="봉인한 시각, UTC 초 / when, Unix seconds",
    ),
    Column("seal", LargeBinary, nullable=False, comment="봉인, HMAC-SHA256 / seal, HMAC-SHA256"),
    Column(
        "forgotten",
        LargeBinary,
        comment="보관 기간이 지나 지웠다는 봉인 / says its rows were deleted in time",
    ),
    comment="감사 기록의 묶음: 앞 묶음에 이어 봉인 / batches of the audit log, chained",
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column(
        "serial",
        # SQLite counts by itself in a column of exactly this type.
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        comment="기록 순번 / order of entry",
    ),
    Column("id", Text, nullable=False, unique=True, comment="기록 id / id, there once"),
    Column(
        "at_ms", BigInteger, nullable=False, comment="언제, UTC 밀리초 / when, Unix milliseconds"
    ),
    Column(
        "actor", Text, nullable=False, info=personal(Personal.ACTOR), comment="누가 / who did it"
    ),
    Column(
        "address",
        Text,
        nullable=False,
        info=personal(Personal.ADDRESS),
        comment="어디서: 접속 주소 / from where: network address",
    ),
    Column("via", Text, nullable=False, comment="api 또는 cli / api or cli"),
    Column("action", Text, nullable=False, comment="무엇을 하였는지 / what was done"),
    Column("object", Text, nullable=False, comment="대상, JSON / on what, JSON"),
    Column(
        "whose",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="누구의 개인정보인지 / whose personal data were told",
    ),
    Column(
        "personal",
        Text,
        nullable=False,
        comment="어떤 개인정보인지, 없으면 빈 값 / which personal data; empty for none",
    ),
    Column(
        "result", Text, nullable=False, comment="결과: HTTP 상태, 종료 값 / status or exit code"
    ),
    Column("request_id", Text, nullable=False, comment="요청 id / id of the request"),
    Column(
        "batch",
        BigInteger,
        ForeignKey("audit_batch.number"),
        comment="봉인된 묶음, 아직이면 없음 / batch it is sealed in; none yet",
    ),
    Column("seal", LargeBinary, comment="이 기록의 봉인 / seal of this row"),
    Index("audit_entry_by_batch", "batch", "serial"),
    Index("audit_entry_by_time", "at_ms"),
    info=STAYS,
    comment="감사 기록: 누가 언제 어디서 무엇을 / audit log: who did what, when, from where",
)
