"""Is the process alive, can it serve, and how is it doing."""

import msgspec
from aiohttp import web

from metaport import __version__
from metaport.api.bodies import respond
from metaport.api.operations import ANYONE, Operation, query_of
from metaport.api.problems import Problem, wants_korean
from metaport.api.services import SERVICES
from metaport.language import Lang, Say
from metaport.roles import Permission


class ReadyQuery(msgspec.Struct):
    """Whether to list what is degraded besides; any value does."""

    verbose: str | None = None


async def healthz(_: web.Request) -> web.Response:
    """Answer as long as the loop turns."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 while this hub can order and store messages, 503 otherwise.

    `?verbose` lists what is degraded besides: media, ledger; and notes what may be lost, in the
    language asked for.
    """
    services = request.app[SERVICES]
    state = services.readiness()
    ready = state.required == {}
    if query_of(request, ReadyQuery).verbose is not None:
        lang: Lang = "ko" if wants_korean(request) else "en"
        notes = {part: say.to(lang) for part, say in state.notes.items()}
        return respond(
            {
                "ready": ready,
                "failing": state.required,
                "degraded": state.degraded,
                "notes": notes,
            },
            200 if ready else 503,
        )
    if not ready:
        raise Problem("not-ready", "; ".join(f"{k}: {v}" for k, v in state.required.items()))
    return web.Response(text="ok\n")


async def metrics(request: web.Request) -> web.Response:
    """Return the Prometheus exposition of the hub and its SFU."""
    body, content_type = await request.app[SERVICES].metrics()
    return web.Response(body=body, headers={"Content-Type": content_type})


async def status(request: web.Request) -> web.Response:
    """Return live figures for the console; role operator."""
    services = request.app[SERVICES]
    now = services.clock()
    figures = await services.status()
    return respond({"version": __version__, "uptime_s": int(now - services.started_at), **figures})


async def config(request: web.Request) -> web.Response:
    """Return what a page must know before anyone signs in."""
    services = request.app[SERVICES]
    return respond(
        {
            "guests": services.config.chat.guests,
            "demo": True,
            "zone": services.config.usage.zone,
            "currency": "KRW",
        }
    )


OPERATIONS = (
    Operation(
        "GET", "/healthz", healthz, Say("프로세스 생존", "Is the process alive"), ANYONE,
        media_types=("text/plain",),
    ),
    Operation(
        "GET", "/readyz", readyz, Say("서비스 가능 여부", "Can this process serve"), ANYONE,
        query=ReadyQuery, media_types=("text/plain", "application/json"),
    ),
    Operation(
        "GET", "/metrics", metrics, Say("프로메테우스 지표", "Prometheus exposition"), ANYONE,
        media_types=("text/plain",),
    ),
    Operation(
        "GET", "/api/v1/config", config, Say("페이지 설정", "What a page must know"), ANYONE,
    ),
    Operation(
        "GET", "/api/v1/status", status, Say("운영 현황", "Live figures"), Permission.STATUS_READ,
    ),
)  # fmt: skip
