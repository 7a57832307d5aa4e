"""Readers of single configuration values: TOML value or environment text in, checked value out.

Each reader takes what the file or the environment holds and returns the value of the tree, or
raises `WrongValueError` with the rest of the sentence that the key and the value begin.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chatd.grants import is_pattern
from metaport.language import Say

Reader = Callable[[object], Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")


_TURN_URL = re.compile(
    r"(stuns?:(?!.*\?)|turns?:)(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?"
    r"(\?transport=(udp|tcp))?"
)


class WrongValueError(ValueError):
    """Say what is wrong with a value, in both languages."""

    def __init__(self, ko: str, en: str) -> None:
        super().__init__(en)
        self.say = Say(ko, en)


class Endpoint(NamedTuple):
    """Hold an address and, where it was given, a port."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port is not None else self.host
        return host if self.port is None else f"{host}:{self.port}"


class SfuAddress(NamedTuple):
    """Hold what an SFU of another machine is called, and where it is asked."""

    name: str
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.name}={self.endpoint}"


def text(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValueError("글자가 아닙니다", "is not text")
    return value


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise WrongValueError("true 또는 false가 아닙니다", "is not true or false")


def integer(value: object, low: int, high: int) -> int:
    say = Say(f"정수가 아닙니다 ({low}–{high})", f"is not a whole number ({low}–{high})")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise WrongValueError(*say)
    try:
        number = int(value)
    except ValueError:
        raise WrongValueError(*say) from None
    if not low <= number <= high:
        raise WrongValueError(f"{low}–{high} 범위를 벗어났습니다", f"is not within {low}–{high}")
    return number


def number(value: object, low: float, high: float) -> float:
    say = Say(f"숫자가 아닙니다 ({low:g}–{high:g})", f"is not a number ({low:g}–{high:g})")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise WrongValueError(*say)
    try:
        result = float(value)
    except ValueError:
        raise WrongValueError(*say) from None
    if not low <= result <= high:
        raise WrongValueError(
            f"{low:g}–{high:g} 범위를 벗어났습니다", f"is not within {low:g}–{high:g}"
        )
    return result


def port(value: object) -> int:
    try:
        return integer(value, 1, 65535)
    except WrongValueError:
        raise WrongValueError("포트 번호가 아닙니다 (1–65535)", "is not a port (1–65535)") from None


def host(value: object) -> str:
    name = text(value).strip("[]")
    if _address(name) is None and not _HOST.fullmatch(name):
        raise WrongValueError("주소나 호스트 이름이 아닙니다", "is not an address or a host name")
    return name


def endpoint(value: object) -> Endpoint:
    """Read `address[:port]`; an IPv6 address with a port stands in brackets."""
    written = text(value)
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", written)
    plain = re.fullmatch(r"([^:\[\]]+):(\d+)", written)
    match = bracketed or plain
    address, port_text = (match[1], match[2]) if match else (written, None)
    if _address(address) is None:
        raise WrongValueError(
            "IP 주소[:포트] 형식이 아닙니다 (예: 203.0.113.7:7882, [2001:db8::7]:7882)",
            "is not address[:port] (e.g. 203.0.113.7:7882 or [2001:db8::7]:7882)",
        )
    return Endpoint(address, None if port_text is None else port(port_text))


def control(value: object) -> Endpoint:
    """Read `host:port`, where a process is reached by others of ours."""
    written = text(value)
    name, _, port_text = written.rpartition(":")
    if not name or not port_text.isdecimal():
        raise WrongValueError(
            "호스트:포트 형식이 아닙니다 (예: 10.0.0.5:7900)",
            "is not host:port (e.g. 10.0.0.5:7900)",
        )
    return Endpoint(host(name), port(port_text))


def sfu_address(value: object) -> SfuAddress:
    """Read `name=host:port`, an SFU of another machine."""
    written = text(value)
    name, separator, where = written.partition("=")
    if not separator or not name.strip():
        raise WrongValueError(
            "이름=호스트:포트 형식이 아닙니다 (예: m2/sfu=10.0.0.6:7900)",
            "is not name=host:port (e.g. m2/sfu=10.0.0.6:7900)",
        )
    return SfuAddress(name.strip(), control(where.strip()))


def network(value: object) -> Network:
    try:
        return ipaddress.ip_network(text(value), strict=False)
    except ValueError:
        raise WrongValueError(
            "IP 주소나 대역이 아닙니다 (예: 10.0.0.0/8)",
            "is not an IP address or network (e.g. 10.0.0.0/8)",
        ) from None


def origin(value: object) -> str:
    """Read a web origin, lower-cased and without a trailing slash; `*` allows any."""
    written = text(value)
    if written == "*":
        return written
    parts = urlsplit(written)
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare or parts.username:
        raise WrongValueError(
            "웹 출처가 아닙니다 (예: https://space.example.kr)",
            "is not a web origin (e.g. https://space.example.kr)",
        )
    return f"{parts.scheme}://{parts.netloc}".lower()


def room_pattern(value: object) -> str:
    """Read a pattern of room names, as `chatd.grants` reads it in a token."""
    written = text(value)
    if not is_pattern(written):
        raise WrongValueError(
            "방 이름 무늬가 아닙니다 (예: plaza/*)", "is no pattern of rooms (e.g. plaza/*)"
        )
    return written


def path(value: object) -> Path:
    """Read a path; a relative one counts from the working directory, `~` is the home."""
    written = text(value)
    if not written or "\0" in written:
        raise WrongValueError("경로가 아닙니다", "is not a path")
    return Path(written).expanduser().absolute()


def label(value: object) -> str:
    """Read a name that goes into keys, file names and labels of metrics."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", written):
        raise WrongValueError(
            "이름이 아닙니다 (영문자, 숫자, - _ . 1~64자)",
            "is not a name (1 to 64 letters, digits, - _ .)",
        )
    return written


def zone(value: object) -> str:
    name = text(value)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WrongValueError(
            "시간대 이름이 아닙니다 (예: Asia/Seoul)", "is not a time zone (e.g. Asia/Seoul)"
        ) from None
    return name


def turn_url(value: object) -> str:
    """Read the URL of a STUN or TURN server (RFC 7064, RFC 7065)."""
    written = text(value)
    if not _TURN_URL.fullmatch(written):
        raise WrongValueError(
            "STUN/TURN 주소가 아닙니다 (예: turn:turn.example.kr:3478?transport=udp)",
            "is no STUN or TURN URL (e.g. turn:turn.example.kr:3478?transport=udp)",
        )
    return written


def secret(value: object) -> str:
    """Read a signing secret; RFC 7518 section 3.2 asks HS256 for 32 bytes or more."""
    written = text(value)
    if len(written.encode()) < 32:
        raise WrongValueError("32바이트 이상이어야 합니다", "must be at least 32 bytes long")
    return written


def key_set(value: object) -> str:
    """Read where a key set is: an address, or a path as `path` reads it.

    Keys that came in the clear over a network are anybody's.
    """
    written = text(value)
    parts = urlsplit(written)
    if parts.scheme not in ("http", "https"):
        return str(path(value))
    loopback = parts.hostname == "localhost" or (
        (address := _address(parts.hostname or "")) is not None and address.is_loopback
    )
    if not parts.hostname or (parts.scheme == "http" and not loopback):
        raise WrongValueError(
            "https:// 주소나 파일 경로가 아닙니다", "is neither an https:// address nor a path"
        )
    return written


def web_url(value: object) -> str:
    """Read an https address; http on this machine only."""
    written = text(value)
    if written.partition("://")[0] not in ("http", "https"):
        raise WrongValueError("https:// 주소가 아닙니다", "is not an https:// address")
    return key_set(written)


def _url(value: object, schemes: tuple[str, ...]) -> str:
    written = text(value)
    if written.partition("://")[0] not in schemes or "://" not in written:
        names = ", ".join(f"{scheme}://" for scheme in schemes)
        raise WrongValueError(f"{names} 주소가 아닙니다", f"is not a {names} URL")
    return written


def _choice(value: object, choices: tuple[str, ...]) -> str:
    written = text(value)
    if written not in choices:
        raise WrongValueError(
            f"{', '.join(choices)} 중 하나가 아닙니다", f"is none of {', '.join(choices)}"
        )
    return written


def _list(value: object, item: Reader) -> tuple[Any, ...]:
    """Read a TOML array, or a text separated by commas as the environment has it."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise WrongValueError("목록이 아닙니다", "is not a list")
    return tuple(item(entry) for entry in value)


def url(*schemes: str) -> Reader:
    return partial(_url, schemes=schemes)


def choice(*choices: str) -> Reader:
    return partial(_choice, choices=choices)


def list_of(item: Reader) -> Reader:
    return partial(_list, item=item)


def whole(low: int, high: int) -> Reader:
    return partial(integer, low=low, high=high)


def real(low: float, high: float) -> Reader:
    return partial(number, low=low, high=high)


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None
