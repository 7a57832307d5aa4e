"""People at the demo page, in real Chromium, among each other and beside WHIP and WHEP."""

import asyncio
import os
import signal
import time

import pytest

from tests.system.attendance import stays
from tests.system.browser import Visitor, crash
from tests.system.chat import guest
from tests.system.deadline import BACK_S, contention, until
from tests.system.peer import Peer, Picture, Tone
from tests.system.statement import (
    by_user,
    check_money,
    participation,
    quantities,
    settled_report,
)

pytestmark = pytest.mark.system


async def gather_in(browser, url, room, *names):
    """Bring people into a room one after the other and wait until all decode all others."""
    visitors = []
    for name in names:
        visitors.append(await Visitor.arrive(browser, url, name, room))
        await visitors[-1].joined()
    await all_decode(visitors)
    return visitors


async def all_decode(visitors, *others, deadline_s=30.0):
    """Wait until everybody decodes pictures of, and hears, everybody else."""
    users = {visitor.user for visitor in visitors} | set(others)
    await asyncio.gather(*(v.decodes(users - {v.user}, deadline_s) for v in visitors))


async def talk(visitors, rounds, counter):
    """Let everybody say something, and see that everybody reads it in one order."""
    before = [len(visitor.messages) for visitor in visitors]
    said = [f"{v.name} {counter} {n}" for n in range(rounds) for v in visitors]
    for text, visitor in zip(said, visitors * rounds, strict=True):
        await visitor.say(text)
    for visitor, known in zip(visitors, before, strict=True):
        await until(
            lambda visitor=visitor, known=known: len(visitor.messages) >= known + len(said),
            10,
            lambda visitor=visitor: f"{visitor.name} reads everything: {visitor.messages}",
        )
    heard = [visitor.messages[known:] for visitor, known in zip(visitors, before, strict=True)]
    assert all(frames == heard[0] for frames in heard)
    offsets = [frame["offset"] for frame in heard[0]]
    assert offsets == list(range(offsets[0], offsets[0] + len(said)))
    for visitor in visitors:
        mine = [frame["body"] for frame in heard[0] if frame["from"] == visitor.user]
        assert mine == [text for text in said if text.startswith(f"{visitor.name} ")]
    return len(said)


@pytest.mark.timeout(240)
async def test_three_people_talk_see_and_hear_each_other_and_the_report_shows_it(server, browser):
    anna, boram, chorong = people = await gather_in(
        browser, server.url, "plaza", "visitor-a", "visitor-b", "visitor-c"
    )
    sent = await talk(people, 3, "first")
    delivered = 3 * sent

    # A second kind of client joins by WHIP and WHEP.
    speaker = await guest(server.url, "speaker")
    publisher = Peer(server.url, speaker.token)
    await publisher.publish("/whip/plaza", Tone(), Picture())
    await all_decode(people, speaker.user)
    listener = await guest(server.url, "listener")
    subscriber = Peer(server.url, listener.token)
    await subscriber.subscribe("/whep/plaza", *["audio", "video"] * 4)
    await until(
        lambda: (
            len(subscriber.received) == 8
            and all(
                r.frames > 5 and (r.energy > 0 or r.kind == "video") for r in subscriber.received
            )
        ),
        30,
        lambda: f"the peer decodes all four: {subscriber.received}",
    )

    # One page is killed; the rest goes on.
    gone = chorong.user
    await crash(chorong)
    await all_decode([anna, boram], speaker.user)
    sent += (more := await talk([anna, boram], 2, "second"))
    delivered += 2 * more
    await until(
        lambda: all(s.ended for s in stays(people).values() if s.user == gone),
        45,
        lambda: f"the killed one leaves: {stays(people)}",
    )

    # Another reloads; the rest goes on, and it comes back.
    before = len(boram.frames("joined"))
    await boram.page.reload()
    await until(lambda: len(boram.frames("joined")) > before, 15, "the reloaded page joins again")
    await all_decode([anna, boram], speaker.user)
    sent += (more := await talk([anna, boram], 2, "third"))
    delivered += 2 * more

    await subscriber.close()
    await publisher.close()
    here = {visitor.last("media.joined")["participant"] for visitor in (anna, boram)}
    await until(
        lambda: all(s.ended for who, s in stays(people).items() if who not in here),
        30,
        lambda: f"the others are gone, also who was there before the reload: {stays(people)}",
    )
    for visitor in (boram, anna):
        await visitor.leave()
        await until(lambda v=visitor: v.frames("media.left"), 5, "the call is left")
    counted = stays(people)

    statement = await settled_report(server)
    check_money(statement)
    figures = quantities(statement)
    assert figures["chat.messages_sent"] == sent
    assert figures["chat.messages_delivered"] == delivered
    ledger = by_user(server)
    for user in {stay.user for stay in counted.values()}:
        seconds = sum(stay.seconds for stay in counted.values() if stay.user == user)
        assert abs(participation(ledger[user]) - seconds) <= 1, (user, ledger[user], counted)
    assert participation(figures) == sum(participation(ledger[user]) for user in ledger)
    for visitor in (anna, boram):
        assert not visitor.complaints, visitor.complaints


@pytest.mark.timeout(180)
@pytest.mark.parametrize("role", ["hub", "sfu"])
async def test_pages_come_back_by_themselves_when_a_process_is_killed(server, browser, role):
    slowed = contention()
    people = await gather_in(browser, server.url, "plaza", "visitor-a", "visitor-b")
    said = await talk(people, 2, "before")
    started = min(stay.began for stay in stays(people).values())
    killed = server.child(role)
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + BACK_S * slowed
    await until(
        lambda: server.child(role) not in (None, killed),
        deadline - time.monotonic(),
        f"the {role} is back",
    )
    if role == "hub":
        counts = [len(v.frames("joined")) for v in people]
        await until(
            lambda: all(len(v.frames("joined")) > n for v, n in zip(people, counts, strict=True)),
            deadline - time.monotonic(),
            "the pages have joined again",
        )
    await all_decode(people, deadline_s=deadline - time.monotonic())
    said += await talk(people, 2, "after")
    shown = [await visitor.shown() for visitor in people]
    assert shown[0] == shown[1]
    assert len(shown[0]) == said
    for visitor in people:
        await visitor.leave()
        await until(lambda v=visitor: v.frames("media.left"), 5, "the call is left")
    ended = time.time()
    statement = await settled_report(server)
    assert quantities(statement)["chat.messages_sent"] == said
    # Lost at most: what was since the last checkpoint, and the time away.
    lost = 5 + BACK_S * slowed
    for visitor in people:
        seconds = participation(by_user(server)[visitor.user])
        assert ended - started - lost <= seconds <= ended - started + 1


async def test_mute_and_unmute_reach_the_others(server, browser):
    anna, boram = await gather_in(browser, server.url, "plaza", "visitor-a", "visitor-b")
    for button, source in (("#dock-microphone", "microphone"), ("#dock-camera", "camera")):
        for event in ("muted", "unmuted"):
            await anna.page.click(button)
            await until(
                lambda event=event, source=source: [
                    f
                    for f in boram.frames("media.track")
                    if (f["event"], f["track"]["source"]) == (event, source)
                ],
                5,
                f"the other page hears that the {source} is {event}",
            )
    await boram.decodes({anna.user})
    for visitor in (anna, boram):
        assert not visitor.complaints, visitor.complaints
