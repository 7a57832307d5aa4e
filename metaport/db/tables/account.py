"""People with an account: who they are, how they sign in, and what roles they have."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from metaport.db.personal import GOES, SECRET, Personal, personal
from metaport.db.tables import metadata

PERSON = personal(Personal.PERSON)
ACTOR = personal(Personal.ACTOR)

# In the database and not on a disk: every hub serves it, and a backup has it.
avatar = Table(
    "avatar",
    metadata,
    Column("digest", Text, primary_key=True, comment="내용의 SHA-256 / hash of the content"),
    Column("media_type", Text, nullable=False, comment="형식 / media type"),
    Column(
        "content",
        LargeBinary,
        nullable=False,
        info=personal(Personal.IMAGE),
        comment="다시 인코딩한 그림 / the picture, encoded here",
    ),
    Column("created_at_s", BigInteger, nullable=False, comment="올린 시각, UTC 초 / Unix seconds"),
    CheckConstraint("length(digest) = 64", name="digest_is_sha256"),
    comment="프로필 사진 / avatars, each there once",
)

account = Table(
    "account",
    metadata,
    Column(
        "id", Text, primary_key=True, info=PERSON, comment="사용자 id, 토큰의 sub / user id, sub"
    ),
    Column("app", Text, ForeignKey("app.id"), nullable=False, comment="앱 / app it is of"),
    Column(
        "login",
        Text,
        info=personal(Personal.LOGIN),
        comment="로그인 이름, 소문자 / name to sign in with, folded; none with OpenID only",
    ),
    Column(
        "name",
        Text,
        nullable=False,
        info=personal(Personal.NAME),
        comment="표시 이름 / name shown",
    ),
    Column(
        "about",
        Text,
        nullable=False,
        info=personal(Personal.CONTENT),
        comment="자기소개 / what they say of themself",
    ),
    Column(
        "email",
        Text,
        info=personal(Personal.CONTACT),
        comment="전자우편 / email address, if told",
    ),
    Column("locale", Text, comment="언어 / language, ko or en; none if not chosen"),
    Column(
        "avatar",
        Text,
        ForeignKey("avatar.digest"),
        info=personal(Personal.IMAGE),
        comment="프로필 사진 / avatar, by its hash",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        comment="pending, active, suspended, erased: 승인 대기, 사용, 정지, 삭제 / state",
    ),
    Column(
        "state_reason",
        Text,
        nullable=False,
        comment="정지·거절의 까닭 / why it is suspended, or empty",
    ),
    Column(
        "password_hash",
        Text,
        info=SECRET,
        comment="비밀번호의 argon2id 해시 / argon2id hash; none with OpenID only",
    ),
    Column(
        "password_at_s",
        BigInteger,
        comment="비밀번호를 정한 시각, UTC 초 / when it was set, Unix seconds",
    ),
    Column(
        "created_by",
        Text,
        nullable=False,
        info=ACTOR,
        comment="신청하거나 만든 사람 / who asked for it: the person, or who made it",
    ),
    Column("created_at_s", BigInteger, nullable=False, comment="만든 시각, UTC 초 / Unix seconds"),
    Column("approved_by", Text, info=ACTOR, comment="승인한 사람 / who approved it, somebody else"),
    Column("approved_at_s", BigInteger, comment="승인한 시각, UTC 초 / Unix seconds"),
    Column("version", Integer, nullable=False, comment="바뀐 횟수, ETag / times changed, its ETag"),
    CheckConstraint("state IN ('pending', 'active', 'suspended', 'erased')", name="state_known"),
    CheckConstraint("state <> 'active' OR approved_by IS NOT NULL", name="active_when_approved"),
    CheckConstraint(
        "approved_by IS NULL OR (approved_by <> created_by AND approved_by <> id)",
        name="approved_by_another",
    ),
    CheckConstraint("name <> ''", name="named"),
    UniqueConstraint("app", "login", name="account_one_login"),
    comment="계정 / accounts; guests have none",
)

account_subject = Table(
    "account_subject",
    metadata,
    Column("issuer", Text, primary_key=True, comment="OpenID 제공자 / issuer of OpenID Connect"),
    Column(
        "subject",
        Text,
        primary_key=True,
        info=personal(Personal.LOGIN),
        comment="제공자 안의 식별자 / who it is there, sub",
    ),
    Column(
        "account",
        Text,
        ForeignKey("account.id", ondelete="CASCADE"),
        nullable=False,
        info=PERSON,
        comment="계정 / account",
    ),
    Column("linked_at_s", BigInteger, nullable=False, comment="연결한 시각, UTC 초 / Unix seconds"),
    Index("account_subject_by_account", "account"),
    info=GOES,
    comment="OpenID Connect로 로그인하는 사람 / who signs in with OpenID Connect",
)

role_grant = Table(
    "role_grant",
    metadata,
    Column("id", Text, primary_key=True, comment="부여의 id / id of the grant"),
    Column(
        "account",
        Text,
        ForeignKey("account.id"),
        nullable=False,
        info=PERSON,
        comment="받는 계정 / account that gets it",
    ),
    Column("role", Text, nullable=False, comment="역할 / role, see metaport.roles"),
    Column("asked_by", Text, nullable=False, info=ACTOR, comment="신청한 사람 / who asked for it"),
    Column("asked_at_s", BigInteger, nullable=False, comment="신청한 시각, UTC 초 / Unix seconds"),
    Column(
        "confirmed_by", Text, info=ACTOR, comment="확인한 사람 / who confirmed it, somebody else"
    ),
    Column("confirmed_at_s", BigInteger, comment="확인한 시각, UTC 초 / Unix seconds"),
    Column("ended_by", Text, info=ACTOR, comment="거두거나 거절한 사람 / who took it back"),
    Column("ended_at_s", BigInteger, comment="거둔 시각, UTC 초 / Unix seconds"),
    CheckConstraint(
        "confirmed_by IS NULL OR (confirmed_by <> asked_by AND confirmed_by <> account)",
        name="confirmed_by_another",
    ),
    CheckConstraint("(ended_by IS NULL) = (ended_at_s IS NULL)", name="ended_by_somebody"),
    CheckConstraint(
        "(confirmed_by IS NULL) = (confirmed_at_s IS NULL)", name="confirmed_by_somebody"
    ),
    Index(
        "role_grant_open_once",
        "account",
        "role",
        unique=True,
        sqlite_where=text("ended_at_s IS NULL"),
        postgresql_where=text("ended_at_s IS NULL"),
    ),
    Index("role_grant_by_account", "account"),
    comment="역할 부여 / roles asked for, confirmed and taken back; kept as a record",
)
