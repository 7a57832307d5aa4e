"""The figures of all hubs of a machine in one scrape, whatever one of them does."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from metaport import siblings as module
from metaport.metrics import Reading, combine, expose
from metaport.node import Node
from metaport.siblings import Siblings


def exposition(connections: int, sent: int = 0, sfu: int | None = None) -> bytes:
    sfus = {} if sfu is None else {"sfu": {"participants": sfu}}
    chat = {"connections": connections, "messages_in": sent, "closes": {4001: sent}}
    return expose(Reading(chat=chat, sfus=sfus))[0]


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"told twice: {key}"
            found[key] = sample.value
    return found


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_each_figure_is_there_once_under_its_hub_and_those_of_sfus_once_at_all() -> None:
    told = samples(combine({"hub": exposition(2, 5, sfu=7), "hub-1": exposition(3, 6, sfu=7)}))
    assert told[of("metaport_chat_connections", hub="hub")] == 2
    assert told[of("metaport_chat_connections", hub="hub-1")] == 3
    assert told[of("metaport_chat_messages_in_total", hub="hub-1")] == 6
    assert told[of("metaport_chat_closes_total", hub="hub", code="4001")] == 5
    assert told[of("metaport_sfu_participants", sfu="sfu")] == 7
    assert told[of("metaport_hub_up", hub="hub")] == told[of("metaport_hub_up", hub="hub-1")] == 1


def test_types_and_help_are_kept() -> None:
    alone, both = exposition(1), combine({"hub": exposition(1), "hub-1": exposition(1)})
    lines = {line for line in alone.decode().splitlines() if line.startswith("# ")}
    assert lines <= set(both.decode().splitlines())


@pytest.mark.parametrize("answer", [None, b"\xff\xfe", b"no { exposition", b'a{b="c 1\n'])
def test_a_hub_that_says_nothing_usable_is_down_and_takes_nobody_with_it(answer) -> None:
    told = samples(combine({"hub": answer, "hub-1": exposition(3, sfu=1)}))
    assert told[of("metaport_hub_up", hub="hub")] == 0
    assert told[of("metaport_hub_up", hub="hub-1")] == 1
    assert told[of("metaport_chat_connections", hub="hub-1")] == 3
    assert told[of("metaport_sfu_participants", sfu="sfu")] == 1


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    # Not under pytest's own directories: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="metaport-", dir="/tmp") as folder:
        names = ["hub", "hub-1", "hub-2"]
        yield [
            Node(number, name, name, Path(folder) / name, Path(folder) / f"{name}.sock")
            for number, name in enumerate(names)
        ]


def sibling(nodes: list[Node], number: int, connections: int, *, ready: bool = True) -> Siblings:
    async def metrics() -> tuple[bytes, str]:
        return exposition(connections), "text/plain"

    return Siblings(nodes[number], nodes, ready=lambda: ready, metrics=metrics)


async def test_whoever_is_scraped_tells_of_all_and_of_the_one_that_is_dead(nodes) -> None:
    first, second = sibling(nodes, 0, 4), sibling(nodes, 1, 5)
    await first.start()
    await second.start()
    try:
        for asked in (first, second):
            told = samples((await asked.metrics())[0])
            assert told[of("metaport_chat_connections", hub="hub")] == 4
            assert told[of("metaport_chat_connections", hub="hub-1")] == 5
            assert told[of("metaport_hub_up", hub="hub-2")] == 0
    finally:
        await first.close()
        await second.close()


async def test_one_that_hangs_is_not_waited_for_long(nodes, monkeypatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    hangs = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        with suppress(asyncio.CancelledError):
            await hangs.wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/metrics", never)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(nodes[1].socket)).start()
    first = sibling(nodes, 0, 4)
    await first.start()
    try:
        async with asyncio.timeout(10):
            told = samples((await first.metrics())[0])
        assert told[of("metaport_hub_up", hub="hub-1")] == 0
        assert told[of("metaport_chat_connections", hub="hub")] == 4
    finally:
        hangs.set()
        await first.close()
        await runner.cleanup()


async def test_alone_it_listens_nowhere_and_tells_its_own_figures(nodes) -> None:
    alone = Siblings(nodes[0], nodes[:1], ready=lambda: True, metrics=sibling(nodes, 0, 4)._metrics)
    await alone.start()
    assert not nodes[0].socket.exists()
    assert of("metaport_chat_connections") in samples((await alone.metrics())[0])
    await alone.close()
