import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaport import preflight, tls
from metaport.config import Config, Problem, load_config


def configuration(tmp_path: Path, **environ: str) -> Config:
    return load_config(environ={"METAPORT_DATA_DIR": str(tmp_path / "data")} | environ)


def told(problems: Iterator[Problem], lang="en") -> list[str]:
    return [problem.to(lang) for problem in problems]


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """Hold a TCP port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def test_a_machine_in_order_has_no_problems(tmp_path: Path, taken: socket.socket) -> None:
    port = str(taken.getsockname()[1])
    taken.close()
    config = configuration(tmp_path, METAPORT_HTTP_PORT=port, METAPORT_MEDIA_PORT=port)
    assert preflight.problems(config) == []
    assert sorted(path.name for path in config.data.dir.iterdir()) == ["log", "run", "secrets"]
    assert list((config.data.dir / "run").iterdir()) == []
    assert config.data.dir.stat().st_mode & 0o777 == 0o700


def test_the_holder_of_a_taken_port_is_named(tmp_path: Path, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    config = configuration(tmp_path, METAPORT_HTTP_PORT=str(port))
    [sentence] = told(preflight.http_problems(config))
    assert sentence.startswith(f"http.port: tcp port {port} is already taken on 127.0.0.1")
    if Path("/proc/net/tcp").exists():
        assert sentence.endswith(f"(pid {os.getpid()})")


def test_udp_is_looked_at_for_media_and_tcp_for_http(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("0.0.0.0", 0))
        port = str(held.getsockname()[1])
        config = configuration(tmp_path, METAPORT_MEDIA_PORT=port, METAPORT_HTTP_PORT=port)
        assert told(preflight.http_problems(config)) == []
        [sentence] = told(preflight.media_problems(config), "ko")
        assert sentence.startswith(f"media.port: udp {port} 포트를 이미 쓰고 있습니다 (모든 주소)")


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    config = configuration(
        tmp_path, METAPORT_HTTP_HOST="192.0.2.1", METAPORT_MEDIA_HOST="192.0.2.1"
    )
    for section, problems in (
        ("http", preflight.http_problems(config)),
        ("media", preflight.media_problems(config)),
    ):
        assert told(problems) == [f"{section}.host: 192.0.2.1 is no address of this machine"]


def test_a_name_nobody_knows_is_told(tmp_path: Path) -> None:
    config = configuration(tmp_path, METAPORT_HTTP_HOST="nowhere.invalid")
    assert told(preflight.http_problems(config)) == ["http.host: cannot resolve nowhere.invalid"]


def test_certificate_and_key_are_loaded_together(tmp_path: Path) -> None:
    ours, other = tls.ensure(tmp_path / "a"), tls.ensure(tmp_path / "b")

    def problems(cert: Path, key: Path) -> list[str]:
        return told(
            preflight.certificate_problems(
                configuration(
                    tmp_path,
                    METAPORT_HTTP_TLS="files",
                    METAPORT_HTTP_CERT=str(cert),
                    METAPORT_HTTP_KEY=str(key),
                )
            )
        )

    assert problems(ours.cert, ours.key) == []
    [sentence] = problems(ours.cert, other.key)
    assert sentence.startswith(f"http.cert: {ours.cert} is not the PEM certificate of http.key: ")
    [sentence] = problems(ours.cert, tmp_path / "none")
    assert sentence == f"http.key: cannot read {tmp_path}/none: No such file or directory"


def test_the_price_book_is_read(tmp_path: Path) -> None:
    """A broken one let the hub end with a traceback, again and again."""
    book = tmp_path / "prices.toml"
    book.write_text('currency = "KRW"\nvat_percent = nonsense\n', encoding="utf-8")
    [sentence] = told(
        preflight.price_problems(configuration(tmp_path, METAPORT_USAGE_PRICEBOOK=str(book)))
    )
    assert sentence.startswith(f"usage.pricebook: not a usable price book: {book}, line 2: ")
    assert told(preflight.price_problems(configuration(tmp_path))) == []


@pytest.mark.parametrize(
    ("process", "error", "sentence"),
    [
        (
            "sfu",
            OSError(errno.EADDRINUSE, "in use"),
            "media.port: udp port 7882 is already taken on all addresses",
        ),
        ("hub", PermissionError(errno.EACCES, "no"), "http.port: no permission to open port 8080"),
    ],
)
def test_the_key_behind_an_error_of_a_child_is_named(
    tmp_path: Path, process: str, error: OSError, sentence: str
) -> None:
    problem = preflight.blame(configuration(tmp_path), process, error)
    assert problem is not None
    assert problem.to("en").startswith(sentence)


def test_an_error_below_the_data_directory_is_blamed_on_it(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    error = OSError(errno.ENOSPC, "No space left on device", str(config.data.dir / "log"))
    problem = preflight.blame(config, "hub", error)
    assert problem is not None
    assert problem.to("ko") == f"data.dir: {config.data.dir}/log: 디스크가 가득 찼습니다"
    assert preflight.blame(config, "hub", OSError(errno.EPIPE, "broken")) is None
