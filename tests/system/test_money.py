"""What a visit and a month cost, over HTTP: to the visitor, to the operator, to nobody else."""

import re
from decimal import Decimal

import aiohttp
import pytest

from tests.system.chat import Chat, guest
from tests.system.deadline import until
from tests.system.statement import by_user, quantities, settled_report, unit_prices

pytestmark = pytest.mark.system


async def get(url, token):
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.get(url) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_the_visit_costs_what_the_price_book_says(server):
    account, other = await guest(server.url, "visitor"), await guest(server.url, "other")
    async with (
        await Chat.enter(server.url, account) as chat,
        await Chat.enter(server.url, other) as reader,
    ):
        for person in (chat, reader):
            await person.request("join", room="plaza")
        for number in range(30):
            await chat.request("send", room="plaza", body=f"{number}")
    await settled_report(server)
    visit = await get(f"{server.url}/api/v1/usage/visit", account.token)
    counted = {line["meter"]: line["quantity"] for line in visit["lines"]}
    assert counted["chat.messages_sent"] == 30
    prices = unit_prices()
    used = by_user(server)[account.user].items()
    assert counted == {meter: n for meter, n in used if n and meter in prices}
    exact = sum(quantity * prices[meter] for meter, quantity in counted.items())
    assert abs(Decimal(visit["amount"]) - exact) < Decimal("0.01")
    assert visit["currency"] == "KRW"


async def test_the_first_admin_reads_the_same_report_as_the_command_prints(server):
    async with await Chat.enter(server.url, await guest(server.url, "visitor")) as chat:
        await chat.request("join", room="plaza")
        await chat.request("send", room="plaza", body="hello")
    await until(lambda: "password" in server.output, 10, "the banner")
    [password] = re.findall(r"password\s+(\S{10,})", server.output)
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{server.url}/api/v1/auth/login", json={"user": "admin", "password": password}
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
        token = (await answer.json())["token"]
    printed = await settled_report(server)
    served = await get(f"{server.url}/api/v1/usage/report?month={printed['month']}", token)
    assert quantities(served) == quantities(printed)
    assert {k: served[k] for k in ("subtotal", "vat", "total", "zone", "complete")} == {
        k: printed[k] for k in ("subtotal", "vat", "total", "zone", "complete")
    }
    assert quantities(served)["chat.messages_sent"] == 1
    assert not served["complete"]
