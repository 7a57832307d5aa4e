"""Where a user is signed in, for those who answer for personal data."""

import msgspec
from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.operations import Operation
from metaport.api.problems import away_as
from metaport.api.services import SERVICES
from metaport.api.signing_in import named
from metaport.language import Say
from metaport.roles import Permission


class UserSession(msgspec.Struct):
    """A session that goes on; times are milliseconds since the Unix epoch."""

    id: str
    device: str | None
    began_at: int
    renewed_at: int
    expires_at: int
    address: str


class UserSessions(msgspec.Struct):
    """The sessions of a user, the newest first."""

    sessions: list[UserSession]


async def index(request: web.Request) -> web.Response:
    """Return the sessions of a user that go on; of somebody who has none, none."""
    services = request.app[SERVICES]
    user = named(request, "user")
    with away_as("accounts-away"):
        found = await services.identity.sessions.of_user(user, services.clock())
    told = [
        UserSession(
            each.id,
            each.device,
            each.created_at_s * 1000,
            each.turned_at_s * 1000,
            each.expires_at_s * 1000,
            each.address,
        )
        for each in found
    ]
    return respond(UserSessions(told))


OPERATIONS = (
    Operation(
        "GET", "/api/v1/users/{user}/sessions", index,
        Say("사용자의 로그인 세션", "Sessions of a user"),
        Permission.PERSONAL_DATA, answer=UserSessions,
        personal="sessions, devices, network addresses",
    ),
)  # fmt: skip
