"""Apps with keys, accounts with roles, sessions with devices, and erasures."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2106_identity"
down_revision = "r20261128_1900_webhooks"


def upgrade() -> None:
    op.create_table(
        "app",
        sa.Column("id", sa.Text, nullable=False, comment="앱의 id / id of the app"),
        sa.Column("name", sa.Text, nullable=False, comment="이름 / name shown"),
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            comment="active, suspended: 사용 중, 정지 / whether its keys and accounts hold",
        ),
        sa.Column("created_by", sa.Text, nullable=False, comment="만든 사용자 / user who made it"),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="만든 시각, UTC 초 / Unix seconds",
        ),
        sa.CheckConstraint("id <> '' AND name <> ''", name=op.f("app_named")),
        sa.CheckConstraint("state IN ('active', 'suspended')", name=op.f("app_state_known")),
        sa.PrimaryKeyConstraint("id"),
        comment="앱(테넌트) / apps, the tenants of this installation",
    )
    # Whoever has no other app is of this one.
    op.execute(
        "INSERT INTO app (id, name, state, created_by, created_at_s) "
        "VALUES ('default', 'default', 'active', 'migration', 0)"
    )
    op.create_table(
        "avatar",
        sa.Column(
            "digest", sa.Text, nullable=False, comment="내용의 SHA-256 / hash of the content"
        ),
        sa.Column("media_type", sa.Text, nullable=False, comment="형식 / media type"),
        sa.Column(
            "content",
            sa.LargeBinary,
            nullable=False,
            comment="다시 인코딩한 그림 / the picture, encoded here",
        ),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="올린 시각, UTC 초 / Unix seconds",
        ),
        sa.CheckConstraint("length(digest) = 64", name=op.f("avatar_digest_is_sha256")),
        sa.PrimaryKeyConstraint("digest"),
        comment="프로필 사진 / avatars, each there once",
    )
    op.create_table(
        "erasure",
        sa.Column(
            "pseudonym",
            sa.Text,
            nullable=False,
            comment="대신 쓰는 이름 / what stands for the person",
        ),
        sa.Column(
            "user_id",
            sa.Text,
            nullable=True,
            comment="지울 사용자, 끝나면 비움 / user to be erased; none once it is done",
        ),
        sa.Column("asked_by", sa.Text, nullable=False, comment="요청한 사람 / who asked for it"),
        sa.Column(
            "at_s", sa.BigInteger, nullable=False, comment="요청 시각, UTC 초 / when, Unix seconds"
        ),
        sa.Column(
            "done_at_s",
            sa.BigInteger,
            nullable=True,
            comment="다 지운 시각, UTC 초 / when nothing was left",
        ),
        sa.Column(
            "counts",
            sa.Text,
            nullable=False,
            comment="표마다 지우거나 바꾼 행, JSON / rows deleted or changed, by table, JSON",
        ),
        sa.CheckConstraint(
            "(user_id IS NULL) = (done_at_s IS NOT NULL)", name=op.f("erasure_forgets_when_done")
        ),
        sa.PrimaryKeyConstraint("pseudonym"),
        comment="개인정보 삭제 기록 / erasures of personal data",
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Text, nullable=False, comment="사용자 id, 토큰의 sub / user id, sub"),
        sa.Column("app", sa.Text, nullable=False, comment="앱 / app it is of"),
        sa.Column(
            "login",
            sa.Text,
            nullable=True,
            comment="로그인 이름, 소문자 / name to sign in with, folded; none with OpenID only",
        ),
        sa.Column("name", sa.Text, nullable=False, comment="표시 이름 / name shown"),
        sa.Column("about", sa.Text, nullable=False, comment="자기소개 / what they say of themself"),
        sa.Column("email", sa.Text, nullable=True, comment="전자우편 / email address, if told"),
        sa.Column(
            "locale",
            sa.Text,
            nullable=True,
            comment="언어 / language, ko or en; none if not chosen",
        ),
        sa.Column("avatar", sa.Text, nullable=True, comment="프로필 사진 / avatar, by its hash"),
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            comment="pending, active, suspended, erased: 승인 대기, 사용, 정지, 삭제 / state",
        ),
        sa.Column(
            "state_reason",
            sa.Text,
            nullable=False,
            comment="정지·거절의 까닭 / why it is suspended, or empty",
        ),
        sa.Column(
            "password_hash",
            sa.Text,
            nullable=True,
            comment="비밀번호의 argon2id 해시 / argon2id hash; none with OpenID only",
        ),
        sa.Column(
            "password_at_s",
            sa.BigInteger,
            nullable=True,
            comment="비밀번호를 정한 시각, UTC 초 / when it was set, Unix seconds",
        ),
        sa.Column(
            "created_by",
            sa.Text,
            nullable=False,
            comment="신청하거나 만든 사람 / who asked for it: the person, or who made it",
        ),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="만든 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "approved_by",
            sa.Text,
            nullable=True,
            comment="승인한 사람 / who approved it, somebody else",
        ),
        sa.Column(
            "approved_at_s",
            sa.BigInteger,
            nullable=True,
            comment="승인한 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "version",
            sa.Integer,
            nullable=False,
            comment="바뀐 횟수, ETag / times changed, its ETag",
        ),
        sa.CheckConstraint("name <> ''", name=op.f("account_named")),
        sa.CheckConstraint(
            "state <> 'active' OR approved_by IS NOT NULL",
            name=op.f("account_active_when_approved"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'suspended', 'erased')",
            name=op.f("account_state_known"),
        ),
        sa.CheckConstraint(
            "approved_by IS NULL OR (approved_by <> created_by AND approved_by <> id)",
            name=op.f("account_approved_by_another"),
        ),
        sa.ForeignKeyConstraint(["app"], ["app.id"], name=op.f("account_app_fkey")),
        sa.ForeignKeyConstraint(["avatar"], ["avatar.digest"], name=op.f("account_avatar_fkey")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("app", "login", name="account_one_login"),
        comment="계정 / accounts; guests have none",
    )
    op.create_table(
        "app_key",
        sa.Column(
            "id", sa.Text, nullable=False, comment="키의 id, 토큰의 kid / id of the key, kid"
        ),
        sa.Column("app", sa.Text, nullable=False, comment="앱 / app whose tokens it signs"),
        sa.Column(
            "algorithm",
            sa.Text,
            nullable=False,
            comment="HS256, EdDSA, RS256: 서명 방식 / how it signs",
        ),
        sa.Column(
            "public_key",
            sa.Text,
            nullable=True,
            comment="공개 키, JWK; 비밀은 저장하지 않음 / public key as JWK; no secret is kept",
        ),
        sa.Column("created_by", sa.Text, nullable=False, comment="만든 사용자 / user who made it"),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="만든 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "ends_at_s",
            sa.BigInteger,
            nullable=True,
            comment="이때부터 무효, UTC 초 / void from then on: rotated or revoked",
        ),
        sa.Column(
            "ended_by",
            sa.Text,
            nullable=True,
            comment="끝낸 사용자 / user who rotated or revoked it",
        ),
        sa.CheckConstraint(
            "(algorithm = 'HS256') = (public_key IS NULL)", name=op.f("app_key_keeps_no_secret")
        ),
        sa.CheckConstraint(
            "algorithm IN ('HS256', 'EdDSA', 'RS256')", name=op.f("app_key_algorithm_known")
        ),
        sa.CheckConstraint(
            "(ends_at_s IS NULL) = (ended_by IS NULL)", name=op.f("app_key_ended_by_somebody")
        ),
        sa.ForeignKeyConstraint(["app"], ["app.id"], name=op.f("app_key_app_fkey")),
        sa.PrimaryKeyConstraint("id"),
        comment="앱의 서명 키 / keys with which the backends of apps sign tokens",
    )
    op.create_index("app_key_by_app", "app_key", ["app"], unique=False)
    op.create_table(
        "account_subject",
        sa.Column(
            "issuer", sa.Text, nullable=False, comment="OpenID 제공자 / issuer of OpenID Connect"
        ),
        sa.Column(
            "subject", sa.Text, nullable=False, comment="제공자 안의 식별자 / who it is there, sub"
        ),
        sa.Column("account", sa.Text, nullable=False, comment="계정 / account"),
        sa.Column(
            "linked_at_s",
            sa.BigInteger,
            nullable=False,
            comment="연결한 시각, UTC 초 / Unix seconds",
        ),
        sa.ForeignKeyConstraint(
            ["account"],
            ["account.id"],
            name=op.f("account_subject_account_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("issuer", "subject"),
        comment="OpenID Connect로 로그인하는 사람 / who signs in with OpenID Connect",
    )
    op.create_index("account_subject_by_account", "account_subject", ["account"], unique=False)
    op.create_table(
        "device",
        sa.Column("id", sa.Text, nullable=False, comment="기기의 id / id of the device"),
        sa.Column("account", sa.Text, nullable=False, comment="계정 / account"),
        sa.Column("name", sa.Text, nullable=False, comment="기기 이름 / what its owner calls it"),
        sa.Column(
            "agent", sa.Text, nullable=False, comment="브라우저나 앱 / browser or app, as it says"
        ),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="처음 쓴 시각, UTC 초 / first use",
        ),
        sa.Column(
            "seen_at_s",
            sa.BigInteger,
            nullable=False,
            comment="마지막에 쓴 시각, UTC 초 / last use",
        ),
        sa.Column(
            "address",
            sa.Text,
            nullable=False,
            comment="마지막 주소 / address it was last used from",
        ),
        sa.ForeignKeyConstraint(
            ["account"], ["account.id"], name=op.f("device_account_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="로그인한 기기 / devices an account was signed in with",
    )
    op.create_index("device_by_account", "device", ["account"], unique=False)
    op.create_table(
        "role_grant",
        sa.Column("id", sa.Text, nullable=False, comment="부여의 id / id of the grant"),
        sa.Column("account", sa.Text, nullable=False, comment="받는 계정 / account that gets it"),
        sa.Column("role", sa.Text, nullable=False, comment="역할 / role, see metaport.roles"),
        sa.Column("asked_by", sa.Text, nullable=False, comment="신청한 사람 / who asked for it"),
        sa.Column(
            "asked_at_s",
            sa.BigInteger,
            nullable=False,
            comment="신청한 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "confirmed_by",
            sa.Text,
            nullable=True,
            comment="확인한 사람 / who confirmed it, somebody else",
        ),
        sa.Column(
            "confirmed_at_s",
            sa.BigInteger,
            nullable=True,
            comment="확인한 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "ended_by", sa.Text, nullable=True, comment="거두거나 거절한 사람 / who took it back"
        ),
        sa.Column(
            "ended_at_s", sa.BigInteger, nullable=True, comment="거둔 시각, UTC 초 / Unix seconds"
        ),
        sa.CheckConstraint(
            "(confirmed_by IS NULL) = (confirmed_at_s IS NULL)",
            name=op.f("role_grant_confirmed_by_somebody"),
        ),
        sa.CheckConstraint(
            "(ended_by IS NULL) = (ended_at_s IS NULL)", name=op.f("role_grant_ended_by_somebody")
        ),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR (confirmed_by <> asked_by AND confirmed_by <> account)",
            name=op.f("role_grant_confirmed_by_another"),
        ),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("role_grant_account_fkey")),
        sa.PrimaryKeyConstraint("id"),
        comment="역할 부여 / roles asked for, confirmed and taken back; kept as a record",
    )
    op.create_index("role_grant_by_account", "role_grant", ["account"], unique=False)
    op.create_index(
        "role_grant_open_once",
        "role_grant",
        ["account", "role"],
        unique=True,
        sqlite_where=sa.text("ended_at_s IS NULL"),
        postgresql_where=sa.text("ended_at_s IS NULL"),
    )
    op.create_table(
        "login_session",
        sa.Column(
            "id", sa.Text, nullable=False, comment="세션의 id / id: what its refresh tokens name"
        ),
        sa.Column("user_id", sa.Text, nullable=False, comment="사용자 / user"),
        sa.Column("app", sa.Text, nullable=False, comment="앱 / app of the user"),
        sa.Column(
            "device", sa.Text, nullable=True, comment="기기, 없으면 빈 값 / device, if it was told"
        ),
        sa.Column(
            "turn", sa.Integer, nullable=False, comment="갱신 순번 / turn of the good refresh token"
        ),
        sa.Column(
            "turned_at_s",
            sa.BigInteger,
            nullable=False,
            comment="마지막 갱신, UTC 초 / last renewal",
        ),
        sa.Column(
            "created_at_s",
            sa.BigInteger,
            nullable=False,
            comment="로그인 시각, UTC 초 / Unix seconds",
        ),
        sa.Column(
            "expires_at_s", sa.BigInteger, nullable=False, comment="만료, UTC 초 / Unix seconds"
        ),
        sa.Column(
            "address", sa.Text, nullable=False, comment="마지막 주소 / address of the last renewal"
        ),
        sa.Column(
            "ended_at_s",
            sa.BigInteger,
            nullable=True,
            comment="끝난 시각, UTC 초 / when it was ended, if it was",
        ),
        sa.Column(
            "end_reason",
            sa.Text,
            nullable=True,
            comment="signed_out, reused, password, suspended, erased: 끝난 까닭 / why it was ended",
        ),
        sa.CheckConstraint(
            "(ended_at_s IS NULL) = (end_reason IS NULL)",
            name=op.f("login_session_ended_for_a_reason"),
        ),
        sa.CheckConstraint("turn >= 0", name=op.f("login_session_turn_counts")),
        sa.ForeignKeyConstraint(
            ["device"], ["device.id"], name=op.f("login_session_device_fkey"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="로그인 세션 / sessions; a reused refresh token ends one",
    )
    op.create_index("login_session_by_device", "login_session", ["device"], unique=False)
    op.create_index("login_session_by_end", "login_session", ["expires_at_s"], unique=False)
    op.create_index("login_session_by_user", "login_session", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("login_session_by_user", table_name="login_session")
    op.drop_index("login_session_by_end", table_name="login_session")
    op.drop_index("login_session_by_device", table_name="login_session")
    op.drop_table("login_session")
    op.drop_index(
        "role_grant_open_once",
        table_name="role_grant",
        sqlite_where=sa.text("ended_at_s IS NULL"),
        postgresql_where=sa.text("ended_at_s IS NULL"),
    )
    op.drop_index("role_grant_by_account", table_name="role_grant")
    op.drop_table("role_grant")
    op.drop_index("device_by_account", table_name="device")
    op.drop_table("device")
    op.drop_index("account_subject_by_account", table_name="account_subject")
    op.drop_table("account_subject")
    op.drop_index("app_key_by_app", table_name="app_key")
    op.drop_table("app_key")
    op.drop_table("account")
    op.drop_table("erasure")
    op.drop_table("avatar")
    op.drop_table("app")
