import re
from contextlib import suppress
from dataclasses import FrozenInstanceError, fields
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.limits import Limits
from metaport.config import KEYS, Chat, Config, ConfigError, describe, load_config
from metaport.config_values import Endpoint

EXAMPLE = Path(__file__).parents[2] / "deploy" / "config.example.toml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory without a metaport.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sentences(error: ConfigError, lang="en") -> list[str]:
    return [problem.to(lang) for problem in error.problems]


def refusals(text: str = "", tmp_path: Path | None = None, **environ: str) -> list[str]:
    path = None
    if tmp_path is not None:
        path = tmp_path / "given.toml"
        path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ)
    return [re.sub(r" \(/.*given.toml\)$", "", line) for line in sentences(raised.value)]


def test_nothing_given_is_the_embedded_default(tmp_path: Path) -> None:
    config = load_config(environ={})
    assert (config.http.host, config.http.port) == ("127.0.0.1", 8080)
    assert (config.media.host, config.media.port, config.media.advertise) == (None, 7882, ())
    assert config.data.dir == tmp_path / "data"
    assert config.page_url == "http://127.0.0.1:8080/"
    assert not config.bench


def test_the_fixed_variables_of_the_protocol_work(tmp_path: Path) -> None:
    config = load_config(
        environ={
            "METAPORT_HTTP_HOST": "::",
            "METAPORT_HTTP_PORT": "9000",
            "METAPORT_MEDIA_HOST": "192.0.2.1",
            "METAPORT_MEDIA_PORT": "9001",
            "METAPORT_MEDIA_ADVERTISE": "203.0.113.7, 203.0.113.8:9, [2001:db8::1]:9, 2001:db8::2",
            "METAPORT_DATA_DIR": str(tmp_path / "elsewhere"),
            "METAPORT_PROFILE": "bench",
        }
    )
    assert (config.http.host, config.http.port) == ("::", 9000)
    assert (config.media.host, config.media.port) == ("192.0.2.1", 9001)
    assert config.media.advertise == (
        Endpoint("203.0.113.7", None),
        Endpoint("203.0.113.8", 9),
        Endpoint("2001:db8::1", 9),
        Endpoint("2001:db8::2", None),
    )
    assert [str(entry) for entry in config.media.advertise][2:] == [
        "[2001:db8::1]:9",
        "2001:db8::2",
    ]
    assert config.data.dir == tmp_path / "elsewhere"
    assert config.bench
    assert config.page_url == "http://[::1]:9000/"


def test_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / "metaport.toml").write_text('[http]\nport = 1\nhost = "::1"\ntls = "off"')
    environ = {"METAPORT_HTTP_PORT": "2"}
    config = load_config(None, environ, {"http.tls": "auto"})
    assert (config.http.host, config.http.port, config.http.tls) == ("::1", 2, "auto")
    assert config.sources == {
        "http.host": "metaport.toml",
        "http.port": "METAPORT_HTTP_PORT",
        "http.tls": "command line",
    }


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_config(environ={"METAPORT_REDIS_URL": "", "METAPORT_HTTP_PORT": ""}) == Config(
        data=load_config(environ={}).data
    )


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("drain_s = 3")
    assert load_config(environ={"METAPORT_CONFIG": str(tmp_path / "other.toml")}).drain_s == 3


def test_a_named_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "no.toml", {})
    assert sentences(raised.value) == [f"{tmp_path}/no.toml: there is no such file"]
    assert sentences(raised.value, "ko") == [f"{tmp_path}/no.toml: 설정 파일이 없습니다"]


@pytest.mark.parametrize("content", [b"[http\n", b"http = \xff\xfe"])
def test_a_file_that_is_not_toml_is_told_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metaport.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^metaport.toml: is not TOML: "):
        load_config(environ={})


def test_a_directory_instead_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {})


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = """
    speed = 3
    [http]
    port = 99999
    prot = 1
    [chat]
    guests = "maybe"
    """
    assert refusals(text, tmp_path, METAPORT_MEDIA_PORT="x", METAPORT_MEDIA_PROT="1") == [
        "speed: unknown key",
        "http.prot: unknown key; did you mean http.port?",
        "METAPORT_MEDIA_PROT: unknown variable; did you mean METAPORT_MEDIA_PORT? (environment)",
        "http.port: 99999 is not a port (1–65535)",
        "media.port: 'x' is not a port (1–65535) (METAPORT_MEDIA_PORT)",
        "chat.guests: 'maybe' is not true or false",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[http]\nport = 0", "http.port: 0 is not a port (1–65535)"),
        ("[http]\nport = true", "http.port: True is not a port (1–65535)"),
        ("[http]\nport = 80.5", "http.port: 80.5 is not a port (1–65535)"),
        ('[http]\nhost = "a b"', "http.host: 'a b' is not an address or a host name"),
        ('[http]\ntls = "on"', "http.tls: 'on' is none of off, auto, files"),
        ('[http]\ntls = "files"\nkey = "k"', 'http.cert: is needed by http.tls = "files"'),
        (
            '[http]\norigins = ["example.kr"]',
            "http.origins: ['example.kr'] is not a web origin (e.g. https://space.example.kr)",
        ),
        (
            '[http]\ntrusted_proxies = ["proxy"]',
            "http.trusted_proxies: ['proxy'] is not an IP address or network (e.g. 10.0.0.0/8)",
        ),
        (
            '[media]\nadvertise = ["example.kr"]',
            "media.advertise: ['example.kr'] is not address[:port]"
            " (e.g. 203.0.113.7:7882 or [2001:db8::7]:7882)",
        ),
        (
            '[turn]\nurls = ["turn://relay"]',
            "turn.urls: ['turn://relay'] is no STUN or TURN URL"
            " (e.g. turn:turn.example.kr:3478?transport=udp)",
        ),
        (
            '[turn]\nurls = ["stun:s.example.kr?transport=udp"]',
            "turn.urls: ['stun:s.example.kr?transport=udp'] is no STUN or TURN URL"
            " (e.g. turn:turn.example.kr:3478?transport=udp)",
        ),
        (
            '[turn]\nurls = ["stun:s.example.kr", "turns:[2001:db8::1]:5349?transport=tcp"]',
            "turn.secret: is needed by the relays of turn.urls",
        ),
        ('[turn]\nsecret = "short"', "turn.secret: *** must be at least 32 bytes long"),
        ('[usage]\nzone = "Seoul"', "usage.zone: 'Seoul' is not a time zone (e.g. Asia/Seoul)"),
        ("drain_s = -1", "drain_s: -1 is not within 0–3600"),
        ("drain_s = nan", "drain_s: nan is not within 0–3600"),
        ("port = 8080", "port: unknown key; did you mean http.port?"),
        ("http = 8080", "http: must be a section [http]"),
        ("[htpp]\nport = 1", "htpp: unknown key; did you mean http?"),
        ("[http.port]\nx = 1", "http.port: {'x': 1} is not a port (1–65535)"),
        ('[token]\nsecret = "short"', "token.secret: *** must be at least 32 bytes long"),
        (
            '[redis]\nurl = "http://:pw@h"',
            "redis.url: *** is not a redis://, rediss://, unix://, redis+sentinel://, "
            "rediss+sentinel://, redis+cluster://, rediss+cluster:// URL",
        ),
        (
            "[media]\nport = 65535\nprocesses = 2",
            "media.port: leaves too few ports for media.processes (2)",
        ),
        (
            '[media]\ncontrol = "10.0.0.5:7900"',
            "media.control_token: is needed by media.control and media.sfus",
        ),
        (
            '[media]\nsfus = ["10.0.0.6"]',
            "media.sfus: ['10.0.0.6'] is not name=host:port (e.g. m2/sfu=10.0.0.6:7900)",
        ),
        (
            '[media]\ncontrol = "10.0.0.5"',
            "media.control: '10.0.0.5' is not host:port (e.g. 10.0.0.5:7900)",
        ),
        (
            "[chat]\nframe_bytes = 16384",
            "chat.frame_bytes: must exceed chat.body_bytes by at least 1024",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_key(
    tmp_path: Path, text: str, sentence: str
) -> None:
    assert refusals(text, tmp_path) == [sentence]


def test_every_sentence_has_a_korean_form(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(environ={"METAPORT_HTTP_PORT": "0", "METAPORT_HTTP_PROT": "1"})
    assert sentences(raised.value, "ko") == [
        "METAPORT_HTTP_PROT: 없는 환경 변수입니다, METAPORT_HTTP_PORT 아닌가요? (environment)",
        "http.port: '0' – 포트 번호가 아닙니다 (1–65535) (METAPORT_HTTP_PORT)",
    ]


def test_control_characters_of_a_value_are_escaped() -> None:
    assert refusals(METAPORT_HTTP_HOST="\x1b[31m") == [
        r"http.host: '\x1b[31m' is not an address or a host name (METAPORT_HTTP_HOST)"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METAPORT_PORT", "tcp://10.0.0.1:8080"),
        ("METAPORT_SERVICE_HOST", "10.0.0.1"),
        ("METAPORT_SERVICE_PORT_HTTP", "8080"),
        ("METAPORT_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("METAPORT_HTTP_SERVICE_HOST", "10.0.0.1"),
        ("METAPORT_HTTP_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("METAPORT_IMAGE_TAG", "1.2"),
    ],
)
def test_variables_that_kubernetes_or_others_set_are_left_alone(name: str, value: str) -> None:
    assert load_config(environ={name: value}).sources == {}


def test_a_slip_in_a_section_of_a_variable_is_told() -> None:
    assert refusals(METAPORT_HTP_PORT="1") == [
        "METAPORT_HTP_PORT: unknown variable; did you mean METAPORT_HTTP_PORT? (environment)"
    ]


def test_a_port_set_by_a_kubernetes_service_link_is_explained() -> None:
    """A Service called metaport-http sets METAPORT_HTTP_PORT=tcp://…, which is no port of ours."""
    [sentence] = refusals(METAPORT_HTTP_PORT="tcp://10.0.0.1:80")
    assert "enableServiceLinks: false" in sentence


def test_tls_auto_listens_on_all_addresses_unless_told_otherwise() -> None:
    assert load_config(environ={"METAPORT_HTTP_TLS": "auto"}).http.host == "0.0.0.0"
    assert load_config(environ={"METAPORT_HTTP_TLS": "auto"}).page_url == "https://127.0.0.1:8080/"
    given = {"METAPORT_HTTP_TLS": "auto", "METAPORT_HTTP_HOST": "127.0.0.1"}
    assert load_config(environ=given).http.host == "127.0.0.1"


def test_values_arrive_in_the_types_the_tree_names() -> None:
    config = load_config(
        environ={
            "METAPORT_USAGE_CONTRACT": "/etc/metaport/contract.toml",
            "METAPORT_HTTP_TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "METAPORT_HTTP_ORIGINS": "https://Space.Example.kr/,*",
            "METAPORT_CHAT_GUESTS": "off",
            "METAPORT_DRAIN_S": "2.5",
        }
    )
    assert config.usage.contract == Path("/etc/metaport/contract.toml")
    assert config.http.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert config.http.origins == ("https://space.example.kr", "*")
    assert config.chat.guests is False
    assert config.drain_s == 2.5


def test_the_tree_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().http.port = 1  # type: ignore[misc]


def test_secrets_are_shown_neither_by_repr_nor_by_describe() -> None:
    secret = "s3cr3t" * 6
    config = load_config(
        environ={
            "METAPORT_TOKEN_SECRET": secret,
            "METAPORT_REDIS_URL": f"redis://:{secret}@redis.internal:6379/2",
            "METAPORT_DATABASE_URL": f"postgresql://user:{secret}@db/metaport?password={secret}",
        }
    )
    shown = {path: value for path, value, _ in describe(config)}
    assert secret not in repr(config)
    assert secret not in str(shown)
    assert shown["redis.url"] == '"redis://:***@redis.internal:6379/2"'
    assert shown["database.url"] == '"postgresql://user:***@db/metaport"'
    assert shown["token.secret"] == '"***"'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://postgres@/metaport?host=/run/pg&password=pw",
            "postgresql://postgres@/metaport",
        ),
        ("postgresql://db.internal/metaport", "postgresql://db.internal/metaport"),
        ("postgresql://:pw@[::1]:5432/m", "postgresql://:***@[::1]:5432/m"),
        ("postgresql://u:p@w@db/m", "postgresql://u:***@db/m"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    config = load_config(environ={"METAPORT_DATABASE_URL": url})
    [value] = [value for path, value, _ in describe(config) if path == "database.url"]
    assert value == f'"{shown}"'


def test_what_describe_shows_is_the_same_configuration_again(tmp_path: Path) -> None:
    config = load_config(
        environ={"METAPORT_HTTP_ORIGINS": "https://a.kr", "METAPORT_MEDIA_ADVERTISE": "[::1]:5"}
    )
    rows = [(path, value) for path, value, _ in describe(config) if value]
    lines = [f"{path} = {value}" for path, value in rows]
    (tmp_path / "shown.toml").write_text("\n".join(lines), "utf-8")
    assert load_config(tmp_path / "shown.toml", {}) == config


def test_the_example_holds_every_key_with_its_default() -> None:
    assert load_config(EXAMPLE, {}) == load_config(environ={})
    section, listed = "", []
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if heading := re.match(r"\[(\w+)\]", line):
            section = f"{heading[1]}."
        elif key := re.match(r"#?([a-z_]+) = ", line):
            listed.append(section + key[1])
    assert listed == list(dict.fromkeys(listed))
    assert set(listed) == set(KEYS)


def test_the_keys_the_example_leaves_out_can_be_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^#([a-z_]+ = )", r"\1", EXAMPLE.read_text("utf-8"))
    (tmp_path / "all.toml").write_text(text.replace('"…"', '"' + "x" * 32 + '"'), "utf-8")
    assert set(load_config(tmp_path / "all.toml", {}).sources) == set(KEYS)


def test_chat_limits_have_the_names_and_defaults_of_the_hub() -> None:
    guests = ("guests", "guest_rooms")
    ours = {entry.name: entry.default for entry in fields(Chat) if entry.name not in guests}
    hub = {entry.name: entry.default for entry in fields(Limits)}
    assert ours == {name: hub[name] for name in ours}


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), st.text(max_size=20)))
def test_no_text_in_the_environment_raises_anything_but_config_error(given: dict[str, str]) -> None:
    with suppress(ConfigError):
        load_config(environ={KEYS[path].variable: value for path, value in given.items()})
