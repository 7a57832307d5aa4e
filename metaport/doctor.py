"""`metaport doctor`: what is installed, what is free, what answers; one line for each.

A finding is `ok`, `note` (worth knowing), or `bad` (something will not work); exit code 1 when
anything is bad.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import platform
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from chatd.redis_options import Durability
from chatd.redis_standing import Standing
from metaport import __version__, preflight, supervise
from metaport.config import Config, Problem, describe
from metaport.durability import losses, sentence, short_of
from metaport.language import Lang, Say
from metaport.logs import SEOUL
from metaport.sfu_process import sfu_processes

Verdict = Literal["ok", "note", "bad"]

PACKAGES = (
    "aiohttp", "aioice", "aiortc", "aiosqlite", "alembic", "asyncpg", "cryptography",
    "msgspec", "prometheus-client", "PyJWT", "pylibsrtp", "redis", "SQLAlchemy", "uvloop",
)  # fmt: skip
# Where a compiled module has a pure-Python twin.
TWINS = ("sfu.arrivals", "sfu.rewrite", "sfu.fanout")
SPACE_NOTE_BYTES, SPACE_BAD_BYTES = 2 << 30, 200 << 20
SERVICE_TIMEOUT_S = 3.0
REDIS_MAJOR = 7  # sharded pub/sub
BUILT_YEAR = 2026  # no clock in order shows an earlier one
_TIMEX_BYTES = 512  # struct timex has 208
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class Finding(NamedTuple):
    """Say one thing about this machine."""

    verdict: Verdict
    topic: Say
    say: Say


def _finding(verdict: Verdict, topic_ko: str, topic_en: str, ko: str, en: str = "") -> Finding:
    return Finding(verdict, Say(topic_ko, topic_en), Say(ko, en or ko))


async def print_findings(config: Config, lang: Lang) -> int:
    """Print every finding and return the exit code."""
    worst: set[Verdict] = set()
    marks = {"ok": Say("정상", "ok"), "note": Say("참고", "note"), "bad": Say("문제", "BAD")}
    async for finding in examine(config):
        worst.add(finding.verdict)
        mark = marks[finding.verdict].to(lang)
        print(f"{_padded(mark, 5)} {_padded(finding.topic.to(lang), 17)} {finding.say.to(lang)}")
    if "bad" in worst:
        print(Say("\n문제가 있습니다.", "\nSomething is wrong.").to(lang))
        return 1
    print(Say("\n이상이 없습니다.", "\nAll is well.").to(lang))
    return 0


def _padded(text: str, columns: int) -> str:
    """Pad to terminal columns; a Hangul syllable takes two."""
    return text + " " * (columns - sum(2 if "가" <= c <= "힣" else 1 for c in text))


async def examine(config: Config) -> AsyncIterator[Finding]:
    """Yield the findings in the order a person wants to read them."""
    for finding in (*_versions(), _twin(), *_configuration(config), *_data(config)):
        yield finding
    running = [await _running_hub(config), await _running_sfu(config)]
    for finding, problems in zip(
        running,
        (preflight.http_problems(config), preflight.media_problems(config)),
        strict=True,
    ):
        yield finding
        if finding.verdict != "ok":
            for port in _port(config, finding, problems):
                yield port
    async for finding in _redis(config):
        yield finding
    yield await _database(config)
    yield _clock()


def _versions() -> Iterator[Finding]:
    python = f"{platform.python_version()} ({sys.executable})"
    supported = (3, 11) <= sys.version_info < (3, 15)
    yield _finding("ok", "metaport", "metaport", __version__)
    yield _finding("ok" if supported else "note", "Python", "Python", python)
    yield _finding("ok", "운영체제", "system", f"{platform.platform()} {platform.machine()}")
    yield _finding("ok", "OpenSSL", "OpenSSL", ssl.OPENSSL_VERSION)
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield _finding("ok", "패키지", "packages", ", ".join(versions))
    if missing:
        names = ", ".join(missing)
        yield _finding("bad", "패키지", "packages", f"없음: {names}", f"missing: {names}")
    try:
        importlib.import_module("pylibsrtp")
        yield _finding("ok", "libsrtp", "libsrtp", "불러왔습니다", "loads")
    except (ImportError, OSError) as error:
        yield _finding("bad", "libsrtp", "libsrtp", str(error))


def _twin() -> Finding:
    try:
        pure = [name for name in TWINS if importlib.import_module(name).TWIN != "compiled"]
    except (ImportError, AttributeError) as error:
        return _finding("bad", "패킷 경로", "packet path", str(error))
    if not pure:
        return _finding("ok", "패킷 경로", "packet path", "컴파일된 쌍둥이", "compiled twin")
    names = ", ".join(pure)
    return _finding(
        "note", "패킷 경로", "packet path",
        f"순수 파이썬 쌍둥이: {names} (느립니다. C 컴파일러를 설치하고 다시 설치하세요)",
        f"pure-Python twin of {names} (slower; install a C compiler, then install again)",
    )  # fmt: skip


def _configuration(config: Config) -> Iterator[Finding]:
    sources = sorted(set(config.sources.values()))
    where = ", ".join(sources)
    yield _finding(
        "ok", "설정", "configuration",
        f"지정: {where}" if sources else "모두 기본값",
        f"set by {where}" if sources else "all defaults",
    )  # fmt: skip
    if config.bench:
        yield _finding(
            "note", "설정", "configuration",
            "profile bench: 속도 제한이 꺼져 있습니다", "profile bench: rate limits are lifted",
        )  # fmt: skip
    for problem in preflight.certificate_problems(config):
        yield _problem("인증서", "certificate", problem)


def _problem(topic_ko: str, topic_en: str, problem: Problem) -> Finding:
    return Finding("bad", Say(topic_ko, topic_en), Say(problem.to("ko"), problem.to("en")))


def _data(config: Config) -> Iterator[Finding]:
    directory = config.data.dir
    if not directory.exists():
        # Made by the server, not here: the doctor may be another user.
        yield _finding(
            "note", "데이터", "data directory",
            f"{directory} – 아직 없음, 첫 시작 때 만듭니다",
            f"{directory} – not there yet, made at the first start",
        )  # fmt: skip
        return
    problems = list(preflight.data_problems(config))
    if problems:
        yield from (_problem("데이터", "data directory", problem) for problem in problems)
        return
    usage = shutil.disk_usage(directory)
    free = f"{usage.free / (1 << 30):.1f} GiB"
    verdict: Verdict = "ok"
    if usage.free < SPACE_NOTE_BYTES:
        verdict = "bad" if usage.free < SPACE_BAD_BYTES else "note"
    yield _finding(
        verdict, "데이터", "data directory",
        f"{directory} – 쓸 수 있음, 남은 공간 {free}",
        f"{directory} – writable, {free} free",
    )  # fmt: skip


async def _running_hub(config: Config) -> Finding:
    if await supervise.answers(config):
        return _finding(
            "ok", "허브", "hub", f"실행 중, {config.page_url}", f"running at {config.page_url}"
        )
    return _finding("note", "허브", "hub", "실행 중이 아닙니다", "not running")


async def _running_sfu(config: Config) -> Finding:
    sfus = sfu_processes(config)
    ports = [sfu.port for sfu in sfus if await supervise.listens(sfu.control_path)]
    if not ports:
        return _finding("note", "미디어", "sfu", "실행 중이 아닙니다", "not running")
    listed = ", ".join(map(str, ports))
    if len(ports) < len(sfus):
        return _finding(
            "bad",
            "미디어",
            "sfu",
            f"{len(sfus)}개 중 {len(ports)}개만 실행 중, udp {listed}",
            f"only {len(ports)} of {len(sfus)} running at udp {listed}",
        )
    return _finding("ok", "미디어", "sfu", f"실행 중, udp {listed}", f"running at udp {listed}")


def _port(config: Config, finding: Finding, problems: Iterator[Problem]) -> Iterator[Finding]:
    """Tell whether the port of a process that does not run is free for it."""
    number = config.http.port if finding.topic.en == "hub" else config.media.port
    transport = "tcp" if finding.topic.en == "hub" else "udp"
    found = list(problems)
    for problem in found:
        yield _problem("포트", "port", problem)
    if not found:
        yield _finding(
            "ok", "포트", "port", f"{transport} {number} 비어 있음", f"{transport} {number} is free"
        )


async def _redis(config: Config) -> AsyncIterator[Finding]:
    if config.redis.url is None:
        yield _finding(
            "ok", "Redis", "Redis", "쓰지 않음 (한 대로 운영)", "not used (single machine)"
        )
        return
    from chatd.errors import ChatError  # noqa: PLC0415
    from chatd.redis_link import link_to  # noqa: PLC0415
    from chatd.redis_options import Times  # noqa: PLC0415
    from chatd.redis_standing import ASK, lines_of, standing_of, weakest  # noqa: PLC0415
    from metaport.backbone import durability_of  # noqa: PLC0415

    shown = _shown(config, "redis.url")
    times = Times(connect_s=SERVICE_TIMEOUT_S, reply_s=SERVICE_TIMEOUT_S)
    try:
        # As the hub reaches it: one server, Sentinels or a cluster.
        link = link_to(config.redis.url, config.redis.prefix, times)
        try:
            await link.refresh()
            nodes = {link.node(partition) for partition in link.partitions}
            replies = [await link.send(node, ASK) for node in sorted(nodes)]
        finally:
            await link.close()
    except (ChatError, OSError, ValueError) as error:
        yield _away("Redis", shown, error)
        return
    infos = [lines_of(info) for info, _ in replies if isinstance(info, bytes)]
    if len(infos) < len(replies):
        refused = next(info for info, _ in replies if not isinstance(info, bytes))
        yield _away("Redis", shown, ValueError(str(refused)[:200]))
        return
    yield _redis_version(shown, infos[0].get("redis_version", "0"), infos[0])
    standings = (standing_of(info, kept) for info, (_, kept) in zip(infos, replies, strict=True))
    yield _durability(durability_of(config.redis), weakest(standings))


def _durability(promised: Durability, standing: Standing | None) -> Finding:
    """Say what may be lost; less than was promised is bad, less than all a note."""
    told = losses(promised, standing)
    if standing is not None and (short := short_of(promised, standing)) is not None:
        return Finding("bad", Say("내구성", "durability"), sentence([short, *told]))
    said = sentence(told)
    whole = promised.appendfsync == "always" and promised.replicas > 0
    return Finding("ok" if whole else "note", Say("내구성", "durability"), said)


def _redis_version(shown: str, version: str, info: Mapping[str, str] | None = None) -> Finding:
    if int(version.partition(".")[0]) < REDIS_MAJOR:
        needed = Say(f"{REDIS_MAJOR} 이상 필요", f"needs {REDIS_MAJOR} or newer")
        ko, en = f"{shown} – {version}, {needed.ko}", f"{shown} – {version}, {needed.en}"
        return _finding("bad", "Redis", "Redis", ko, en)
    # Valkey says which Redis it stands for, and which Valkey it is.
    own = (info or {}).get("valkey_version")
    name = f"Valkey {own} ({version})" if own else version
    return _finding("ok", "Redis", "Redis", f"{shown} – {name}")


async def _database(config: Config) -> Finding:
    url = config.database.url
    shown = _shown(config, "database.url")
    if url is None or url.startswith("sqlite"):
        path = config.database_url.partition("///")[2]
        return _finding("ok", "데이터베이스", "database", f"SQLite {path}")
    import asyncpg  # noqa: PLC0415

    parts = urlsplit(url)
    plain = parts._replace(scheme="postgresql").geturl()
    try:
        connection = await asyncpg.connect(plain, timeout=SERVICE_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        return _away("PostgreSQL", shown, error)
    version = connection.get_server_version()
    await connection.close()
    return _finding(
        "ok", "데이터베이스", "database", f"PostgreSQL {version.major}.{version.minor} {shown}"
    )


def _shown(config: Config, path: str) -> str:
    """Return a URL as `config show` does, without its password."""
    return next(value.strip('"') for name, value, _ in describe(config) if name == path)


def _away(name: str, shown: str, error: Exception) -> Finding:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return _finding(
        "bad", name, name, f"{shown} – 응답 없음: {reason}", f"{shown} – no answer: {reason}"
    )


def _clock() -> Finding:
    now = datetime.now(UTC)
    shown = f"{now.astimezone(SEOUL):%Y-%m-%d %H:%M:%S} KST"
    if now.year < BUILT_YEAR:
        return _finding("bad", "시계", "clock", f"{shown} – 틀립니다", f"{shown} – is wrong")
    if _unsynchronised():
        return _finding(
            "note", "시계", "clock",
            f"{shown} – 시간 동기화가 꺼져 있습니다 (chrony나 systemd-timesyncd를 켜세요)",
            f"{shown} – not synchronised (run chrony or systemd-timesyncd)",
        )  # fmt: skip
    return _finding("ok", "시계", "clock", shown)


def _unsynchronised() -> bool:
    """Ask Linux whether anything keeps its clock; `False` where it cannot be asked."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    # All zeros: `modes` 0 changes nothing.
    return (
        adjtimex is not None and adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) == _TIME_ERROR
    )
