"""Look before starting: data directory, ports, certificates; each refusal names its key."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from metaport.config import Config, Problem
from metaport.language import Say
from metaport.sfu_process import sfu_process, sfu_processes

# sun_path holds 104 bytes on macOS and 108 on Linux, the closing zero included.
SOCKET_PATH_BYTES = 103

_DIRECTORIES = ("run", "log", "secrets")


def problems(config: Config) -> list[Problem]:
    """Return what would keep the server from starting, the data directory first."""
    found = list(data_problems(config))
    if not found:
        found = [
            *http_problems(config),
            *media_problems(config),
            *certificate_problems(config),
            *price_problems(config),
        ]
    return found


def data_problems(config: Config) -> Iterator[Problem]:
    """Make the data directory where it is missing, and try to write there."""
    directory = config.data.dir
    try:
        for path in (directory, *(directory / name for name in _DIRECTORIES)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _try_writing(path)
    except OSError as error:
        where, reason = error.filename or directory, reason_of(error)
        yield Problem(
            "data.dir",
            Say(f"{where} – 쓸 수 없습니다: {reason.ko}", f"cannot write to {where}: {reason.en}"),
        )
        return
    longest = sfu_process(config, max(0, config.media.processes - 1)).control_path
    if len(os.fsencode(longest)) > SOCKET_PATH_BYTES:
        over = len(os.fsencode(longest)) - SOCKET_PATH_BYTES
        yield Problem(
            "data.dir",
            Say(
                f"{directory} 경로가 유닉스 소켓에 쓰기에는 {over}바이트 깁니다",
                f"{directory} is {over} bytes too long for a Unix socket inside it",
            ),
        )


def _try_writing(directory: Path) -> None:
    probe = directory / f".probe.{os.getpid()}"
    try:
        probe.write_bytes(b"metaport")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def http_problems(config: Config) -> Iterator[Problem]:
    """Bind the HTTP port for a moment."""
    try:
        for family, address in _addresses(config.http.host, config.http.port, socket.SOCK_STREAM):
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _v6_only(probe)
                probe.bind(address)
    except OSError as error:
        yield _refused(config, "http", error)


def media_problems(config: Config) -> Iterator[Problem]:
    """Bind the media ports for a moment, on IPv4 and on IPv6 where there is IPv6."""
    for sfu in sfu_processes(config):
        try:
            for family, address in _addresses(config.media.host, sfu.port, socket.SOCK_DGRAM):
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    _v6_only(probe)
                    probe.bind(address)
        except OSError as error:
            yield _refused(config, "media", error, sfu.port)
            return


def price_problems(config: Config) -> Iterator[Problem]:
    """Read the price book of `usage.pricebook`."""
    if config.usage.pricebook is None:
        return
    from metering.errors import PriceBookError  # noqa: PLC0415 - only who has one pays for it
    from metering.pricebook import load_price_book  # noqa: PLC0415

    try:
        load_price_book(config.usage.pricebook)
    except PriceBookError as error:
        said = Say(f"단가표를 쓸 수 없습니다: {error}", f"not a usable price book: {error}")
        yield Problem("usage.pricebook", said)


def certificate_problems(config: Config) -> Iterator[Problem]:
    """Load the certificate and key of `http.tls = "files"` together."""
    if config.http.tls != "files" or config.http.cert is None or config.http.key is None:
        return
    for name, path in (("cert", config.http.cert), ("key", config.http.key)):
        try:
            path.read_bytes()
        except OSError as error:
            why = reason_of(error)
            say = Say(f"{path} – 읽을 수 없습니다: {why.ko}", f"cannot read {path}: {why.en}")
            yield Problem(f"http.{name}", say)
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.http.cert, config.http.key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        yield Problem(
            "http.cert",
            Say(
                f"{config.http.cert} – http.key와 짝이 맞는 PEM 인증서가 아닙니다: {reason}",
                f"{config.http.cert} is not the PEM certificate of http.key: {reason}",
            ),
        )


def blame(config: Config, process: str, error: OSError) -> Problem | None:
    """Name the key behind an error at a child's start; `None` when it is none of ours."""
    binding = error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
    if binding and error.filename is None:
        if process.startswith("hub"):
            return _refused(config, "http", error)
        number = int(process.partition("-")[2] or 0)
        return _refused(config, "media", error, sfu_process(config, number).port)
    if error.filename is not None and str(error.filename).startswith(str(config.data.dir)):
        why = reason_of(error)
        return Problem(
            "data.dir", Say(f"{error.filename}: {why.ko}", f"{error.filename}: {why.en}")
        )
    return None


def unkept(config: Config, error: OSError | ValueError) -> Problem:
    """Tell that a key, a password or a certificate cannot be kept in the data directory."""
    if not isinstance(error, OSError):
        return Problem("data.dir", Say(str(error), str(error)))
    path, why = error.filename or config.data.dir, reason_of(error)
    return Problem("data.dir", Say(f"{path}: {why.ko}", f"{path}: {why.en}"))


def reason_of(error: OSError) -> Say:
    """Tell the system's reason in both languages; a rare one in the system's own."""
    own = error.strerror or str(error)
    korean = {
        errno.EACCES: "권한이 없습니다",
        errno.EPERM: "권한이 없습니다",
        errno.ENOENT: "없는 경로입니다",
        errno.ENOTDIR: "경로 중간이 디렉터리가 아닙니다",
        errno.EEXIST: "디렉터리가 아닌 파일이 있습니다",
        errno.EROFS: "읽기 전용 파일 시스템입니다",
        errno.ENOSPC: "디스크가 가득 찼습니다",
        errno.EDQUOT: "디스크 할당량을 다 썼습니다",
    }
    return Say(korean.get(error.errno or 0, own), own)


def _addresses(
    host: str | None, port: int, kind: int
) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    pairs = {(family, address) for family, _, _, _, address in found}
    if host is None:  # all addresses: a kernel without IPv6 has IPv4 only
        pairs = {(family, address) for family, address in pairs if _available(family, kind)}
    return sorted(pairs, key=str)


def _available(family: int, kind: int) -> bool:
    try:
        with socket.socket(family, kind) as probe:
            probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    except OSError:
        return False
    return True


def _v6_only(probe: socket.socket) -> None:
    if probe.family == socket.AF_INET6:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _refused(
    config: Config, section: str, error: OSError, bound_port: int | None = None
) -> Problem:
    """Make a sentence of an error of `bind` or of name resolution."""
    settings = config.http if section == "http" else config.media
    transport = "tcp" if section == "http" else "udp"
    host, port = settings.host, bound_port or settings.port
    if isinstance(error, socket.gaierror):
        say = Say(f"{host} – 찾을 수 없는 이름입니다", f"cannot resolve {host}")
        return Problem(f"{section}.host", say)
    if error.errno == errno.EADDRINUSE:
        return Problem(f"{section}.port", _taken(host, port, transport))
    if error.errno == errno.EACCES:
        say = Say(f"{port} – 이 포트를 열 권한이 없습니다", f"no permission to open port {port}")
        return Problem(f"{section}.port", say)
    if error.errno == errno.EADDRNOTAVAIL:
        say = Say(f"{host} – 이 컴퓨터의 주소가 아닙니다", f"{host} is no address of this machine")
        return Problem(f"{section}.host", say)
    why = reason_of(error)
    return Problem(f"{section}.port", Say(f"{port}: {why.ko}", f"{port}: {why.en}"))


def _taken(host: str | None, port: int, transport: str) -> Say:
    holder = holder_of(port, transport)
    by = Say(f": {holder}", f" by {holder}") if holder else Say("", "")
    return Say(
        f"{transport} {port} 포트를 이미 쓰고 있습니다 ({host or '모든 주소'}){by.ko}",
        f"{transport} port {port} is already taken on {host or 'all addresses'}{by.en}",
    )


def holder_of(port: int, transport: str) -> str:
    """Name the process that holds a port, as `nginx (pid 812)`; empty where it cannot be told."""
    inodes = set(_inodes(port, transport))
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
                if match and match[1] in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _inodes(port: int, transport: str) -> Iterator[str]:
    """Yield the inodes of sockets bound to a port, from Linux's /proc/net."""
    for table in (transport, f"{transport}6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            listening = transport == "udp" or columns[3] == "0A"
            if listening and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]
