"""Invitations into private rooms, and who has come by them."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from metaport.db.personal import GOES, SECRET, Personal, personal
from metaport.db.tables import metadata

invitation = Table(
    "invitation",
    metadata,
    Column("id", Text, primary_key=True, comment="초대의 id / id of the invitation"),
    Column(
        "digest",
        Text,
        nullable=False,
        unique=True,
        info=SECRET,
        comment="초대 코드의 SHA-256 / hash of the code, which is not kept",
    ),
    Column("room", Text, nullable=False, comment="방 / room"),
    Column("max_uses", Integer, nullable=False, comment="쓸 수 있는 사람 수 / people it is for"),
    Column("uses", Integer, nullable=False, comment="쓴 사람 수 / people who came by it"),
    Column(
        "made_by",
        Text,
        nullable=False,
        info=personal(Personal.PERSON),
        comment="초대한 사람 / who made it",
    ),
    Column(
        "made_at_s",
        BigInteger,
        nullable=False,
        comment="만든 시각, UTC 초 / when it was made, Unix seconds",
    ),
    Column(
        "expires_at_s",
        BigInteger,
        nullable=False,
        comment="끝나는 시각, UTC 초 / when it ends, Unix seconds",
    ),
    Column(
        "revoked_by",
        Text,
        info=personal(Personal.ACTOR),
        comment="거둔 사람 / who took it back",
    ),
    CheckConstraint("max_uses >= 1", name="is_for_somebody"),
    CheckConstraint("uses >= 0 AND uses <= max_uses", name="uses_bounded"),
    CheckConstraint("expires_at_s > made_at_s", name="ends_later"),
    CheckConstraint("length(digest) = 64", name="digest_is_sha256"),
    Index("invitation_by_room", "room", "id"),
    comment="방 초대 / invitations into rooms",
)

invitation_use = Table(
    "invitation_use",
    metadata,
    Column(
        "invitation",
        Text,
        ForeignKey("invitation.id", ondelete="CASCADE"),
        primary_key=True,
        comment="초대 / invitation",
    ),
    Column(
        "user_id",
        Text,
        primary_key=True,
        info=personal(Personal.PERSON),
        comment="들어온 사람 / who came by it",
    ),
    Column(
        "at_s",
        BigInteger,
        nullable=False,
        comment="쓴 시각, UTC 초 / when it was used, Unix seconds",
    ),
    info=GOES,
    comment="초대를 쓴 사람 / who came by an invitation",
)
