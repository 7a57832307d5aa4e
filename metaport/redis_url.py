"""What is wrong with a Redis URL, before anybody connects to it; its password is never told."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from metaport.config_values import Reader, WrongValueError, text

# One server, a primary watched by Sentinels, or a cluster; `rediss` speaks TLS.
SCHEMES = (
    "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster",
    "rediss+cluster",
)  # fmt: skip


def redis_url() -> Reader:
    """Return the reader of a URL that `chatd.redis_link.link_to` understands."""
    return _read


def _read(value: object) -> str:
    written = text(value)
    scheme, found, _ = written.partition("://")
    if scheme not in SCHEMES or not found:
        names = ", ".join(f"{name}://" for name in SCHEMES)
        raise WrongValueError(f"{names} 주소가 아닙니다", f"is not a {names} URL")
    try:
        split = urlsplit(written)
    except ValueError:
        raise WrongValueError(
            "주소로 읽을 수 없습니다 (IPv6는 [ ]로 감싸세요)",
            "cannot be read as a URL (put IPv6 addresses in [ ])",
        ) from None
    kind = scheme.partition("+")[2]
    if scheme == "unix":
        _check_socket(split)
        return written
    hosts = split.netloc.rpartition("@")[2].split(",")
    if not kind and len(hosts) > 1:
        raise WrongValueError(
            "서버가 여럿이면 redis+sentinel:// 이나 redis+cluster:// 로 쓰세요",
            "names several servers: write redis+sentinel:// or redis+cluster://",
        )
    for host in hosts:
        _check_host(host)
    _check_path(split.path, kind)
    return written


def _check_socket(split: SplitResult) -> None:
    # unix://run/… names a host called run.
    hosted = split.netloc.rpartition("@")[2]
    if hosted or not split.path.startswith("/") or split.path == "/":
        raise WrongValueError(
            "유닉스 소켓의 경로가 없습니다: unix:///run/redis/redis.sock",
            "has no path of a Unix socket: unix:///run/redis/redis.sock",
        )


def _check_host(host: str) -> None:
    name, port = _parted(host)
    if not name or any(letter.isspace() for letter in name):
        raise WrongValueError(
            "호스트 이름이 없습니다: redis://host:6379", "has no host name: redis://host:6379"
        )
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise WrongValueError(
            "포트는 1–65535의 수입니다. 비밀번호에 @ : / # ? 가 있으면 %로 적으세요 (@는 %40)",
            "has a port that is no number of 1–65535; @ : / # ? in a password are written with % "
            "(@ is %40)",
        )


def _parted(host: str) -> tuple[str, str | None]:
    """Part host and port; the colons of an IPv6 address stand in brackets."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest[1:] if rest.startswith(":") else None
    name, colon, port = host.partition(":")
    return name, port if colon else None


def _check_path(path: str, kind: str) -> None:
    parts = [part for part in path.split("/") if part]
    if kind == "sentinel":
        if not parts:
            raise WrongValueError(
                "감시 대상의 이름이 없습니다: redis+sentinel://a:26379,b:26379/이름",
                "does not name what the Sentinels watch: redis+sentinel://a:26379,b:26379/name",
            )
        del parts[0]
    if kind == "cluster" and parts:
        raise WrongValueError(
            "Cluster에는 데이터베이스 번호가 없습니다", "names a database: a cluster has none"
        )
    if len(parts) > 1 or not all(part.isascii() and part.isdigit() for part in parts):
        raise WrongValueError(
            "경로는 데이터베이스 번호뿐입니다: redis://host:6379/0",
            "has a path that is no database number: redis://host:6379/0",
        )
