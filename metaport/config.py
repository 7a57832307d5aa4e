"""One frozen tree of configuration: TOML file, then `METAPORT_…` environment, environment wins.

`load_config` is the only reader of the file and of the environment. It reports every problem at
once, each with the path of its key, and never a secret's value.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from metaport import config_values as read
from metaport.config_values import Endpoint, Network, Reader, SfuAddress, WrongValueError
from metaport.language import Lang, Say
from metaport.redis_url import redis_url

DEFAULT_FILE = "metaport.toml"
PREFIX = "METAPORT_"
# Not of the tree: where the file is, and whom `metaport room|space|…` asks as whom.
BESIDE = frozenset({"METAPORT_CONFIG", "METAPORT_URL", "METAPORT_TOKEN"})

# A Kubernetes Service called "metaport" injects METAPORT_SERVICE_HOST, METAPORT_PORT_8080_TCP_ADDR
# and the like into every pod of its namespace.
_KUBERNETES = re.compile(r"(^|_)(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))(_|$)")

# … and a Service called "metaport-http" METAPORT_HTTP_PORT, which is a key of ours.
_SERVICE_LINK = Say(
    "; 쿠버네티스가 넣은 값 같습니다: 파드에 enableServiceLinks: false를 지정하세요",
    "; Kubernetes seems to have set it: give the pod enableServiceLinks: false",
)


def _by(reader: Reader, *, secret: bool = False) -> dict[str, Any]:
    """Say how a key is read; a secret is never shown."""
    return {"reader": reader, "secret": secret}


@dataclass(frozen=True)
class Http:
    """The one public port: pages, REST, WebSocket, WHIP and WHEP."""

    host: str = field(default="127.0.0.1", metadata=_by(read.host))
    port: int = field(default=8080, metadata=_by(read.port))
    tls: str = field(default="off", metadata=_by(read.choice("off", "auto", "files")))
    cert: Path | None = field(default=None, metadata=_by(read.path))
    key: Path | None = field(default=None, metadata=_by(read.path))
    origins: tuple[str, ...] = field(default=(), metadata=_by(read.list_of(read.origin)))
    trusted_proxies: tuple[Network, ...] = field(
        default=(), metadata=_by(read.list_of(read.network))
    )
    forwarded: str = field(
        default="x-forwarded-for", metadata=_by(read.choice("x-forwarded-for", "forwarded"))
    )
    frame_ancestors: tuple[str, ...] = field(default=(), metadata=_by(read.list_of(read.origin)))


@dataclass(frozen=True)
class Media:
    """Voice and video: SFU processes, each on a UDP port of its own, the next one's is one more.

    TCP of the same number is served too, unless that is `http.port`.
    """

    host: str | None = field(default=None, metadata=_by(read.host))
    port: int = field(default=7882, metadata=_by(read.port))
    processes: int = field(default=1, metadata=_by(read.whole(0, 64)))
    advertise: tuple[Endpoint, ...] = field(default=(), metadata=_by(read.list_of(read.endpoint)))
    control: Endpoint | None = field(default=None, metadata=_by(read.control))
    control_token: str | None = field(
        default=None, repr=False, metadata=_by(read.secret, secret=True)
    )
    sfus: tuple[SfuAddress, ...] = field(default=(), metadata=_by(read.list_of(read.sfu_address)))


@dataclass(frozen=True)
class Turn:
    """TURN servers for people whose network lets nothing else out (coturn, `use-auth-secret`)."""

    urls: tuple[str, ...] = field(default=(), metadata=_by(read.list_of(read.turn_url)))
    secret: str | None = field(default=None, repr=False, metadata=_by(read.secret, secret=True))
    ttl_s: int = field(default=21_600, metadata=_by(read.whole(60, 604_800)))
    log: Path | None = field(default=None, metadata=_by(read.path))


@dataclass(frozen=True)
class Data:
    """Where everything that must outlive a process is kept."""

    dir: Path = field(default=Path("data"), metadata=_by(read.path))


@dataclass(frozen=True)
class Chat:
    """Text: who may come in, and what one connection may ask for (see `chatd.limits.Limits`)."""

    guests: bool = field(default=True, metadata=_by(read.flag))
    guest_rooms: tuple[str, ...] = field(
        default=("**",), metadata=_by(read.list_of(read.room_pattern))
    )
    body_bytes: int = field(default=16_384, metadata=_by(read.whole(64, 1_048_576)))
    deflate: bool = field(default=False, metadata=_by(read.flag))
    frame_bytes: int = field(default=131_072, metadata=_by(read.whole(1_024, 16_777_216)))
    send_per_s: float = field(default=20.0, metadata=_by(read.real(0.01, 1_000_000)))
    send_burst: float = field(default=40.0, metadata=_by(read.real(1, 1_000_000)))
    user_send_per_s: float = field(default=40.0, metadata=_by(read.real(0.01, 1_000_000)))
    user_send_burst: float = field(default=80.0, metadata=_by(read.real(1, 1_000_000)))
    room_send_per_s: float = field(default=500.0, metadata=_by(read.real(0.01, 1_000_000)))
    room_send_burst: float = field(default=1_000.0, metadata=_by(read.real(1, 1_000_000)))
    join_per_s: float = field(default=10.0, metadata=_by(read.real(0.01, 1_000_000)))
    join_burst: float = field(default=100.0, metadata=_by(read.real(1, 1_000_000)))
    frame_per_s: float = field(default=100.0, metadata=_by(read.real(0.01, 1_000_000)))
    frame_burst: float = field(default=300.0, metadata=_by(read.real(1, 1_000_000)))
    rooms: int = field(default=100, metadata=_by(read.whole(1, 100_000)))
    connections: int = field(default=20_000, metadata=_by(read.whole(1, 1_000_000)))
    outbox_bytes: int = field(default=1_048_576, metadata=_by(read.whole(65_536, 1_073_741_824)))
    presence_members: int = field(default=200, metadata=_by(read.whole(0, 100_000)))
    history: int = field(default=1_000, metadata=_by(read.whole(0, 1_000)))
    hello_timeout_s: float = field(default=10.0, metadata=_by(read.real(0.1, 300)))
    ping_s: float = field(default=25.0, metadata=_by(read.real(1, 60)))


@dataclass(frozen=True)
class History:
    """Every message, in the database: how many days each is kept; 0 keeps all."""

    days: int = field(default=0, metadata=_by(read.whole(0, 36_500)))


@dataclass(frozen=True)
class Usage:
    """Metering: prices, zone, days that details are kept (0 keeps all), users, budget."""

    pricebook: Path | None = field(default=None, metadata=_by(read.path))
    zone: str = field(default="Asia/Seoul", metadata=_by(read.zone))
    detail_days: int = field(default=400, metadata=_by(read.whole(0, 36_500)))
    users: str = field(default="plain", metadata=_by(read.choice("plain", "hashed")))
    contract: Path | None = field(default=None, metadata=_by(read.path))


@dataclass(frozen=True)
class Audit:
    """Who did what, and who was told whose personal data: days kept, two years; 0 keeps all."""

    days: int = field(default=730, metadata=_by(read.whole(0, 36_500)))


@dataclass(frozen=True)
class Log:
    """The local log and the lines a person or a collector reads."""

    fsync: str = field(default="interval", metadata=_by(read.choice("interval", "always")))
    segment_bytes: int = field(default=33_554_432, metadata=_by(read.whole(65_536, 1_073_741_824)))
    level: str = field(
        default="info", metadata=_by(read.choice("debug", "info", "warning", "error"))
    )
    format: str = field(default="auto", metadata=_by(read.choice("auto", "human", "json")))


@dataclass(frozen=True)
class Token:
    """Access tokens: who signs them and how long they hold."""

    secret: str | None = field(default=None, repr=False, metadata=_by(read.secret, secret=True))
    former_secrets: tuple[str, ...] = field(
        default=(), repr=False, metadata=_by(read.list_of(read.secret), secret=True)
    )
    jwks: str | None = field(default=None, metadata=_by(read.key_set))
    jwks_refresh_s: float = field(default=300.0, metadata=_by(read.real(1, 86_400)))
    jwks_interval_s: float = field(default=10.0, metadata=_by(read.real(1, 3_600)))
    issuer: str | None = field(default=None, metadata=_by(read.text))
    audience: str | None = field(default=None, metadata=_by(read.text))
    leeway_s: float = field(default=90.0, metadata=_by(read.real(0, 600)))
    ttl_s: int = field(default=3_600, metadata=_by(read.whole(10, 31_536_000)))
    refresh_ttl_s: int = field(default=2_592_000, metadata=_by(read.whole(60, 31_536_000)))


@dataclass(frozen=True)
class Accounts:
    """People with an account: whether anybody may ask for one; another person approves it."""

    register: bool = field(default=False, metadata=_by(read.flag))


@dataclass(frozen=True)
class Oidc:
    """Sign-in with OpenID Connect; none without an issuer. `trusted`: it approves its people."""

    issuer: str | None = field(default=None, metadata=_by(read.web_url))
    client_id: str | None = field(default=None, metadata=_by(read.text))
    client_secret: str | None = field(
        default=None, repr=False, metadata=_by(read.text, secret=True)
    )
    redirect_uri: str | None = field(default=None, metadata=_by(read.web_url))
    trusted: bool = field(default=False, metadata=_by(read.flag))


@dataclass(frozen=True)
class Hub:
    """The hub processes of this machine; several need Redis."""

    name: str | None = field(default=None, metadata=_by(read.label))
    processes: int = field(default=1, metadata=_by(read.whole(1, 64)))


@dataclass(frozen=True)
class Redis:
    """The bus between several hubs; none on a single machine. See `chatd.redis_options`."""

    url: str | None = field(default=None, repr=False, metadata=_by(redis_url(), secret=True))
    prefix: str = field(default="metaport", metadata=_by(read.label))
    appendfsync: Literal["none", "everysec", "always"] = field(
        default="everysec", metadata=_by(read.choice("none", "everysec", "always"))
    )
    replicas: int = field(default=0, metadata=_by(read.whole(0, 16)))
    wait_ms: int = field(default=500, metadata=_by(read.whole(10, 1_500)))


@dataclass(frozen=True)
class Database:
    """The ledger and everything else in SQL; SQLite in the data directory when none is named."""

    url: str | None = field(
        default=None,
        repr=False,
        metadata=_by(
            read.url("postgresql", "postgresql+asyncpg", "sqlite", "sqlite+aiosqlite"), secret=True
        ),
    )


@dataclass(frozen=True)
class Config:
    """Hold the whole configuration; `sources` tells where each set key came from."""

    http: Http = field(default_factory=Http)
    media: Media = field(default_factory=Media)
    turn: Turn = field(default_factory=Turn)
    data: Data = field(default_factory=Data)
    chat: Chat = field(default_factory=Chat)
    history: History = field(default_factory=History)
    usage: Usage = field(default_factory=Usage)
    audit: Audit = field(default_factory=Audit)
    log: Log = field(default_factory=Log)
    token: Token = field(default_factory=Token)
    accounts: Accounts = field(default_factory=Accounts)
    oidc: Oidc = field(default_factory=Oidc)
    hub: Hub = field(default_factory=Hub)
    redis: Redis = field(default_factory=Redis)
    database: Database = field(default_factory=Database)
    profile: str = field(default="default", metadata=_by(read.choice("default", "bench")))
    drain_s: float = field(default=10.0, metadata=_by(read.real(0, 3_600)))
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def bench(self) -> bool:
        """Tell whether rate limits are lifted for a benchmark."""
        return self.profile == "bench"

    @property
    def hub_log(self) -> Path:
        return self.data.dir / "log" / "hub"

    @property
    def sfu_log(self) -> Path:
        return self.data.dir / "log" / "sfu"

    @property
    def logs(self) -> list[Path]:
        """List the local logs of all processes, those of SFUs no longer configured included."""
        hub_logs = sorted({self.hub_log, *self.hub_log.parent.glob("hub-*")})
        return [*hub_logs, *self.sfu_logs, *sorted(self.attendance_dir.glob("sfu*"))]

    @property
    def attendance_dir(self) -> Path:
        """Name where the SFUs keep who was in media when."""
        return self.data.dir / "attendance"

    @property
    def sfu_logs(self) -> list[Path]:
        """List the local logs of SFUs that are there, and that of the first one."""
        return sorted({self.sfu_log, *self.sfu_log.parent.glob("sfu-*")})

    @property
    def control_path(self) -> Path:
        """Name the Unix socket on which the hubs and the first SFU process talk."""
        return self.data.dir / "run" / "sfu.sock"

    @property
    def secrets_dir(self) -> Path:
        return self.data.dir / "secrets"

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite+aiosqlite:///{self.data.dir / 'metaport.db'}"

    @property
    def page_url(self) -> str:
        """Name the demo page as a browser on this machine reaches it."""
        scheme = "http" if self.http.tls == "off" else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.http.host, self.http.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{scheme}://{host}:{self.http.port}/"


class Problem(NamedTuple):
    """Say what is wrong with one key."""

    path: str
    say: Say

    def to(self, lang: Lang) -> str:
        return f"{self.path}: {self.say.to(lang)}"


class ConfigError(Exception):
    """Report every problem of a configuration at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(problem.to("en") for problem in problems))


class Key(NamedTuple):
    """Describe one key of the tree."""

    path: str
    default: Any
    reader: Reader
    secret: bool

    @property
    def variable(self) -> str:
        return PREFIX + self.path.replace(".", "_").upper()


def _keys() -> Iterator[Key]:
    for top in fields(Config):
        if "reader" in top.metadata:
            yield _key(top.name, top)
        elif top.name != "sources":
            section: Any = top.default_factory  # the dataclass of the section
            yield from (_key(f"{top.name}.{entry.name}", entry) for entry in fields(section))


def _key(path: str, entry: Field[Any]) -> Key:
    return Key(path, entry.default, entry.metadata["reader"], entry.metadata["secret"])


KEYS: Mapping[str, Key] = {key.path: key for key in _keys()}
SECTIONS = frozenset(path.partition(".")[0] for path in KEYS if "." in path)


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Config:
    """Read the file and the environment into a checked tree.

    `path` is the file of `--config`; without it METAPORT_CONFIG, then `metaport.toml` in the
    working directory where there is one. `overrides` are keys given on the command line.

    Raises `ConfigError`.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    found: dict[str, tuple[object, str]] = {}  # key path -> raw value, where it stands
    for origin in (
        _from_file(path, environ, problems),
        _from_environment(environ, problems),
        {name: (value, "command line") for name, value in (overrides or {}).items()},
    ):
        found.update(origin)
    values = {
        key.path: _read(key, *found[key.path], problems)
        for key in KEYS.values()
        if key.path in found
    }
    config = _tree(values, {name: source for name, (_, source) in found.items()})
    problems += _contradictions(config, values)
    if problems:
        raise ConfigError(problems)
    return config


def _tree(values: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
    grouped: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    top: dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        (grouped[section] if section else top)[name] = value
    base = Config()
    sections = {name: replace(getattr(base, name), **given) for name, given in grouped.items()}
    config = replace(base, **sections, **top, sources=dict(sources))
    config = replace(config, data=replace(config.data, dir=config.data.dir.absolute()))
    if config.http.tls == "auto" and "http.host" not in values:
        # The point of a local authority is the phone on the office network.
        config = replace(config, http=replace(config.http, host="0.0.0.0"))
    return config


def _read(key: Key, raw: object, source: str, problems: list[Problem]) -> Any:
    try:
        return key.reader(raw)
    except WrongValueError as wrong:
        shown = "***" if key.secret else _shown(raw)
        hint = _SERVICE_LINK if source == key.variable and _is_service_link(raw) else Say("", "")
        say = Say(
            f"{shown} – {wrong.say.ko} ({source}){hint.ko}",
            f"{shown} {wrong.say.en} ({source}){hint.en}",
        )
        problems.append(Problem(key.path, say))
        return key.default


def _is_service_link(raw: object) -> bool:
    return isinstance(raw, str) and raw.startswith(("tcp://", "udp://", "sctp://"))


def _shown(raw: object) -> str:
    return ascii(raw) if isinstance(raw, str) and not raw.isprintable() else repr(raw)


def _from_file(
    path: Path | None, environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, tuple[object, str]]:
    named = path or (Path(environ["METAPORT_CONFIG"]) if environ.get("METAPORT_CONFIG") else None)
    file = named or Path(DEFAULT_FILE)
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            problems.append(
                Problem(str(file), Say("설정 파일이 없습니다", "there is no such file"))
            )
        return {}
    except OSError as error:
        reason = error.strerror or str(error)
        problems.append(
            Problem(str(file), Say(f"읽을 수 없습니다: {reason}", f"cannot be read: {reason}"))
        )
        return {}
    except ValueError as error:  # not TOML, or not UTF-8
        problems.append(
            Problem(str(file), Say(f"TOML 형식이 아닙니다: {error}", f"is not TOML: {error}"))
        )
        return {}
    return dict(_flatten(tree, str(file), problems))


def _flatten(
    tree: dict[str, Any], source: str, problems: list[Problem]
) -> Iterator[tuple[str, tuple[object, str]]]:
    for name, value in tree.items():
        if name in SECTIONS and isinstance(value, dict):
            for inner, inner_value in value.items():
                yield from _known(f"{name}.{inner}", inner_value, source, problems)
        elif name in SECTIONS:
            say = Say(
                f"[{name}] 구역이어야 합니다 ({source})", f"must be a section [{name}] ({source})"
            )
            problems.append(Problem(name, say))
        else:
            yield from _known(name, value, source, problems)


def _known(
    path: str, value: object, source: str, problems: list[Problem]
) -> Iterator[tuple[str, tuple[object, str]]]:
    if path in KEYS:
        yield path, (value, source)
        return
    names = [*KEYS, *SECTIONS]
    problems.append(Problem(path, _unknown(path, names, Say("키", "key"), source)))


def _unknown(name: str, names: list[str], kind: Say, source: str) -> Say:
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if not close:  # "port" alone means "http.port"
        close = [known for known in names if known.rpartition(".")[2] == name][:1]
    hint = Say(f", {close[0]} 아닌가요?", f"; did you mean {close[0]}?") if close else Say("", "")
    return Say(
        f"없는 {kind.ko}입니다{hint.ko} ({source})", f"unknown {kind.en}{hint.en} ({source})"
    )


def _from_environment(
    environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, tuple[object, str]]:
    variables = {key.variable: key for key in KEYS.values()}
    found: dict[str, tuple[object, str]] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in BESIDE:
            continue
        if name in variables:
            if value:  # compose files write VARIABLE=${VARIABLE:-}: empty is not set
                found[variables[name].path] = (value, name)
        elif not _foreign(name, value, list(variables)):
            kind = Say("환경 변수", "variable")
            problems.append(Problem(name, _unknown(name, list(variables), kind, "environment")))
    return found


def _foreign(name: str, value: str, variables: list[str]) -> bool:
    """Tell a variable that is none of ours from a slip of the pen."""
    rest = name.removeprefix(PREFIX)
    if _KUBERNETES.search(rest) or _is_service_link(value):
        return True
    if rest.partition("_")[0].lower() in SECTIONS:
        return False
    return not difflib.get_close_matches(name, variables, 1, 0.85)


def _contradictions(config: Config, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find keys that are right alone and wrong together."""
    for name in ("cert", "key"):
        if config.http.tls == "files" and f"http.{name}" not in values:
            say = Say('http.tls = "files"에 필요합니다', 'is needed by http.tls = "files"')
            yield Problem(f"http.{name}", say)
    if any(url.startswith("turn") for url in config.turn.urls) and config.turn.secret is None:
        say = Say("turn.urls의 중계 서버에 필요합니다", "is needed by the relays of turn.urls")
        yield Problem("turn.secret", say)
    if config.media.port + config.media.processes > 65_536:
        say = Say(
            f"media.processes({config.media.processes})만큼의 포트가 뒤에 없습니다",
            f"leaves too few ports for media.processes ({config.media.processes})",
        )
        yield Problem("media.port", say)
    if config.hub.processes > 1 and config.redis.url is None:
        say = Say(
            "redis.url이 있어야 둘 이상입니다", "must be 1 without redis.url: hubs meet in Redis"
        )
        yield Problem("hub.processes", say)
    if (config.media.control or config.media.sfus) and config.media.control_token is None:
        say = Say(
            "media.control과 media.sfus에 필요합니다", "is needed by media.control and media.sfus"
        )
        yield Problem("media.control_token", say)
    for name in ("client_id", "redirect_uri"):
        if config.oidc.issuer is not None and f"oidc.{name}" not in values:
            yield Problem(
                f"oidc.{name}", Say("oidc.issuer에 필요합니다", "is needed by oidc.issuer")
            )
    if config.chat.frame_bytes < config.chat.body_bytes + 1_024:
        yield Problem(
            "chat.frame_bytes",
            Say(
                "chat.body_bytes보다 1024 이상 커야 합니다",
                "must exceed chat.body_bytes by at least 1024",
            ),
        )


def describe(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield path, value as TOML and source of every key; secrets are masked, no value is empty."""
    for key in KEYS.values():
        value = _value(config, key.path)
        shown = _masked(key.path, value) if key.secret and value else _toml(value)
        yield key.path, shown, config.sources.get(key.path, "")


def _value(config: Config, path: str) -> Any:
    target: Any = config
    for name in path.split("."):
        target = getattr(target, name)
    return target


def _masked(path: str, value: str) -> str:
    """Keep what an operator needs of a URL (user, host, database) and nothing of a secret."""
    if not path.endswith(".url"):
        return '"***"'
    parts = urlsplit(value)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}:***@{host}" if colon else user + at + host
    return _toml(f"{parts.scheme}://{shown}{parts.path}")


def _toml(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) else str(int(value))
    if isinstance(value, tuple) and not isinstance(value, Endpoint | SfuAddress):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
