"""What moderators have done: each act once, in order; what holds now follows from them."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

moderation_act = Table(
    "moderation_act",
    metadata,
    Column(
        "revision",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="조치의 순번, 1부터 / order of acts, from 1",
    ),
    Column(
        "act",
        Text,
        nullable=False,
        comment="조치: mute, unmute, kick, ban, unban, remove, move, expel / what was done",
    ),
    Column("room", Text, nullable=False, comment="방 또는 방 이름의 무늬 / room, or a pattern"),
    Column(
        "user_id",
        Text,
        info=personal(Personal.PERSON),
        comment="대상 사용자 / whom it concerns",
    ),
    Column("what", Text, comment="음소거한 것, JSON / what is muted, JSON"),
    Column("until_ms", BigInteger, comment="언제까지, UTC 밀리초 / until when, Unix milliseconds"),
    Column("epoch", Text, comment="지운 메시지의 번호 체계 / epoch of the removed message"),
    Column(
        "message_offset", BigInteger, comment="지운 메시지의 번호 / offset of the removed message"
    ),
    Column("to_room", Text, comment="옮긴 방 / room somebody was moved to"),
    Column("note", Text, nullable=False, comment="까닭, 대상에게 보임 / why, told to the user"),
    Column(
        "done_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="조치한 사용자 / user who did it",
    ),
    Column(
        "at_ms",
        BigInteger,
        nullable=False,
        comment="조치한 시각, UTC 밀리초 / when it was done, Unix milliseconds",
    ),
    CheckConstraint(
        "act IN ('mute', 'unmute', 'kick', 'ban', 'unban', 'remove', 'move', 'expel')",
        name="act_known",
    ),
    CheckConstraint(
        "(act = 'remove') = (epoch IS NOT NULL AND message_offset IS NOT NULL)",
        name="remove_names_a_message",
    ),
    CheckConstraint("act = 'remove' OR user_id IS NOT NULL", name="concerns_somebody"),
    CheckConstraint("(act = 'move') = (to_room IS NOT NULL)", name="move_names_a_room"),
    Index("moderation_act_by_room", "room", "revision"),
    Index("moderation_act_by_user", "user_id", "revision"),
    comment="운영자의 조치 기록 / acts of moderators",
)
