"""A secure context away from localhost: `--tls auto`, as a phone on the office network uses it."""

import ssl

import aiohttp
import pytest

from loadtest.launch import running
from tests.system.browser import Visitor
from tests.system.chat import Chat
from tests.system.deadline import until

pytestmark = pytest.mark.system


@pytest.fixture
async def secure(folder):
    async with running(folder / "data", arguments=("--tls", "auto")) as server:
        yield server
    print(server.output)


async def test_the_certificate_is_good_for_whoever_trusts_the_authority(secure):
    trusting = ssl.create_default_context(cafile=str(secure.data_dir / "tls" / "ca.crt"))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http,
        http.post(f"{secure.url}/api/v1/auth/guest", json={"name": "visitor"}) as answer,
    ):
        token = (await answer.json())["token"]
    async with await Chat.open(secure.url, ssl=trusting) as chat:
        await chat.send({"t": "hello", "token": token, "v": 1})
        await chat.request("join", room="plaza")
        assert (await chat.request("send", room="plaza", body="over TLS"))["offset"] == 1
        assert [m["body"] for m in await chat.count(1)] == ["over TLS"]
    with pytest.raises(ssl.SSLError):
        await Chat.open(secure.url, ssl=ssl.create_default_context())


async def test_a_big_message_for_many_comes_whole_through_tls(secure):
    trusting = ssl.create_default_context(cafile=str(secure.data_dir / "tls" / "ca.crt"))
    token = (await secure.command("token", "--user", "u")).strip()
    chats = [await Chat.open(secure.url, ssl=trusting) for _ in range(10)]
    for chat in chats:
        await chat.send({"t": "hello", "token": token, "v": 1})
        await chat.request("join", room="plaza")
    welcome = await chats[0].wait(lambda frame: frame["t"] == "welcome")
    body = "가" * ((welcome["limits"]["body_bytes"] - 16) // 3)
    for _ in range(10):
        await chats[0].request("send", room="plaza", body=body)
    for chat in chats:
        messages = await chat.count(10)
        assert [m["offset"] for m in messages] == list(range(1, 11))
        assert all(m["body"] == body for m in messages)
        await chat.close()


async def test_a_page_may_use_the_microphone_over_tls(secure, browser):
    visitors = [
        await Visitor.arrive(browser, secure.url, name, "plaza", ignore_https_errors=True)
        for name in ("visitor-a", "visitor-b")
    ]
    for visitor in visitors:
        await visitor.joined()
    await visitors[0].decodes({visitors[1].user})
    await visitors[0].say("hello")
    await until(lambda: visitors[1].messages, 5, "the message arrives")
