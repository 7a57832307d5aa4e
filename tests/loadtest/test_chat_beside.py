from pathlib import Path

from loadtest import chat_beside
from loadtest.launch import running
from loadtest.results import Figures


async def test_a_chat_beside_counts_what_became_of_its_messages(tmp_path: Path) -> None:
    async with running(tmp_path / "data", {"METAPORT_PROFILE": "bench"}) as server:
        told = chat_beside.Beside(server.url, 1.0).finish()
    assert chat_beside.PEOPLE <= told.sent == told.acknowledged
    assert told.delivered == told.sent * chat_beside.PEOPLE
    assert 0 < told.p50_ms <= told.p99_ms <= told.slowest_ms
    figures = Figures()
    chat_beside.add(figures, "beside nothing", told)
    assert {f.name for f in figures.all() if f.repeats == (0,)} == {
        "chat: not acknowledged",
        "chat: not delivered",
    }
