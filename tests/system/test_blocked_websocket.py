"""The SDK in a real browser behind a proxy that refuses every upgrade."""

import pytest

from tests.system.chat import Chat, guest
from tests.system.deadline import until
from tests.system.refusing_proxy import RefusingProxy

pytestmark = pytest.mark.system

ENTER = """
async () => {
  const { Metaport } = await import('/sdk/index.js');
  window.client = new Metaport({ name: '방문자' });
  window.heard = [];
  window.gaps = 0;
  window.room = window.client.room('광장');
  window.room.on('message', ({ message }) => window.heard.push(message.body));
  window.room.on('gap', () => (window.gaps += 1));
  await window.client.join('광장', { history: 0 });
  return window.client.connection.carrier;
}
"""


async def test_people_behind_it_talk_recover_and_lose_nothing(server, browser):
    async with (
        RefusingProxy(server.url) as proxy,
        await Chat.enter(server.url, await guest(server.url, "outside")) as outside,
    ):
        await outside.request("join", room="광장")
        page = await browser.new_page()
        await page.goto(f"{proxy.url}/console")
        assert await page.evaluate(ENTER) == "stream"
        assert proxy.upgrades_refused == 1

        async def heard(*bodies: str) -> None:
            async def so() -> bool:
                return bool(await page.evaluate("() => window.heard") == list(bodies))

            await until(so, 20.0, f"the page hears {bodies}")

        await outside.request("send", room="광장", body="안녕하세요")
        await heard("안녕하세요")
        # The answer to a request is lost: it is sent again, and taken once.
        proxy.lose_answers = 1
        await page.evaluate("() => { window.room.send('from the page'); }")
        await heard("안녕하세요", "from the page")
        assert proxy.lost == 1
        proxy.cut()
        await outside.request("send", room="광장", body="while away")
        await outside.request("send", room="광장", body="and again")
        await heard("안녕하세요", "from the page", "while away", "and again")
        assert await page.evaluate("() => window.gaps") == 0
        assert [m["body"] for m in outside.messages].count("from the page") == 1
        # The tab remembers: a reload asks for no upgrade.
        await page.reload()
        assert await page.evaluate(ENTER) == "stream"
        assert proxy.upgrades_refused == 1
        await outside.request("send", room="광장", body="still here")
        await heard("still here")
