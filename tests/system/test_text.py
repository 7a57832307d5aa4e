"""Text as an outside program meets it: both subprotocols, recovery, keys, presence."""

import asyncio
import secrets

import pytest
from websockets.exceptions import InvalidStatus

from tests.system.chat import JSON, MSGPACK, Chat, RefusedError, guest
from tests.system.deadline import until
from tests.system.statement import by_user, check_money, quantities, settled_report

pytestmark = pytest.mark.system

BODY = {"text": "안녕하세요 👋", "n": -(2**53) + 1, "f": 1.5, "deep": [[{"a": None}], True]}


async def test_both_subprotocols_carry_the_same(server):
    binary = await Chat.enter(server.url, await guest(server.url, "손님"), subprotocol=MSGPACK)
    text = await Chat.enter(server.url, await guest(server.url, "visitor"), subprotocol=JSON)
    async with binary, text:
        assert binary.welcome["user"]["name"] == "손님"
        assert {"body_bytes", "frame_bytes", "rooms", "send_per_s", "send_burst"} <= set(
            binary.welcome["limits"]
        )
        for chat in (binary, text):
            joined = await chat.request("join", room="광장/1")
            assert (joined["offset"], joined["recovered"], joined["messages"]) == (0, False, [])
        sent = [
            await binary.request("send", room="광장/1", body=BODY),
            await text.request("send", room="광장/1", body="plain"),
        ]
        assert [s["offset"] for s in sent] == [1, 2]
        seen = [await chat.count(2) for chat in (binary, text)]
        assert seen[0] == seen[1]
        for frame, reply, chat in zip(seen[0], sent, (binary, text), strict=True):
            assert frame["id"] == reply["message_id"]
            assert frame["at"] == reply["at"]
            assert frame["from"] == chat.welcome["user"]["id"]
            assert frame["name"] == chat.welcome["user"]["name"]
            assert frame["room"] == "광장/1"
        assert text.texts == [BODY, "plain"]


async def test_what_was_missed_is_recovered_and_what_cannot_be_is_told(server):
    account = await guest(server.url, "visitor")
    async with await Chat.enter(server.url, account) as host:
        await host.request("join", room="plaza")
        for number in range(5):
            await host.request("send", room="plaza", body=f"{number}")
        epoch = (await host.request("join", room="plaza"))["epoch"]
        async with await Chat.enter(server.url, await guest(server.url, "late")) as late:
            since = {"epoch": epoch, "offset": 2}
            joined = await late.request("join", room="plaza", since=since)
            assert joined["recovered"]
            assert [m["body"] for m in joined["messages"]] == ["2", "3", "4"]
            assert [m["offset"] for m in joined["messages"]] == [3, 4, 5]
            assert all(m["t"] == "message" for m in joined["messages"])
            await host.request("send", room="plaza", body="live")
            [live] = await late.count(1)
            assert live["offset"] == joined["offset"] + 1

            for lost in ({"epoch": "another", "offset": 2}, {"epoch": epoch, "offset": 99}):
                again = await late.request("join", room="plaza", since=lost)
                assert (again["recovered"], again["messages"]) == (False, [])
            history = await late.request("join", room="plaza", history=3)
            assert not history["recovered"]
            assert [m["body"] for m in history["messages"]] == ["3", "4", "live"]
            assert (await late.request("leave", room="plaza"))["t"] == "left"
            assert (await late.request("leave", room="plaza"))["t"] == "left"


async def test_a_repeated_key_is_delivered_and_counted_once(server):
    account = await guest(server.url, "visitor")
    other = await guest(server.url, "other")
    async with (
        await Chat.enter(server.url, account) as first,
        await Chat.enter(server.url, account, subprotocol=JSON) as second,
        await Chat.enter(server.url, other) as stranger,
    ):
        for chat in (first, second, stranger):
            await chat.request("join", room="plaza")
        one = await first.request("send", room="plaza", body="first", key="k")
        two = await second.request("send", room="plaza", body="another body", key="k")
        assert (two["offset"], two["message_id"]) == (one["offset"], one["message_id"])
        # The key is the user's own, and the room's own.
        assert (await stranger.request("send", room="plaza", body="mine", key="k"))["offset"] == 2
        await first.request("join", room="park")
        assert (await first.request("send", room="park", body="there", key="k"))["offset"] == 1
        await first.count(3)
        assert first.texts == ["first", "mine", "there"]
        assert (await settled_quantities(server))["chat.messages_sent"] == 3


async def test_presence_reaches_those_who_asked(server):
    host = await guest(server.url, "host")
    visitor = await guest(server.url, "visitor")
    watching = await Chat.enter(server.url, host)
    plain = await Chat.enter(server.url, host)
    async with watching, plain:
        joined = await watching.request("join", room="plaza", presence=True)
        assert [m["user"] for m in joined["members"]] == [host.user]
        assert "members" not in await plain.request("join", room="plaza")
        first = await Chat.enter(server.url, visitor)
        second = await Chat.enter(server.url, visitor)
        await first.request("join", room="plaza")
        came = await watching.wait(lambda f: f["t"] == "presence")
        assert (came["event"], came["user"], came["name"]) == ("joined", visitor.user, "visitor")
        await second.request("join", room="plaza")
        await first.close()  # one connection of two: still here
        await second.close()
        await watching.wait(lambda f: f["t"] == "presence" and f["event"] == "left")
        events = [f["event"] for f in watching.frames if f["t"] == "presence"]
        assert events == ["joined", "left"]
        assert [f["t"] for f in plain.frames if f["t"] != "welcome"] == ["joined"]


async def test_hundreds_of_messages_of_many_people_arrive_in_one_order(server):
    room = f"r-{secrets.token_hex(2)}"
    people = [await guest(server.url, f"visitor {n}") for n in range(5)]
    chats = [
        await Chat.enter(server.url, person, subprotocol=(MSGPACK, JSON)[n % 2])
        for n, person in enumerate(people)
    ]
    for chat in chats:
        await chat.request("join", room=room)

    async def talk(chat, who):
        for number in range(40):  # the default burst
            await chat.request("send", room=room, body=f"{who}:{number}", key=f"{number}")

    await asyncio.gather(*(talk(chat, who) for who, chat in enumerate(chats)))
    total = 40 * len(chats)
    seen = [await chat.count(total) for chat in chats]
    assert all(frames == seen[0] for frames in seen)
    assert [f["offset"] for f in seen[0]] == list(range(1, total + 1))
    for who in range(len(chats)):
        mine = [f["body"] for f in seen[0] if f["body"].startswith(f"{who}:")]
        assert mine == [f"{who}:{number}" for number in range(40)]
    for chat in chats:
        await chat.close()
    statement = await settled_report(server)
    assert quantities(statement)["chat.messages_sent"] == total
    assert quantities(statement)["chat.messages_delivered"] == total * len(chats)
    check_money(statement)


async def test_connected_seconds_are_counted_to_the_second(server):
    account = await guest(server.url, "visitor")
    loop = asyncio.get_running_loop()
    async with await Chat.enter(server.url, account) as chat:
        began = loop.time()
        await chat.request("join", room="plaza")
        # Two checkpoints of five seconds, and a part.
        await until(lambda: loop.time() - began > 11.3, 15, "a connection of some seconds")
    lasted = loop.time() - began
    await settled_report(server)
    counted = by_user(server)[account.user]["chat.connection_seconds"]
    assert abs(counted - lasted) <= 1


@pytest.mark.parametrize("subprotocol", [None, "metaport.v2.json"])
async def test_no_subprotocol_in_common_is_refused(server, subprotocol):
    with pytest.raises(InvalidStatus) as refused:
        await Chat.open(server.url, subprotocol=subprotocol)
    assert refused.value.response.status_code == 400
    assert refused.value.response.headers["Content-Type"].startswith("application/problem+json")


async def test_a_page_of_another_origin_is_refused(server):
    with pytest.raises(InvalidStatus) as refused:
        await Chat.open(server.url, origin="https://elsewhere.example")
    assert refused.value.response.status_code == 403
    async with await Chat.open(server.url, origin=server.url):
        pass


async def test_what_the_limits_say_holds(server):
    async with await Chat.enter(server.url, await guest(server.url, "visitor")) as chat:
        limits = chat.welcome["limits"]
        await chat.request("join", room="plaza")
        fits = "x" * (limits["body_bytes"] - 16)
        assert (await chat.request("send", room="plaza", body=fits))["offset"] == 1
        with pytest.raises(RefusedError, match="body_too_big"):
            await chat.request("send", room="plaza", body="x" * (limits["body_bytes"] + 1))
        # All at once: one after the other the bucket refills as fast as a busy machine empties it.
        answers = await asyncio.gather(
            *(
                chat.request("send", room="plaza", body=f"{number}")
                for number in range(int(limits["send_burst"]) * 3)
            ),
            return_exceptions=True,
        )
        refusals = [error.frame for error in answers if isinstance(error, RefusedError)]
        assert refusals
        assert {f["reason"] for f in refusals} == {"rate_limited"}
        assert all(f["retry_after_ms"] > 0 for f in refusals)


async def settled_quantities(server):
    return quantities(await settled_report(server))
