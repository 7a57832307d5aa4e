import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.redis_program import redis_program
from metaport import doctor
from metaport.config import Config, load_config
from metaport.doctor import Finding
from tests.chatd.redis_server import RedisCluster, SentinelSet


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Configure ports that are free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    (tmp_path / "data").mkdir()
    return load_config(
        environ={
            "METAPORT_DATA_DIR": str(tmp_path / "data"),
            "METAPORT_HTTP_PORT": port,
            "METAPORT_MEDIA_PORT": port,
        }
    )


def variant(config: Config, **environ: str) -> Config:
    return load_config(
        environ={
            "METAPORT_DATA_DIR": str(config.data.dir),
            "METAPORT_HTTP_PORT": str(config.http.port),
            "METAPORT_MEDIA_PORT": str(config.media.port),
        }
        | environ
    )


async def findings(config: Config) -> dict[str, Finding]:
    return {finding.topic.en: finding async for finding in doctor.examine(config)}


async def test_a_machine_in_order_is_well(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await doctor.print_findings(config, "en") == 0
    printed = capsys.readouterr().out
    for topic in ("metaport", "Python", "OpenSSL", "libsrtp", "packet path", "data directory"):
        assert topic in printed
    assert f"tcp {config.http.port} is free" in printed
    assert f"udp {config.media.port} is free" in printed
    assert printed.endswith("All is well.\n")


async def test_korean_columns_stand_under_each_other(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await doctor.print_findings(config, "ko") == 0
    lines = capsys.readouterr().out.splitlines()[:-2]

    def columns(text: str) -> int:
        return sum(2 if "가" <= c <= "힣" else 1 for c in text)

    assert {columns(line[: line.index(" ")]) for line in lines} == {4}
    assert lines[0].startswith("정상  metaport")
    assert any("쌍둥이" in line for line in lines)


async def test_a_taken_port_is_bad_and_named(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config.http.port))  # not listening, as a hung process
        finding = (await findings(config))["port"]
        assert finding.verdict == "ok"  # udp stands last
        assert await doctor.print_findings(config, "en") == 1
    assert "BAD" in capsys.readouterr().out


async def test_a_data_directory_that_is_not_there_is_not_made(config: Config) -> None:
    config.data.dir.rmdir()
    finding = (await findings(config))["data directory"]
    assert finding.verdict == "note"
    assert not config.data.dir.exists()


async def test_an_unwritable_data_directory_is_bad(config: Config) -> None:
    config.data.dir.rmdir()
    config.data.dir.write_text("a file")
    finding = (await findings(config))["data directory"]
    assert finding.verdict == "bad"
    assert "data.dir" in finding.say.en


async def test_the_bench_profile_is_noted(config: Config) -> None:
    found = await findings(variant(config, METAPORT_PROFILE="bench"))
    assert found["configuration"].verdict == "note"


async def test_services_that_do_not_answer_are_bad_and_their_passwords_hidden(
    config: Config,
) -> None:
    found = await findings(
        variant(
            config,
            METAPORT_REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
            METAPORT_DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/metaport",
        )
    )
    for topic in ("Redis", "PostgreSQL"):
        assert found[topic].verdict == "bad"
        assert "no answer" in found[topic].say.en
        assert "hunter2" not in str(found[topic])


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Run a Redis server of our own, reachable through a Unix socket only."""
    # Not under pytest's own directories: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="metaport-redis-", dir="/tmp") as directory:
        socket_path = f"{directory}/redis.sock"
        program = redis_program()
        assert program is not None, "redis-server is missing: run `make servers`"
        process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", socket_path, "--save", ""],
            cwd=directory,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert any("eady to accept connections" in line for line in process.stdout)
        yield f"unix://{socket_path}"
        process.terminate()
        process.stdout.close()
        process.wait()


async def test_a_redis_that_answers_is_told_with_its_version(
    config: Config, redis_url: str
) -> None:
    finding = (await findings(variant(config, METAPORT_REDIS_URL=redis_url)))["Redis"]
    assert finding.verdict == "ok"
    assert finding.say.en.startswith(f"{redis_url} – ")


async def test_what_redis_may_lose_is_told_and_less_than_promised_is_bad(
    config: Config, redis_url: str, tmp_path: Path
) -> None:
    weak = (await findings(variant(config, METAPORT_REDIS_URL=redis_url)))["durability"]
    assert weak.verdict == "bad"
    assert "appendfsync none, but the configuration promises everysec" in weak.say.en
    assert "마지막 스냅숏" in weak.say.ko
    meant = variant(config, METAPORT_REDIS_URL=redis_url, METAPORT_REDIS_APPENDFSYNC="none")
    assert (await findings(meant))["durability"].verdict == "note"
    sentinels = SentinelSet(
        tmp_path / "s", "--appendonly", "yes", "--appendfsync", "always",
        "--min-replicas-to-write", "1",
    )  # fmt: skip
    sentinels.start()
    try:
        whole = variant(
            config,
            METAPORT_REDIS_URL=sentinels.url,
            METAPORT_REDIS_APPENDFSYNC="always",
            METAPORT_REDIS_REPLICAS="2",
        )
        found = (await findings(whole))["durability"]
        assert (found.verdict, "WAIT for 2 replicas" in found.say.en) == ("ok", True)
    finally:
        sentinels.kill()


async def test_a_cluster_and_sentinels_are_reached_as_the_hub_reaches_them(
    config: Config, tmp_path: Path
) -> None:
    """redis-py's own reader of URLs knew neither, and called both away."""
    for served in (RedisCluster(tmp_path / "cluster"), SentinelSet(tmp_path / "sentinel")):
        try:
            served.start()
            finding = (await findings(variant(config, METAPORT_REDIS_URL=served.url)))["Redis"]
        finally:
            served.kill()
        assert finding.verdict == "ok", finding.say.en
        assert finding.say.en.startswith(f"{served.url} – ")


def test_an_old_redis_is_bad() -> None:
    assert doctor._redis_version("redis://h", "6.2.14").verdict == "bad"
    assert doctor._redis_version("redis://h", "7.0.0").verdict == "ok"


async def test_a_postgresql_that_answers_is_told_with_its_version(
    config: Config, postgres_url: str
) -> None:
    finding = (await findings(variant(config, METAPORT_DATABASE_URL=postgres_url)))["database"]
    assert finding.verdict == "ok"
    assert finding.say.en.startswith("PostgreSQL 1")


async def test_a_twin_that_was_not_built_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.arrivals.TWIN", "compiled")
    monkeypatch.setattr("sfu.rewrite.TWIN", "compiled")
    monkeypatch.setattr("sfu.fanout.TWIN", "python")
    finding = (await findings(config))["packet path"]
    assert finding.verdict == "note"
    assert "pure-Python twin of sfu.fanout" in finding.say.en
    monkeypatch.setattr("sfu.fanout.TWIN", "compiled")
    assert (await findings(config))["packet path"].verdict == "ok"
