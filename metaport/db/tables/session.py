"""Who is signed in where: sessions whose refresh tokens rotate, and devices."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
)

from metaport.db.personal import GOES, Personal, personal
from metaport.db.tables import metadata

device = Table(
    "device",
    metadata,
    Column("id", Text, primary_key=True, comment="기기의 id / id of the device"),
    Column(
        "account",
        Text,
        ForeignKey("account.id", ondelete="CASCADE"),
        nullable=False,
        info=personal(Personal.PERSON),
        comment="계정 / account",
    ),
    Column(
        "name",
        Text,
        nullable=False,
        info=personal(Personal.NAME),
        comment="기기 이름 / what its owner calls it",
    ),
    Column("agent", Text, nullable=False, comment="브라우저나 앱 / browser or app, as it says"),
    Column("created_at_s", BigInteger, nullable=False, comment="처음 쓴 시각, UTC 초 / first use"),
    Column("seen_at_s", BigInteger, nullable=False, comment="마지막에 쓴 시각, UTC 초 / last use"),
    Column(
        "address",
        Text,
        nullable=False,
        info=personal(Personal.ADDRESS),
        comment="마지막 주소 / address it was last used from",
    ),
    Index("device_by_account", "account"),
    info=GOES,
    comment="로그인한 기기 / devices an account was signed in with",
)

# No refresh token is kept, nor anything one could be made from: only which turn is good.
login_session = Table(
    "login_session",
    metadata,
    Column("id", Text, primary_key=True, comment="세션의 id / id: what its refresh tokens name"),
    # A guest's too, who has no account.
    Column(
        "user_id",
        Text,
        nullable=False,
        info=personal(Personal.PERSON),
        comment="사용자 / user",
    ),
    Column("app", Text, nullable=False, comment="앱 / app of the user"),
    Column(
        "device",
        Text,
        ForeignKey("device.id", ondelete="SET NULL"),
        comment="기기, 없으면 빈 값 / device, if it was told",
    ),
    Column("turn", Integer, nullable=False, comment="갱신 순번 / turn of the good refresh token"),
    Column("turned_at_s", BigInteger, nullable=False, comment="마지막 갱신, UTC 초 / last renewal"),
    Column(
        "created_at_s", BigInteger, nullable=False, comment="로그인 시각, UTC 초 / Unix seconds"
    ),
    Column("expires_at_s", BigInteger, nullable=False, comment="만료, UTC 초 / Unix seconds"),
    Column(
        "address",
        Text,
        nullable=False,
        info=personal(Personal.ADDRESS),
        comment="마지막 주소 / address of the last renewal",
    ),
    Column("ended_at_s", BigInteger, comment="끝난 시각, UTC 초 / when it was ended, if it was"),
    Column(
        "end_reason",
        Text,
        comment="signed_out, reused, password, suspended, erased: 끝난 까닭 / why it was ended",
    ),
    CheckConstraint("turn >= 0", name="turn_counts"),
    CheckConstraint("(ended_at_s IS NULL) = (end_reason IS NULL)", name="ended_for_a_reason"),
    Index("login_session_by_user", "user_id"),
    Index("login_session_by_device", "device"),
    Index("login_session_by_end", "expires_at_s"),
    info=GOES,
    comment="로그인 세션 / sessions; a reused refresh token ends one",
)
