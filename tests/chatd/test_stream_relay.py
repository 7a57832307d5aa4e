import asyncio

import pytest

from chatd import stream_relay
from chatd.signals import LocalSignals
from chatd.stream_relay import PART_BYTES, StreamRelay

HERE, THERE = "0" * 8, "1" * 8


class Streams:
    """What a hub was given, and what it answers."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int, bytes]] = []
        self.status: int | None = 204

    async def take(self, stream: str, number: int, body: bytes) -> int | None:
        self.taken.append((stream, number, body))
        return self.status


@pytest.fixture
async def hubs():
    signals, streams = LocalSignals(), Streams()
    here = StreamRelay(HERE, signals, Streams().take)
    there = StreamRelay(THERE, signals.beside(), streams.take)
    yield here, streams, signals
    here.close()
    there.close()


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
async def test_a_request_reaches_the_hub_that_its_stream_names(hubs, size: int) -> None:
    here, streams, _ = hubs
    body = bytes(range(256)) * (size // 256 + 1)
    assert await here.post(f"{THERE}-secret", 7, body[:size]) == 204
    assert streams.taken == [(f"{THERE}-secret", 7, body[:size])]


@pytest.mark.parametrize("status", [204, 404, 409, 429, None])
async def test_its_answer_is_that_of_the_hub(hubs, status: int | None) -> None:
    here, streams, _ = hubs
    streams.status = status
    assert await here.post(f"{THERE}-secret", 1, b"{}") == status


@pytest.mark.parametrize("stream", ["", "-", "nobody", f"{HERE}-mine", "../../etc", "é" * 8])
async def test_an_id_that_names_no_other_hub_is_nobodys(hubs, stream: str) -> None:
    here, streams, _ = hubs
    assert await here.post(stream, 1, b"{}") is None
    assert streams.taken == []


async def test_a_hub_that_does_not_answer_is_asked_again_by_the_client(
    hubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_relay, "ANSWER_S", 0.01)
    here, _, _ = hubs
    assert await here.post("2" * 8 + "-secret", 1, b"{}") == 503
    assert here._waiting == {}


async def test_requests_at_once_get_their_own_answers(hubs) -> None:
    here, streams, _ = hubs
    ids = [f"{THERE}-{n}" for n in range(50)]
    assert await asyncio.gather(*(here.post(id, 1, b"x") for id in ids)) == [204] * 50
    assert sorted(stream for stream, _, _ in streams.taken) == sorted(ids)


async def test_news_that_are_none_of_ours_change_nothing(hubs) -> None:
    _, streams, signals = hubs
    for news in (b"", b"\xff", b"\x93\x01\x02\x03", b"\x93\xa8answered\x01\xcc\xcc"):
        signals.tell(f"stream.{THERE}", news)
    await asyncio.sleep(0)
    assert streams.taken == []
