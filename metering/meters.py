"""The meters: fixed names, their units, and what each one means in one sentence.

`METERS` have a price in every price book, be it 0. `FIGURES` are told beside them and need none.
"""

import enum
from dataclasses import dataclass
from types import MappingProxyType

from metering.units import Unit


class Service(enum.StrEnum):
    """The heading of a statement under which a meter stands."""

    TEXT = "text"
    VOICE = "voice"
    VIDEO = "video"
    TRAFFIC = "traffic"


@dataclass(frozen=True, slots=True)
class Meter:
    """A thing that is counted, with its title and its definition in Korean and English."""

    name: str
    service: Service
    unit: Unit
    title_ko: str
    title_en: str
    definition_ko: str
    definition_en: str

    def title(self, lang: str) -> str:
        """Name the meter in `lang`."""
        return self.title_ko if lang == "ko" else self.title_en

    def definition(self, lang: str) -> str:
        """Say in one sentence of `lang` what is counted."""
        return self.definition_ko if lang == "ko" else self.definition_en


MESSAGES_SENT = "chat.messages_sent"
MESSAGES_DELIVERED = "chat.messages_delivered"
MESSAGES_RECOVERED = "chat.messages_recovered"
CONNECTION_SECONDS = "chat.connection_seconds"
VOICE_SECONDS = "voice.participant_seconds"
VIDEO_SECONDS_SD = "video.participant_seconds.sd"
VIDEO_SECONDS_HD = "video.participant_seconds.hd"
VIDEO_SECONDS_FHD = "video.participant_seconds.fhd"
VIDEO_SECONDS_2K = "video.participant_seconds.2k"
VIDEO_SECONDS_2K_PLUS = "video.participant_seconds.2k_plus"
INGRESS_BYTES = "media.ingress_bytes"
EGRESS_BYTES = "media.egress_bytes"

# Told beside what is priced.
TEXT_BYTES_IN = "chat.text_bytes_in"
TEXT_BYTES_OUT = "chat.text_bytes_out"
PEAK_USERS = "chat.peak_users"
ACTIVE_USERS = "chat.active_users"
RECORDING_SECONDS = "recording.seconds"
TURN_BYTES = "media.turn_bytes"
STORED_BYTES = "storage.stored_bytes"

# Counted by session as well, so that a price may round each session.
SESSION_METERS = frozenset(
    {
        VOICE_SECONDS,
        VIDEO_SECONDS_SD,
        VIDEO_SECONDS_HD,
        VIDEO_SECONDS_FHD,
        VIDEO_SECONDS_2K,
        VIDEO_SECONDS_2K_PLUS,
    }
)

# Not added up: see `metering.ledger`.
GAUGES = frozenset({PEAK_USERS, STORED_BYTES})

# The last pixel that still belongs to a class: 640x480, 1280x720, 1920x1080, 2560x1440. Vendors
# that price by the pixels a participant receives in total use the same bounds from HD upward.
VIDEO_CLASSES = (
    (307_200, VIDEO_SECONDS_SD),
    (921_600, VIDEO_SECONDS_HD),
    (2_073_600, VIDEO_SECONDS_FHD),
    (3_686_400, VIDEO_SECONDS_2K),
)


def video_meter(pixels: int) -> str:
    """Return the meter of a second in which streams of `pixels` summed pixels are forwarded."""
    for last_pixel, name in VIDEO_CLASSES:
        if pixels <= last_pixel:
            return name
    return VIDEO_SECONDS_2K_PLUS


def participation_meter(pixels: int) -> str:
    """Return the one meter of a second of participation: voice when no video is forwarded."""
    return video_meter(pixels) if pixels > 0 else VOICE_SECONDS


def _video(name: str, label: str, bound_ko: str, bound_en: str) -> Meter:
    return Meter(
        name,
        Service.VIDEO,
        Unit.SECOND,
        f"비디오 참여 시간 {label}",
        f"Video time, {label}",
        "참여자에게 영상이 하나 이상 전달된 초의 수로, 그때 전달된 모든 영상의 화소 수 합이 "
        f"{bound_ko}인 경우이다.",
        "Seconds in which at least one video stream was forwarded to the participant and the "
        f"pixels of all streams forwarded together were {bound_en}.",
    )


METERS = MappingProxyType(
    {
        meter.name: meter
        for meter in (
            Meter(
                MESSAGES_SENT,
                Service.TEXT,
                Unit.MESSAGE,
                "보낸 메시지",
                "Messages sent",
                "서버가 순서를 매겨 저장하고 접수를 알린 메시지의 수이며, 같은 키로 다시 보낸 것은 "
                "세지 않는다.",
                "Messages the server ordered, stored and acknowledged; a repeat under the same "
                "key is not counted again.",
            ),
            Meter(
                MESSAGES_DELIVERED,
                Service.TEXT,
                Unit.MESSAGE,
                "전달한 메시지",
                "Messages delivered",
                "접속 중인 연결 하나하나에 실시간으로 내보낸 메시지의 수이며, 보낸 사람 자신의 "
                "연결도 포함한다.",
                "Live messages written for a connection, counted once for each connection, the "
                "sender's own included.",
            ),
            Meter(
                MESSAGES_RECOVERED,
                Service.TEXT,
                Unit.MESSAGE,
                "복구한 메시지",
                "Messages recovered",
                "다시 접속한 뒤 이어받거나 지난 대화를 불러올 때 내보낸 메시지의 수이다.",
                "Messages written again for a connection that resumed or read back the history.",
            ),
            Meter(
                CONNECTION_SECONDS,
                Service.TEXT,
                Unit.SECOND,
                "접속 시간",
                "Connection time",
                "채팅 연결이 인증된 때부터 끊길 때까지의 초이며, 연결마다 따로 센다.",
                "Seconds from the moment a chat connection was authenticated until it ended, "
                "counted for each connection.",
            ),
            Meter(
                VOICE_SECONDS,
                Service.VOICE,
                Unit.SECOND,
                "음성 참여 시간",
                "Voice time",
                "미디어에 들어온 때부터 나갈 때까지의 초 가운데 참여자에게 영상이 하나도 전달되지 "
                "않은 초의 수이다.",
                "Seconds from joining media to leaving it in which no video stream was forwarded "
                "to the participant.",
            ),
            _video(VIDEO_SECONDS_SD, "SD", "307,200 이하", "at most 307,200"),
            _video(VIDEO_SECONDS_HD, "HD", "307,201~921,600", "307,201 to 921,600"),
            _video(VIDEO_SECONDS_FHD, "Full HD", "921,601~2,073,600", "921,601 to 2,073,600"),
            _video(VIDEO_SECONDS_2K, "2K", "2,073,601~3,686,400", "2,073,601 to 3,686,400"),
            _video(VIDEO_SECONDS_2K_PLUS, "2K+", "3,686,401 이상", "3,686,401 or more"),
            Meter(
                INGRESS_BYTES,
                Service.TRAFFIC,
                Unit.BYTE,
                "받은 미디어",
                "Media received",
                "서버가 참여자에게서 받은 음성·영상 패킷(RTP)의 바이트 수이다.",
                "Bytes of voice and video packets (RTP) the server received from participants.",
            ),
            Meter(
                EGRESS_BYTES,
                Service.TRAFFIC,
                Unit.BYTE,
                "보낸 미디어",
                "Media forwarded",
                "서버가 참여자에게 보낸 음성·영상 패킷(RTP)의 바이트 수이다.",
                "Bytes of voice and video packets (RTP) the server forwarded to participants.",
            ),
        )
    }
)

FIGURES = MappingProxyType(
    {
        meter.name: meter
        for meter in (
            Meter(
                TEXT_BYTES_IN,
                Service.TEXT,
                Unit.BYTE,
                "받은 글",
                "Text received",
                "접수한 메시지 본문의 바이트 수로, 글은 UTF-8, 구조는 MessagePack으로 잰다.",
                "Bytes of the bodies of messages sent: text as UTF-8, structures as MessagePack.",
            ),
            Meter(
                TEXT_BYTES_OUT,
                Service.TEXT,
                Unit.BYTE,
                "보낸 글",
                "Text delivered",
                "실시간으로 내보낸 메시지 본문의 바이트 수로, 내보낸 연결마다 센다.",
                "Bytes of the bodies of live messages, counted for each connection they were "
                "written for.",
            ),
            Meter(
                PEAK_USERS,
                Service.TEXT,
                Unit.USER,
                "최대 동시 접속자",
                "Peak concurrent users",
                "매 분 정각에 접속해 있던 사용자 수를 서버별로 세어 더한 값 가운데 가장 큰 값이다.",
                "The greatest sum over servers of the users connected to each at a whole minute.",
            ),
            Meter(
                ACTIVE_USERS,
                Service.TEXT,
                Unit.USER,
                "월간 이용자",
                "Monthly active users",
                "그 달에 사용량이 하나라도 있는 서로 다른 사용자의 수이다.",
                "Different users with any usage in the month.",
            ),
            Meter(
                RECORDING_SECONDS,
                Service.VIDEO,
                Unit.SECOND,
                "녹화 시간",
                "Recording time",
                "녹화가 시작된 때부터 끝날 때까지의 초이며, 녹화마다 따로 센다.",
                "Seconds from the start of a recording to its end, counted for each recording.",
            ),
            Meter(
                TURN_BYTES,
                Service.TRAFFIC,
                Unit.BYTE,
                "중계한 미디어",
                "Media relayed",
                "TURN 서버(coturn)가 사용자를 위해 상대와 주고받았다고 알린 바이트 수로, 알리지 "
                "않은 곳에서는 재지 않는다.",
                "Bytes that the TURN server (coturn) reports as exchanged with peers for a user; "
                "not measured where it reports none.",
            ),
            Meter(
                STORED_BYTES,
                Service.TRAFFIC,
                Unit.BYTE,
                "저장한 자료",
                "Data stored",
                "매시 정각에 잰 데이터베이스와 데이터 디렉터리의 크기를 더한 값 가운데 가장 큰 "
                "값이다.",
                "The greatest sum of the sizes of database and data directories at a whole hour.",
            ),
        )
    }
)
