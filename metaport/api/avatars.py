"""Avatars: uploaded by their owner, decoded and written anew, served by the hash of what they are.

No name and no type of the client's is kept or believed; there is no path in the request.
"""

import asyncio

import msgspec
from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.me import account_of, store
from metaport.api.operations import ANYONE, SIGNED_IN, Operation, claims_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES
from metaport.api.signing_in import named, session_account
from metaport.language import Say
from metaport.pictures import MEDIA_TYPE, MOST_BYTES, NoPicture, read_picture

# A picture is what its hash says for ever; but its owner may take it back.
CACHE = "public, max-age=86400"
# Should a browser ever take it for a page: nothing runs, nothing loads.
POLICY = "default-src 'none'; sandbox"
# One at a time decodes: 48 MiB and a core for a moment.
_DECODING = asyncio.Semaphore(1)


class Avatar(msgspec.Struct):
    """Where a picture is served."""

    digest: str
    url: str


async def put(request: web.Request) -> web.Response:
    """Take a picture as one's avatar: PNG, JPEG, WebP or GIF up to 1 MiB."""
    services = request.app[SERVICES]
    account, _ = await account_of(services, session_account(claims_of(request)))
    data = await _read(request)
    try:
        async with _DECODING:
            picture = await asyncio.to_thread(read_picture, data)
    except NoPicture as error:
        raise Problem("bad-image", str(error)) from None
    with away_as("accounts-away"):
        await services.identity.accounts.put_avatar(*picture, int(services.clock()))
    await store(services, account, account._replace(avatar=picture.digest))
    return respond(Avatar(picture.digest, f"/api/v1/avatars/{picture.digest}"))


async def _read(request: web.Request) -> bytes:
    """Read a body that may be larger than those of other requests."""
    data = bytearray()
    while chunk := await request.content.read(MOST_BYTES + 1 - len(data)):
        data += chunk
        if len(data) > MOST_BYTES:
            raise Problem("too-large", limit_bytes=MOST_BYTES)
    return bytes(data)


async def remove(request: web.Request) -> web.Response:
    """Show no picture any more."""
    services = request.app[SERVICES]
    account, _ = await account_of(services, session_account(claims_of(request)))
    await store(services, account, account._replace(avatar=None))
    return web.Response(status=204)


async def read(request: web.Request) -> web.Response:
    """Return a picture that somebody shows."""
    services = request.app[SERVICES]
    digest = named(request, "digest")
    with away_as("accounts-away"):
        found = await services.identity.accounts.avatar(digest)
    if found is None:
        raise Problem("not-found")
    tag = f'"{digest}"'
    headers = {
        "Cache-Control": CACHE,
        "ETag": tag,
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Content-Disposition": 'inline; filename="avatar.webp"',
    }
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    media_type, content = found
    return web.Response(body=content, content_type=media_type, headers=headers)


OPERATIONS = (
    Operation(
        "PUT", "/api/v1/me/avatar", put, Say("내 사진 올리기", "Upload my avatar"),
        SIGNED_IN, answer=Avatar, takes="image/*",
    ),
    Operation(
        "DELETE", "/api/v1/me/avatar", remove, Say("내 사진 삭제", "Remove my avatar"),
        SIGNED_IN, status=204,
    ),
    Operation(
        "GET", "/api/v1/avatars/{digest}", read, Say("프로필 사진", "An avatar"),
        ANYONE, media_types=(MEDIA_TYPE,),
    ),
)  # fmt: skip
