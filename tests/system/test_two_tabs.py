"""One person in two tabs of a real browser: one user, two connections, each message once."""

import asyncio

import pytest

from tests.system.chat import Chat, guest
from tests.system.deadline import until

pytestmark = pytest.mark.system

ENTER = """
async (token) => {
  const { Metaport } = await import('/sdk/index.js');
  window.client = new Metaport({ token });
  window.room = window.client.room('tabs');
  await window.client.join('tabs', { history: 0 });
  return window.client.connection.user.id;
}
"""
SHOWN = """
() => window.room.messages.map(({ body, offset, state, own }) => [body, offset, state, own])
"""


async def test_two_tabs_of_one_person_agree_and_count_once(server, browser):
    async with await Chat.enter(server.url, await guest(server.url, "outside")) as outside:
        await outside.request("join", room="tabs", presence=True)
        account = await guest(server.url, "two tabs")
        context = await browser.new_context()
        tabs = [await context.new_page() for _ in range(2)]
        for tab in tabs:
            await tab.goto(f"{server.url}/console")
        assert [await tab.evaluate(ENTER, account.token) for tab in tabs] == [account.user] * 2

        def told(event: str) -> int:
            presence = [f for f in outside.frames if f["t"] == "presence" and f["event"] == event]
            return sum(frame["user"] == account.user for frame in presence)

        await until(lambda: told("joined") == 1, 10, "the person is there, once")

        # Both say the same in the same moment: each takes its own for its own, by the offset.
        say = "() => { window.room.send('same'); }"
        await asyncio.gather(*(tab.evaluate(say) for tab in tabs))
        await outside.request("send", room="tabs", body="from outside")
        await tabs[0].evaluate("() => { window.room.send('one'); }")

        async def agreed() -> bool:
            first, second = [await tab.evaluate(SHOWN) for tab in tabs]
            return first == second and [shown[0] for shown in first].count("one") == 1

        await until(agreed, 20, "both tabs show the same")
        shown = await tabs[0].evaluate(SHOWN)
        assert [offset for _, offset, _, _ in shown] == [1, 2, 3, 4]
        assert sorted(body for body, *_ in shown) == ["from outside", "one", "same", "same"]
        assert all(own is (body != "from outside") for body, _, _, own in shown)
        assert [state for body, _, state, _ in shown if body != "from outside"] == ["sent"] * 3

        # The first tab closed is nobody's going; the last is.
        await tabs[0].close()
        await tabs[1].evaluate("() => { window.room.send('still here'); }")
        await outside.count(5)
        assert told("left") == 0
        await context.close()
        await until(lambda: told("left") == 1, 20, "the person has gone with the last tab")
