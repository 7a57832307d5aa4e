"""The meters: fixed names, their units, and what each one means in one sentence."""

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

PEAK_USERS = "chat.peak_users"

# Not added up: see `metering.ledger`.
GAUGES = frozenset({PEAK_USERS})

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
