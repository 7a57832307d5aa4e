"""Apps (tenants) and the keys with which their backends sign tokens; role admin."""

import secrets
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from metaport.accounts import ACTIVE, App
from metaport.api.bodies import NO_NUL, read_json, respond
from metaport.api.operations import Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES
from metaport.api.signing_in import named, sign_out_everywhere
from metaport.app_keys import HS256, KEY_PREFIX, AppKey, public_key
from metaport.language import Say
from metaport.roles import Permission

LIMIT = 200
MOST_KEYS = 10
# A backend that is rolled out takes up its new key within a day.
OVERLAP_S = 86_400

# Before the colon of its users and rooms.
AppId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
AppName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=NO_NUL)]


class AppRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Make an app; its users and rooms are named `id:…`."""

    id: AppId
    name: AppName


class AppPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Change an app; the keys and accounts of a suspended one hold no more."""

    name: AppName | None = None
    state: Literal["active", "suspended"] | None = None


class AppAnswer(msgspec.Struct):
    """An app."""

    id: str
    name: str
    state: str
    created_at: int


class AppPage(msgspec.Struct):
    """Apps in the order of ids."""

    apps: list[AppAnswer]
    next: str | None


class AppsQuery(msgspec.Struct):
    """From where on."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Make a key. HS256 has a secret, told once; for the others give the public key as a JWK.

    With `rotate` the app's other keys end `overlap_s` from now.
    """

    algorithm: Literal["HS256", "EdDSA", "RS256"] = "HS256"
    public_key: dict[str, msgspec.Raw] | None = None
    rotate: bool = False
    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = OVERLAP_S


class KeyAnswer(msgspec.Struct, omit_defaults=True):
    """A key; `secret` is told where it was just made, never again. Void from `ends_at` on."""

    id: str
    app: str
    algorithm: str
    created_at: int
    ends_at: int | None = None
    secret: str | None = None


class KeyList(msgspec.Struct):
    """The keys of an app, the oldest first, void ones too."""

    keys: list[KeyAnswer]


async def create(request: web.Request) -> web.Response:
    """Make an app."""
    services = request.app[SERVICES]
    body = await read_json(request, AppRequest)
    new = App(body.id, body.name, ACTIVE, claims_of(request).user, int(services.clock()))
    with away_as("accounts-away"):
        if not await services.identity.apps.add(new):
            raise Problem("app-exists", app=body.id)
    return respond(_told(new), 201)


async def index(request: web.Request) -> web.Response:
    """Return a page of apps."""
    services = request.app[SERVICES]
    query = query_of(request, AppsQuery)
    after = services.cursors.read("apps", query.after, str) if query.after else ""
    with away_as("accounts-away"):
        found = await services.identity.apps.page(after, query.limit + 1)
    apps = [_told(each) for each in found[: query.limit]]
    more = len(found) > query.limit
    return respond(AppPage(apps, services.cursors.make("apps", apps[-1].id) if more else None))


async def change(request: web.Request) -> web.Response:
    """Change an app; when it is suspended, whoever is of it is signed out."""
    services = request.app[SERVICES]
    patch = await read_json(request, AppPatch)
    name = named(request, "app")
    identity = services.identity
    with away_as("accounts-away"):
        found = await identity.apps.change(name, name=patch.name, state=patch.state)
        if found is None:
            raise Problem("no-such-app", app=name)
        if patch.state == "suspended":
            for user in await identity.sessions.users_of_app(name, services.clock()):
                await sign_out_everywhere(services, user, "suspended")
    await identity.keys_changed()
    return respond(_told(found))


async def create_key(request: web.Request) -> web.Response:
    """Make a key of an app and tell its secret."""
    services = request.app[SERVICES]
    body = await read_json(request, KeyRequest)
    name, identity, now = named(request, "app"), services.identity, int(services.clock())
    key_id = KEY_PREFIX + secrets.token_hex(8)
    key = AppKey(key_id, name, body.algorithm, _public(body), now)
    ends_at_s = now + body.overlap_s if body.rotate else None
    with away_as("accounts-away"):
        if await identity.apps.get(name) is None:
            raise Problem("no-such-app", app=name)
        by = claims_of(request).user
        if not await identity.apps.add_key(key, by, ends_others_at_s=ends_at_s, most=MOST_KEYS):
            raise Problem("too-many-keys", most=MOST_KEYS)
    await identity.keys_changed()
    told = _key(key)
    if key.public is None:
        told.secret = identity.app_secrets.of(name, key_id)
    return respond(told, 201)


async def keys(request: web.Request) -> web.Response:
    """Return the keys of an app, without their secrets."""
    services = request.app[SERVICES]
    name = named(request, "app")
    with away_as("accounts-away"):
        if await services.identity.apps.get(name) is None:
            raise Problem("no-such-app", app=name)
        found = await services.identity.apps.keys(name)
    return respond(KeyList([_key(each) for each in found]))


async def revoke_key(request: web.Request) -> web.Response:
    """Make a key void now; whoever is here by a token it signed is signed out within a second."""
    services = request.app[SERVICES]
    name, key = named(request, "app"), named(request, "key")
    now = int(services.clock())
    with away_as("accounts-away"):
        done = await services.identity.apps.end_key(name, key, claims_of(request).user, now)
    if not done:
        raise Problem("no-such-key", key=key)
    await services.identity.keys_changed()
    return web.Response(status=204)


def _public(body: KeyRequest) -> str | None:
    if body.algorithm == HS256:
        if body.public_key is not None:
            raise Problem("bad-request", "public_key: HS256 has none")
        return None
    if body.public_key is None:
        raise Problem("bad-request", f"public_key: {body.algorithm} needs one")
    jwk = msgspec.json.encode(body.public_key).decode()
    try:
        public_key(body.algorithm, jwk)
    except ValueError as error:
        raise Problem("bad-request", f"public_key: {error}") from None
    return jwk


def _told(app: App) -> AppAnswer:
    return AppAnswer(app.id, app.name, app.state, app.created_at_s * 1000)


def _key(key: AppKey) -> KeyAnswer:
    ends_at = None if key.ends_at_s is None else key.ends_at_s * 1000
    return KeyAnswer(key.id, key.app, key.algorithm, key.created_at_s * 1000, ends_at)


OPERATIONS = (
    Operation(
        "GET", "/api/v1/apps", index, Say("앱 목록", "Apps"),
        Permission.APPS_MANAGE, answer=AppPage, query=AppsQuery,
    ),
    Operation(
        "POST", "/api/v1/apps", create, Say("앱 만들기", "Make an app"),
        Permission.APPS_MANAGE, AppRequest, AppAnswer, status=201,
    ),
    Operation(
        "PATCH", "/api/v1/apps/{app}", change, Say("앱 변경, 정지", "Change or suspend an app"),
        Permission.APPS_MANAGE, AppPatch, AppAnswer,
    ),
    Operation(
        "GET", "/api/v1/apps/{app}/keys", keys, Say("앱의 키 목록", "Keys of an app"),
        Permission.APPS_MANAGE, answer=KeyList,
    ),
    Operation(
        "POST", "/api/v1/apps/{app}/keys", create_key,
        Say("앱의 키 만들기, 교체", "Make a key, or rotate"),
        Permission.APPS_MANAGE, KeyRequest, KeyAnswer, status=201,
    ),
    Operation(
        "DELETE", "/api/v1/apps/{app}/keys/{key}", revoke_key, Say("키 취소", "Revoke a key"),
        Permission.APPS_MANAGE, status=204,
    ),
)  # fmt: skip
