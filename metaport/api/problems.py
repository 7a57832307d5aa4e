"""RFC 9457 problem documents, in the language the client asks for.

Problem            one refusal: status, stable type, fields
├── raised by handlers, rendered by `render`
└── anything else becomes "internal", without details
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from chatd.errors import Refused
from metaport.db.errors import DatabaseError

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# reason: (status, Korean title, English title)
TITLES: dict[str, tuple[int, str, str]] = {
    "bad-request": (400, "요청 형식이 올바르지 않습니다", "The request is malformed"),
    "bad-cursor": (
        400,
        "페이지 위치가 올바르지 않습니다. 처음부터 다시 조회해 주세요",
        "The cursor is not of this list; begin at the first page",
    ),
    "bad-name": (400, "이름을 확인해 주세요", "The name is not usable"),
    "bad-password": (
        400,
        "비밀번호는 10자 이상이어야 하고 쉽게 짐작할 수 없어야 합니다",
        "The password is to have 10 characters or more and not be easy to guess",
    ),
    "bad-login": (
        400,
        "로그인 이름은 공백 없이 2~64자입니다",
        "A login has 2 to 64 characters without spaces",
    ),
    "bad-image": (
        400,
        "사진으로 쓸 수 없는 파일입니다",
        "The file is no picture that can be shown",
    ),
    "session-over": (401, "로그인이 끝났습니다", "The session has ended; sign in again"),
    "session-reused": (
        401,
        "이미 쓴 토큰이 다시 쓰여 보안을 위해 로그아웃했습니다",
        "A used token came again, so the session was ended",
    ),
    "account-pending": (403, "계정이 승인을 기다리고 있습니다", "The account waits to be approved"),
    "account-suspended": (403, "정지된 계정입니다", "The account is suspended"),
    "needs-account": (403, "계정으로 로그인해야 합니다", "Sign in with an account for this"),
    "no-registration": (403, "가입을 받지 않습니다", "Nobody can register here"),
    "cross-site": (
        403,
        "다른 사이트에서 온 요청입니다",
        "The request comes from another site than the cookie's",
    ),
    "duty": (403, "직무가 분리되어 있습니다", "The duties are separated"),
    "no-such-user": (404, "그런 사용자가 없습니다", "There is no such user"),
    "no-such-role": (404, "그런 역할이 없습니다", "There is no such role"),
    "no-such-app": (404, "그런 앱이 없습니다", "There is no such app"),
    "no-such-key": (404, "그런 키가 없습니다", "There is no such key"),
    "no-openid": (404, "OpenID 로그인이 설정되지 않았습니다", "OpenID Connect is not configured"),
    "login-taken": (409, "이미 쓰는 로그인 이름입니다", "The login is taken"),
    "app-exists": (409, "이미 있는 앱입니다", "There is such an app already"),
    "too-many-keys": (409, "앱의 키가 너무 많습니다", "The app has too many keys"),
    "openid-failed": (
        502,
        "OpenID 제공자로 로그인하지 못했습니다",
        "The OpenID provider did not sign you in",
    ),
    "accounts-away": (503, "지금은 계정을 확인할 수 없습니다", "Accounts cannot be read now"),
    "bad-sdp": (400, "SDP를 해석할 수 없습니다", "The SDP cannot be read"),
    "unsupported-codecs": (406, "지원하는 코덱이 없습니다", "No codec in common"),
    "no-token": (401, "인증 토큰이 필요합니다", "A bearer token is required"),
    "bad-token": (401, "인증 토큰이 유효하지 않습니다", "The token is not valid"),
    "token-expired": (401, "인증 토큰이 만료되었습니다", "The token has expired"),
    "token-revoked": (401, "인증 토큰이 취소되었습니다", "The token was revoked"),
    "bad-credentials": (401, "아이디 또는 비밀번호가 다릅니다", "Wrong user or password"),
    "forbidden": (403, "권한이 없습니다", "Not allowed for this role"),
    "not-invited": (
        403,
        "초대받은 사람만 들어갈 수 있는 방입니다",
        "The room is for invited people",
    ),
    "no-guests": (403, "손님은 들어갈 수 없는 방입니다", "Guests may not enter this room"),
    "banned": (403, "운영자가 내보낸 방입니다", "A moderator has sent you out of this room"),
    "origin-not-allowed": (403, "허용되지 않은 출처입니다", "This origin is not allowed"),
    "guests-not-allowed": (403, "손님 입장이 허용되지 않습니다", "Guests are not allowed here"),
    "not-found": (404, "찾을 수 없습니다", "Not found"),
    "no-such-publisher": (404, "송출 중인 사람이 없습니다", "Nothing is published by that user"),
    "no-such-session": (404, "미디어 세션이 없습니다", "There is no such media session"),
    "not-there": (404, "그 사람은 지금 거기에 없습니다", "That person is not there now"),
    "no-such-message": (404, "그런 메시지가 없습니다", "There is no such message"),
    "not-moved": (
        409,
        "그 방에는 들어갈 수 없는 사람입니다",
        "That person may not enter the other room",
    ),
    "not-stored": (503, "메시지를 저장하지 못했습니다", "The message was not stored"),
    "blocked": (403, "차단되어 직접 대화할 수 없습니다", "One of the two blocks the other"),
    "no-such-friend": (404, "그런 친구가 없습니다", "There is no such friend"),
    "no-such-request": (404, "그런 친구 신청이 없습니다", "There is no such request"),
    "no-such-block": (404, "차단하지 않은 사용자입니다", "That user is not blocked"),
    "too-many-people": (
        409,
        "친구, 친구 신청 또는 차단이 너무 많습니다",
        "There are too many friends, open requests or blocks",
    ),
    "friends-away": (503, "지금은 친구를 확인할 수 없습니다", "Friends cannot be read now"),
    "no-such-invitation": (
        404,
        "쓸 수 없는 초대입니다. 새 초대를 받아 주세요",
        "The invitation is not good, or not any more; ask for another",
    ),
    "too-many-invitations": (
        409,
        "방의 초대가 너무 많습니다",
        "The room has too many invitations",
    ),
    "no-such-space": (404, "그런 공간이 없습니다", "There is no such space"),
    "space-exists": (
        409,
        "이미 있는 공간입니다",
        "Something is laid down about this space already",
    ),
    "space-changed": (409, "그사이 공간이 변경되었습니다", "The space was changed meanwhile"),
    "space-closed": (403, "지금은 닫힌 공간입니다", "The space is closed now"),
    "spaces-away": (503, "지금은 공간 설정을 확인할 수 없습니다", "Spaces cannot be read now"),
    "moderation-away": (503, "지금은 조치할 수 없습니다", "Moderation is not possible now"),
    "method-not-allowed": (405, "허용되지 않은 메서드입니다", "Method not allowed"),
    "no-such-room": (404, "설정된 방이 없습니다", "Nothing is laid down about this room"),
    "room-exists": (409, "이미 있는 방입니다", "Something is laid down about this room already"),
    "room-changed": (409, "그사이 방이 변경되었습니다", "The room was changed meanwhile"),
    "room-full": (409, "방에 빈자리가 없습니다", "The room has no free place"),
    "etag-mismatch": (412, "다른 ICE 세션의 요청입니다", "The ETag is of another ICE session"),
    "precondition-failed": (
        412,
        "그사이 다른 사람이 변경했습니다. 다시 읽고 시도해 주세요",
        "Somebody has changed it meanwhile; read it again",
    ),
    "too-large": (413, "요청이 너무 큽니다", "The request is too large"),
    "unsupported-media-type": (415, "지원하지 않는 형식입니다", "Unsupported media type"),
    "precondition-required": (
        428,
        "ICE를 다시 시작하려면 If-Match가 필요합니다",
        "An ICE restart needs If-Match",
    ),
    "rate-limited": (429, "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요", "Too many requests"),
    "internal": (500, "서버 내부 오류입니다", "Internal error"),
    "media-unavailable": (503, "음성·영상 서버에 연결할 수 없습니다", "The media server is away"),
    "no-contract": (404, "계약이 설정되지 않았습니다", "No contract is configured"),
    "usage-unavailable": (503, "지금은 사용량을 조회할 수 없습니다", "Usage cannot be told now"),
    "history-away": (503, "지난 대화를 지금 읽을 수 없습니다", "Older messages cannot be read now"),
    "token-undecided": (
        503,
        "서명 키를 확인하는 중입니다",
        "The key of the token is not known yet",
    ),
    "idempotency-in-progress": (
        409,
        "같은 Idempotency-Key의 요청을 처리하는 중입니다",
        "A request under this Idempotency-Key is under way",
    ),
    "idempotency-key-reused": (
        422,
        "이 Idempotency-Key는 다른 요청에 쓰였습니다",
        "This Idempotency-Key was used for another request",
    ),
    "audit-away": (503, "지금은 감사 기록을 읽을 수 없습니다", "The audit log cannot be read now"),
    "idempotency-away": (
        503,
        "지금은 Idempotency-Key를 확인할 수 없습니다",
        "The Idempotency-Key cannot be looked up now",
    ),
    "no-such-webhook": (404, "그런 웹훅이 없습니다", "There is no such webhook"),
    "webhook-changed": (
        409,
        "그사이 웹훅이 변경되었습니다",
        "The endpoint was changed or removed meanwhile",
    ),
    "webhooks-away": (503, "지금은 웹훅을 확인할 수 없습니다", "Webhooks cannot be read now"),
    "over-budget": (403, "이번 달 예산 한도에 이르렀습니다", "The budget of this month is used up"),
    "rooms-away": (503, "지금은 방 설정을 확인할 수 없습니다", "Room settings cannot be read now"),
    "not-ready": (503, "아직 준비되지 않았습니다", "Not ready"),
}

BY_STATUS = {
    400: "bad-request",
    401: "no-token",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    429: "rate-limited",
}


REQUEST_ID = web.RequestKey("request_id", str)


class Problem(Exception):
    """Refuse a request for a stable reason; `fields` stand beside the RFC 9457 members."""

    def __init__(self, reason: str, detail: str = "", **fields: Any) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.fields = fields
        self.status = TITLES[reason][0]


@contextmanager
def away_as(reason: str) -> Iterator[None]:
    """Answer with the problem `reason`, to be tried again, where the database is away."""
    try:
        yield
    except DatabaseError:
        raise Problem(reason, retry_after_s=2) from None


_OF_ROOMS = {
    "forbidden": "forbidden",
    "banned": "banned",
    "space_closed": "space-closed",
    "not_invited": "not-invited",
    "no_guests": "no-guests",
    "over_budget": "over-budget",
    "room_full": "room-full",
    "rooms_away": "rooms-away",
}


def of_room(refused: Refused, room: str) -> Problem:
    """Return the problem that the chat's refusal of a room is over HTTP."""
    reason = _OF_ROOMS.get(refused.refusal.reason, "bad-request")
    fields: dict[str, Any] = {"room": room}
    if refused.retry_after_ms is not None:
        fields["retry_after_s"] = -(-refused.retry_after_ms // 1000)
    return Problem(reason, "room" if reason == "bad-request" else "", **fields)


def wants_korean(request: web.Request) -> bool:
    """Tell whether Korean is to be answered (RFC 9110 §12.5.4); Korean where nothing is said."""
    header = request.headers.get("Accept-Language", "ko").lower()
    first = header.split(",")[0].strip()
    return first.startswith("ko") or first in ("", "*")


def problem_type(reason: str) -> str:
    """Return the stable `type` of a problem; a page of that path explains it."""
    return f"/problems/{reason}"


def request_id_of(request: web.Request) -> str:
    """Return what the request is named by; empty before it has a name."""
    named: str = request.get(REQUEST_ID, "")
    return named


def document(problem: Problem, request: web.Request) -> web.Response:
    """Build the problem document of one refusal."""
    status, korean, english = TITLES[problem.reason]
    body: dict[str, Any] = {
        "type": problem_type(problem.reason),
        "title": korean if wants_korean(request) else english,
        "status": status,
    }
    if problem.detail:
        body["detail"] = problem.detail
    body |= problem.fields
    if named := request_id_of(request):
        body["request_id"] = named
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in problem.fields:
        headers["Retry-After"] = str(problem.fields["retry_after_s"])
    return web.Response(
        status=status,
        headers=headers,
        body=json.dumps(body, ensure_ascii=False).encode(),
        content_type="application/problem+json",
    )


@web.middleware
async def render(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal and every failure with a problem document."""
    try:
        return await handler(request)
    except Problem as problem:
        return document(problem, request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        reason = BY_STATUS.get(error.status, "bad-request" if error.status < 500 else "internal")
        response = document(Problem(reason), request)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except (web.RequestPayloadError, BadHttpMessage) as error:
        # What is sent is cut short, or not in the encoding it says.
        response = document(Problem("bad-request", type(error).__name__), request)
        response.force_close()  # where the next request begins, nobody knows
        return response
    except Exception:
        logger.exception("unhandled error in %s %s", request.method, request.path)
        return document(Problem("internal"), request)
