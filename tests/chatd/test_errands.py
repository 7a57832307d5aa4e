import asyncio

import pytest

from chatd.errands import Errands
from chatd.signals import LocalSignals


async def double(fields):
    return fields["of"] * 2


def house(count=3, living=None, within_s=10.0):
    """Return the errands of several processes, of which each knows the others."""
    names = [f"p{number}" for number in range(count)]
    signals = [LocalSignals()]
    signals += [signals[0].beside() for _ in names[1:]]
    found = []
    for name, signal in zip(names, signals, strict=True):
        others = [other for other in (living or names) if other != name]
        errands = Errands(signal, name, lambda others=others: others, within_s=within_s)
        errands.serve("double", double)
        errands.start()
        found.append(errands)
    return found


async def test_all_are_asked_and_all_answer():
    errands = house()
    assert await errands[0].run("double", of=2) == ([4, 4, 4], 0)
    first, second = await asyncio.gather(
        errands[1].run("double", of=1), errands[1].run("double", of=3)
    )
    assert (first.results, second.results) == ([2, 2, 2], [6, 6, 6])


async def test_alone_it_is_done_at_once():
    (errands,) = house(1)
    assert await errands.run("double", of=2) == ([4], 0)


async def test_who_does_not_answer_is_counted():
    errands = house(2, living=["p0", "p1", "dead"], within_s=0.05)
    assert await errands[0].run("double", of=2) == ([4, 4], 1)


async def test_who_fails_has_not_answered_and_goes_on():
    errands = house(2, within_s=0.05)

    async def fail(fields):
        raise ValueError("no")

    errands[1].serve("double", fail)
    assert await errands[0].run("double", of=2) == ([4], 1)
    with pytest.raises(ValueError, match="no"):
        await errands[1].run("double", of=2)
    errands[1].serve("double", double)
    assert await errands[0].run("double", of=2) == ([4, 4], 0)


async def test_who_has_closed_hears_nothing_more():
    errands = house(2, within_s=0.05)
    await errands[1].close()
    assert await errands[0].run("double", of=2) == ([4], 1)
