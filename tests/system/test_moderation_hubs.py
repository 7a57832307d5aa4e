"""Moderation over two hub processes on one Redis: whoever is asked, everybody is reached."""

import aiohttp
import pytest

from tests.system import test_hubs
from tests.system.deadline import until
from tests.system.test_webhook_crash import admin_token

pytestmark = pytest.mark.system

redis = test_hubs.redis


@pytest.mark.timeout(90)
async def test_people_on_both_hubs_are_heard_moved_and_banned(folder, redis):
    async with test_hubs._hubs(folder, redis) as server, aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {await admin_token(server, http)}"}

        async def ask(method, path, **body):
            url = f"{server.url}/api/v1{path}"
            async with http.request(method, url, json=body or None, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
                return await answer.json()

        chats = await test_hubs._spread(server, "plaza")

        async def told_by_both():
            figures = await ask("GET", "/rooms/plaza/figures")
            assert figures["unanswered"] == 0
            both = [each["connections"] > 0 for each in figures["hubs"]] == [True, True]
            return figures if both else None

        figures = await until(told_by_both, 20, "both hubs have people and know of each other")
        assert figures["connections"] == len(chats)
        people = await ask("GET", "/rooms/plaza/participants")
        assert len(people["participants"]) == len(chats)
        await ask("POST", "/rooms/plaza/messages", body="안내")
        await until(lambda: all(chat.messages for chat in chats), 10, "everybody hears it")
        for person in people["participants"]:
            path = f"/rooms/plaza/participants/{person['user']}"
            moved = await ask("POST", f"{path}/move", to="yard")
            assert (moved["connections"], moved["unanswered"]) == (1, 0)
        assert (await ask("GET", "/rooms/yard/figures"))["connections"] == len(chats)
        for person in people["participants"]:
            banned = await ask("POST", f"/rooms/yard/participants/{person['user']}/ban")
            assert (banned["connections"], banned["unanswered"]) == (1, 0)
        assert (await ask("GET", "/rooms/yard/figures"))["connections"] == 0
        for chat in chats:
            await chat.close()
