"""Apps (tenants) and the keys with which their backends sign tokens."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

app = Table(
    "app",
    metadata,
    Column("id", Text, primary_key=True, comment="앱의 id / id of the app"),
    Column("name", Text, nullable=False, comment="이름 / name shown"),
    Column(
        "state",
        Text,
        nullable=False,
        comment="active, suspended: 사용 중, 정지 / whether its keys and accounts hold",
    ),
    Column(
        "created_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="만든 사용자 / user who made it",
    ),
    Column("created_at_s", BigInteger, nullable=False, comment="만든 시각, UTC 초 / Unix seconds"),
    CheckConstraint("state IN ('active', 'suspended')", name="state_known"),
    CheckConstraint("id <> '' AND name <> ''", name="named"),
    comment="앱(테넌트) / apps, the tenants of this installation",
)

# Never deleted: which key signed a token must stay known.
app_key = Table(
    "app_key",
    metadata,
    Column("id", Text, primary_key=True, comment="키의 id, 토큰의 kid / id of the key, kid"),
    Column(
        "app",
        Text,
        ForeignKey("app.id"),
        nullable=False,
        comment="앱 / app whose tokens it signs",
    ),
    Column(
        "algorithm",
        Text,
        nullable=False,
        comment="HS256, EdDSA, RS256: 서명 방식 / how it signs",
    ),
    Column(
        "public_key",
        Text,
        comment="공개 키, JWK; 비밀은 저장하지 않음 / public key as JWK; no secret is kept",
    ),
    Column(
        "created_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="만든 사용자 / user who made it",
    ),
    Column("created_at_s", BigInteger, nullable=False, comment="만든 시각, UTC 초 / Unix seconds"),
    Column(
        "ends_at_s",
        BigInteger,
        comment="이때부터 무효, UTC 초 / void from then on: rotated or revoked",
    ),
    Column(
        "ended_by",
        Text,
        info=personal(Personal.ACTOR),
        comment="끝낸 사용자 / user who rotated or revoked it",
    ),
    CheckConstraint("algorithm IN ('HS256', 'EdDSA', 'RS256')", name="algorithm_known"),
    CheckConstraint("(algorithm = 'HS256') = (public_key IS NULL)", name="keeps_no_secret"),
    CheckConstraint("(ends_at_s IS NULL) = (ended_by IS NULL)", name="ended_by_somebody"),
    Index("app_key_by_app", "app"),
    comment="앱의 서명 키 / keys with which the backends of apps sign tokens",
)
