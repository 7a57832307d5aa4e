"""The judge finds what is broken, and a run of the real hub breaks nothing."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from loadtest.invariants.judge import Judge, View


def message(offset: int, text: str | None = None, room: str = "r", id: str | None = None) -> Any:
    body = {"text": text or f"text {offset}"}
    return {"room": room, "offset": offset, "id": id or f"m{offset}", "body": body}


def joined(epoch: str, offset: int, recovered: bool, *offsets: int) -> dict[str, Any]:
    messages = [message(each) for each in offsets]
    return {
        "room": "r", "epoch": epoch, "offset": offset, "recovered": recovered, "messages": messages,
    }  # fmt: skip


def sent(offset: int) -> dict[str, Any]:
    return {"room": "r", "offset": offset, "message_id": f"m{offset}"}


def broken(judge: Judge) -> str:
    return "\n".join(judge.verdict.violations)


def test_a_conversation_in_order_breaks_nothing() -> None:
    judge, anna, minho = Judge(), View(), View()
    judge.joined("anna", anna, joined("e", 0, False), None)
    judge.acknowledged("anna", anna, sent(1), "text 1")
    judge.heard("anna", anna, message(1))
    judge.joined("minho", minho, joined("e", 1, False, 1), None)
    judge.heard("anna", anna, message(2))
    judge.joined("minho", minho, joined("e", 3, True, 2, 3), ("e", 1))
    judge.joined("anna", anna, joined("e", 3, True, 3), ("e", 2))
    judge.read("newcomer", "r", {"e": [message(1), message(2), message(3)]})
    assert judge.verdict.violations == []
    assert (judge.verdict.recovered, judge.verdict.joins) == (2, 4)


@pytest.mark.parametrize(
    ("reply", "since", "said"),
    [
        (joined("e", 5, True, 3, 5), ("e", 2), "with 3, 5"),
        (joined("e", 5, True, 3, 4), ("e", 2), "with 3-4"),
        (joined("e", 5, True, 2, 3, 4, 5), ("e", 2), "with 2-5"),
        (joined("f", 2, True), ("e", 2), "into another epoch"),
        (joined("e", 5, False), ("e", 2), "does not recover"),
        (joined("e", 5, False, 5), ("e", 2), "still has messages"),
        (joined("e", 1, False), ("e", 2), "went back within an epoch"),
        (joined("f", 0, False), ("e", 2), "began anew"),
        (joined("e", 5, True), None, "not asked for"),
        (joined("e", 5, False, 2, 3), None, "told 2-3"),
    ],
)
def test_a_join_that_breaks_a_promise_is_named(reply: Any, since: Any, said: str) -> None:
    judge = Judge()
    judge.joined("anna", View(), reply, since)
    assert said in broken(judge)


def test_holes_doubles_and_other_messages_at_a_place_are_named() -> None:
    judge, anna, minho = Judge(), View("e", 1), View("e", 0)
    judge.heard("anna", anna, message(3))
    assert "heard 3 after 1" in broken(judge)
    judge.heard("anna", anna, message(3))
    assert "heard 3 after 3" in broken(judge)
    judge.heard("minho", minho, message(1, "one"))
    judge.heard("minho", minho, message(2, "one", id="again"))
    assert "'one' stands in r at 1 and at 2" in broken(judge)
    judge.acknowledged("anna", anna, sent(1), "another")
    assert "holds ('one', 'm1') and ('another', 'm1')" in broken(judge)
    judge.heard("late", View(), message(1))
    assert "before `joined`" in broken(judge)


def test_what_was_acknowledged_and_is_gone_is_lost_unless_the_setting_may_lose() -> None:
    for may_lose in (False, True):
        judge, anna = Judge(may_lose=may_lose), View("e", 0)
        judge.acknowledged("anna", anna, sent(1), "text 1")
        judge.acknowledged("anna", anna, sent(2), "text 2")
        judge.read("newcomer", "r", {"e": [message(1)]})
        assert judge.verdict.lost == [("r", "e", 2)]
        assert bool(judge.verdict.violations) is not may_lose


def test_a_new_epoch_that_kept_everything_lost_nothing() -> None:
    judge, anna = Judge(keeps_epochs=False), View("e", 0)
    judge.acknowledged("anna", anna, sent(1), "text 1")
    judge.joined("anna", anna, joined("f", 1, False), ("e", 1))
    judge.read("newcomer", "r", {"e": [message(1)], "f": [message(1, "text 2", id="m2")]})
    assert broken(judge) == ""
    assert (judge.verdict.epochs_told, judge.verdict.lost) == (1, [])


async def test_a_hub_keeps_its_promises_through_kills_cuts_and_stalls() -> None:
    command = (sys.executable, "-m", "loadtest.invariants", "--seconds", "8", "--seed", "20261128")
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 broken;" in done.stdout
