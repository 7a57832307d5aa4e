"""Is the process alive, can it serve, and how is it doing."""

from aiohttp import web

from metaport import __version__
from metaport.api.access import require
from metaport.api.bodies import respond
from metaport.api.problems import Problem
from metaport.api.services import SERVICES


async def healthz(_: web.Request) -> web.Response:
    """Answer as long as the loop turns."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 while this hub can order and store messages, 503 otherwise.

    `?verbose` lists what is degraded besides: media, ledger.
    """
    services = request.app[SERVICES]
    state = services.readiness()
    ready = state.required == {}
    if "verbose" in request.query:
        return respond(
            {"ready": ready, "failing": state.required, "degraded": state.degraded},
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
    require(request, services.tokens, now, "operator", "admin")
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
