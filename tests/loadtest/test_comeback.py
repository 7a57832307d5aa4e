"""The way back of those who were there, against a small server of its own."""

import msgpack
import pytest

from loadtest import comeback
from loadtest.results import Figures
from tests.loadtest.test_hall import unmasked


def test_only_a_join_that_recovered_is_an_answer() -> None:
    places = {"hall": {"epoch": "e1", "offset": 7}}
    *_, join = comeback.ReturningDoor(80, ["t"], places).steps(0, "hall")
    asked = msgpack.unpackb(unmasked(join.data))
    assert asked == {"t": "join", "id": 1, "room": "hall", "since": places["hall"]}
    assert join.expect in msgpack.packb({"t": "joined", "recovered": True})
    assert join.expect not in msgpack.packb({"t": "joined", "recovered": False})


@pytest.mark.system
async def test_a_hall_comes_back_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comeback, "EACH", 5)
    figures = Figures()
    await comeback.measure(figures, 10)
    found = {figure.name: figure.repeats[0] for figure in figures.all()}
    assert set(found) == {
        "CPU of a handshake with join",
        "memory of an idle connection",
        "from the kill until all recovered",
    }
    assert found["from the kill until all recovered"] > 0
