"""OpenAPI 3.1, made from the same structs that validate requests."""

import re
from typing import Any

import msgspec

from metaport import __version__
from metaport.api import accounts, history, revocation, rooms, webhooks


class Operation(msgspec.Struct, frozen=True):
    """One REST operation as the document tells it."""

    method: str
    path: str
    summary: str
    body: type | None = None
    answer: type | None = None
    roles: tuple[str, ...] | None = None
    query: tuple[str, ...] = ()


OPERATIONS = (
    Operation("post", "/api/v1/auth/guest", "손님으로 입장 / Enter as a guest",
              accounts.GuestRequest, accounts.Session),
    Operation("post", "/api/v1/auth/refresh", "토큰 갱신 / Renew tokens",
              accounts.RefreshRequest, accounts.Session),
    Operation("post", "/api/v1/auth/login", "관리자 로그인 / Sign the admin in",
              accounts.LoginRequest, accounts.Session),
    Operation("post", "/api/v1/auth/revoke", "토큰 취소, 모든 곳에서 로그아웃 / Revoke tokens",
              revocation.RevokeRequest, revocation.Revoked, roles=("operator", "admin")),
    Operation("get", "/api/v1/config", "페이지 설정 / What a page must know"),
    Operation("get", "/api/v1/status", "운영 현황 / Live figures", roles=("operator", "admin")),
    Operation("get", "/api/v1/rooms", "방 목록 / Rooms that have settings",
              answer=rooms.RoomPage, roles=("operator", "admin"), query=("after", "limit")),
    Operation("post", "/api/v1/rooms", "방 만들기 / Lay something down about a room",
              rooms.RoomRequest, rooms.Room, roles=()),
    Operation("get", "/api/v1/rooms/{room}", "방 설정 / Settings of a room",
              answer=rooms.Room, roles=()),
    Operation("patch", "/api/v1/rooms/{room}", "방 설정 변경 / Change settings of a room",
              rooms.RoomPatch, rooms.Room, roles=("operator", "admin")),
    Operation("delete", "/api/v1/rooms/{room}", "방 설정 삭제 / Remove settings of a room",
              roles=("operator", "admin")),
    Operation("get", "/api/v1/rooms/{room}/messages", "지난 대화 / Messages of a room",
              answer=history.MessagePage, roles=(), query=("before", "after", "limit")),
    Operation("get", "/api/v1/media/sfus", "미디어 프로세스 현황 / State of the SFUs",
              roles=("operator", "admin")),
    Operation("get", "/api/v1/media/rooms", "음성·영상 진단 / How everybody's media is doing",
              roles=("operator", "admin")),
    Operation("get", "/api/v1/media/rooms/{room}", "방 하나의 진단 / The same of one room",
              roles=("operator", "admin")),
    Operation("get", "/api/v1/webhooks", "웹훅 목록 / Endpoints that are told of events",
              answer=webhooks.WebhookList, roles=("admin",)),
    Operation("post", "/api/v1/webhooks", "웹훅 추가 / Tell an endpoint of events",
              webhooks.WebhookRequest, webhooks.Webhook, roles=("admin",)),
    Operation("patch", "/api/v1/webhooks/{webhook}", "웹훅 변경, 비밀 교체 / Change, rotate",
              webhooks.WebhookPatch, webhooks.Webhook, roles=("admin",)),
    Operation("delete", "/api/v1/webhooks/{webhook}", "웹훅 삭제 / Forget an endpoint",
              roles=("admin",)),
    Operation("get", "/api/v1/webhooks/{webhook}/deliveries", "전달 현황 / How far telling is",
              answer=webhooks.DeliveryList, roles=("admin",), query=("state",)),
    Operation("post", "/api/v1/webhooks/{webhook}/replay", "다시 전달 / Try dead ones again",
              webhooks.ReplayRequest, webhooks.Replayed, roles=("admin",)),
    Operation("get", "/api/v1/usage/report", "월 사용량·금액 / Usage and amount of a month",
              roles=("operator", "admin"), query=("month", "format", "lang")),
    Operation("get", "/api/v1/usage/budget", "예산 대비 현황 / Usage held against the contract",
              roles=("operator", "admin"), query=("format", "lang")),
    Operation("get", "/api/v1/usage/visit", "이번 방문 비용 / Cost of this visit", roles=()),
)  # fmt: skip


def build() -> dict[str, Any]:
    """Build the document."""
    structs = [s for o in OPERATIONS for s in (o.body, o.answer) if s is not None]
    _, components = msgspec.json.schema_components(
        structs, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Metaport Chat", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", operation.path.removeprefix("/api/v1/")),
        "responses": {
            "200": {"description": "OK"},
            "default": {
                "description": "RFC 9457",
                "content": {"application/problem+json": {"schema": {"type": "object"}}},
            },
        },
    }
    if operation.answer is not None:
        described["responses"]["200"]["content"] = _content(operation.answer)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if operation.roles is not None:
        described["security"] = [{"bearer": list(operation.roles)}]
    named = [(name, "path") for name in re.findall(r"{(\w+)}", operation.path)]
    named += [(name, "query") for name in operation.query]
    if named:
        described["parameters"] = [
            {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
            for name, place in named
        ]
    return described


def _content(struct: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct.__name__}"}}}
