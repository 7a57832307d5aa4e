"""Avatars, and what is held about people, over HTTP."""

import json
from io import BytesIO

import pytest
from PIL import Image

from metaport.db.person import ERASED_NAME
from metaport.pictures import MOST_BYTES
from tests.metaport import test_identity_api
from tests.metaport.test_identity_api import (
    PASSWORD,
    ask,
    closed,
    reason,
    registered,
    signed_in,
    staff,
    welcomed,
)

config = test_identity_api.config
hub = test_identity_api.hub


async def upload(hub, token, data, kind="image/png"):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    async with hub.put("/api/v1/me/avatar", data=BytesIO(data), headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_an_avatar_is_what_it_is_whatever_it_is_called(hub):
    await registered(hub)
    token = (await signed_in(hub))["token"]
    out = BytesIO()
    Image.effect_noise((700, 500), 80).convert("RGB").save(out, "PNG")
    assert len(out.getvalue()) > 256 * 1024  # more than any other body may have
    status, told = await upload(hub, token, out.getvalue(), "text/html; name=../../etc/passwd")
    assert status == 200
    async with hub.get(told["url"]) as answer:
        assert answer.content_type == "image/webp"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        with Image.open(BytesIO(await answer.read())) as image:
            assert image.size == (256, 256)
        tag = {"If-None-Match": answer.headers["ETag"]}
    async with hub.get(told["url"], headers=tag) as answer:
        assert answer.status == 304
    for data, why in (
        (b"<svg onload='alert(1)'/>", (400, "bad-image")),
        (b"", (400, "bad-image")),
        (bytes(MOST_BYTES + 1), (413, "too-large")),
    ):
        assert reason(await upload(hub, token, data)) == why
    for path in ("..%2F..%2Fetc%2Fpasswd", "x" * 64, "%00", told["digest"].upper()):
        assert (await ask(hub, "GET", f"/avatars/{path}"))[0] in (404, 400)
    vouched = staff("somebody", [])
    assert reason(await upload(hub, vouched, out.getvalue())) == (403, "needs-account")
    assert (await ask(hub, "DELETE", "/me/avatar", token=token))[0] == 204
    async with hub.get(told["url"]) as answer:
        assert answer.status == 404


async def test_somebody_takes_their_data_along_and_is_erased(hub):
    user = await registered(hub)
    told = await signed_in(hub, device_name="내 전화")
    token = told["token"]
    admin = staff()
    await ask(hub, "POST", "/rooms", token=admin, room="office", kind="private", users=[user, "x"])
    socket = await welcomed(hub, token)
    await socket.send_json({"t": "join", "id": 1, "room": "hall"})
    await socket.send_json({"t": "send", "id": 2, "room": "hall", "body": "내가 한 말"})
    while (await socket.receive_json())["t"] != "sent":
        continue
    while True:  # until history has it
        status, export = await ask(hub, "GET", "/me/export", token=token)
        assert status == 200
        if any(row["table"] == "message" for row in export["rows"]):
            break
    text = json.dumps(export, ensure_ascii=False)
    assert export["user"] == user
    for held in ("gildong", "길동", "내 전화", "내가 한 말", "127.0.0.1"):
        assert held in text
    assert "argon2" not in text
    status, other = await ask(hub, "GET", f"/users/{user}/export", token=admin)
    assert status == 200
    assert {row["table"] for row in other["rows"]} >= {row["table"] for row in export["rows"]}
    assert (await ask(hub, "POST", "/me/erase", token=token, user="somebody"))[0] == 400
    status, erased = await ask(hub, "POST", "/me/erase", token=token, user=user)
    assert (status, erased["done"]) == (200, False)
    assert 4200 <= await closed(socket) < 4300
    for again in (
        await ask(hub, "GET", "/me", token=token),
        await ask(hub, "POST", "/auth/refresh", refresh_token=told["refresh_token"]),
        await ask(hub, "POST", "/auth/login", user="gildong", password=PASSWORD),
    ):
        assert again[0] == 401
    _, page = await ask(hub, "GET", "/rooms/hall/messages", token=admin)
    (kept,) = page["messages"]
    assert (kept["body"], kept["name"]) == ("내가 한 말", ERASED_NAME)
    assert kept["from"] == erased["pseudonym"]
    assert (await ask(hub, "GET", "/rooms/office", token=admin))[1]["users"] == ["x"]
    _, left = await ask(hub, "GET", f"/users/{user}/export", token=admin)
    # What is still counted may come once more.
    assert {row["table"] for row in left["rows"]} <= {"usage_window", "active_user", "erasure"}
    _, log = await ask(hub, "GET", "/audit?personal=true", token=admin)
    assert any(
        (entry["actor"], entry["whose"], entry["personal"]) == ("admin", user, "everything")
        for entry in log["entries"]
    )
    # The login is free again, and it is another person.
    assert await registered(hub) != user


@pytest.mark.parametrize("user", ["guest-1", "nobody"])
async def test_who_has_no_account_is_erased_as_well(hub, user):
    status, erased = await ask(hub, "POST", f"/users/{user}/erase", token=staff(), user=user)
    assert status == 200
    again = await ask(hub, "POST", f"/users/{user}/erase", token=staff(), user=user)
    assert again[1]["pseudonym"] == erased["pseudonym"]
