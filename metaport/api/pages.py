"""The demo page, the console and the JavaScript SDK, as static files."""

from pathlib import Path

from aiohttp import web

import metaport.web
from metaport.api.operations import ANYONE, Operation
from metaport.api.problems import TITLES, Handler
from metaport.language import Say

WEB = Path(metaport.web.__file__).parent
# In a checkout the SDK is served from where it is developed; in a wheel it is packaged beside.
CHECKOUT_SDK = WEB.parent.parent / "clients" / "js" / "src"
SDK = CHECKOUT_SDK if CHECKOUT_SDK.is_dir() else WEB / "sdk"

CONTENT_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


def page(name: str) -> Handler:
    """Serve one file of the web folder."""

    async def handler(_: web.Request) -> web.FileResponse:
        return _file(WEB / name)

    return handler


async def problem(request: web.Request) -> web.Response:
    """Lead from the `type` of a problem to what is told of it."""
    reason = request.match_info["reason"]
    if reason not in TITLES:
        raise web.HTTPNotFound
    return web.Response(status=303, headers={"Location": f"/api/docs#{reason}"})


def folder(root: Path) -> Handler:
    """Serve the files below a folder whose kind a page may load, and nothing else."""
    resolved = root.resolve()

    async def handler(request: web.Request) -> web.FileResponse:
        named = request.match_info["path"]
        path = resolved if "\0" in named else (resolved / named).resolve()
        if not path.is_relative_to(resolved) or not path.is_file():
            raise web.HTTPNotFound
        return _file(path)

    return handler


def _file(path: Path) -> web.FileResponse:
    if path.suffix not in CONTENT_TYPES:
        raise web.HTTPNotFound
    response = web.FileResponse(path, headers={"Cache-Control": "no-cache"})
    response.content_type = CONTENT_TYPES[path.suffix]
    if path.suffix not in {".png", ".ico"}:
        response.charset = "utf-8"
    return response


def authority(certificate: Path) -> Handler:
    """Serve the certificate of the local authority, so that a phone can fetch and trust it."""

    async def handler(_: web.Request) -> web.FileResponse:
        return web.FileResponse(certificate, headers={"Content-Type": "application/x-x509-ca-cert"})

    return handler


def _page(path: str, handler: Handler, ko: str, en: str) -> Operation:
    return Operation("GET", path, handler, Say(ko, en), ANYONE, described=False)


OPERATIONS = (
    _page("/", page("index.html"), "체험 페이지", "The demo page"),
    _page("/console", page("console.html"), "운영 콘솔", "The console"),
    _page("/api/docs", page("api_docs.html"), "API 문서", "The page of the API"),
    _page("/problems/{reason}", problem, "오류 설명", "What a problem is"),
    _page("/sdk/{path:.+}", folder(SDK), "자바스크립트 SDK", "The JavaScript SDK"),
    _page("/static/{path:.+}", folder(WEB / "static"), "페이지 파일", "What pages load"),
)


def authority_operation(certificate: Path) -> Operation:
    """Return the operation that hands out the local authority's certificate."""
    return _page("/ca.crt", authority(certificate), "인증 기관 인증서", "The local authority")
