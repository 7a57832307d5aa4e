"""Hostile and broken input: each gets its documented error or is dropped; others notice nothing."""

import asyncio
import io
import json
import os
import secrets
import socket
import struct
from contextlib import asynccontextmanager, suppress

import aiohttp
import msgpack
import pylibsrtp
import pytest
from aioice import stun

from loadtest.launch import running
from loadtest.media import Run, Session
from loadtest.offer import AUDIO, VIDEO, Line, offer
from loadtest.packets import OPUS, VP8, Source
from loadtest.transport import Transport
from tests.system.chat import JSON, MSGPACK, Chat, RefusedError, guest
from tests.system.deadline import until

pytestmark = pytest.mark.system

HOSTILE = "\x1b[31m\r\nfake log line\x00"


@pytest.fixture
async def server(folder):
    """Run without rate limits: what is bad is to be refused for what it is."""
    async with running(folder / "data", {"METAPORT_PROFILE": "bench"}) as server:
        yield server
    print(server.output)


@pytest.fixture
async def bystanders(server):
    """Two people who talk before and after, and whose processes must be the same ones."""
    first = await Chat.enter(server.url, await guest(server.url, "visitor"))
    second = await Chat.enter(server.url, await guest(server.url, "host"), subprotocol=JSON)
    for chat in (first, second):
        await chat.request("join", room="quiet", presence=True)
    children = server.child("hub"), server.child("sfu")
    assert (await first.request("send", room="quiet", body="before"))["offset"] == 1
    yield first, second
    assert (await second.request("send", room="quiet", body="after"))["offset"] == 2
    for chat in (first, second):
        await chat.count(2)
        assert chat.texts == ["before", "after"]
        assert not [frame for frame in chat.frames if frame["t"] == "error"]
        await chat.close()
    assert (server.child("hub"), server.child("sfu")) == children
    assert "Traceback" not in server.output
    assert "\x1b[31m" not in server.output
    assert "\nfake log line" not in server.output


async def metric(server, prefix):
    """Return the sum of the samples whose line begins so."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))


# Chat: the connection stays open


@pytest.fixture
async def joined(server, bystanders):
    chat = await Chat.enter(server.url, await guest(server.url, HOSTILE.strip("\x00")[:8] + "x"))
    await chat.request("join", room="lab")
    yield chat
    assert (await chat.request("send", room="lab", body="still here"))["t"] == "sent"
    await chat.close()


async def refused(chat, t, **fields):
    with pytest.raises(RefusedError) as error:
        await chat.request(t, **fields)
    assert isinstance(error.value.frame["code"], int)
    return error.value.reason


def nested(depth):
    body = {}
    for _ in range(depth - 1):
        body = {"x": body}
    return body


async def test_requests_that_cannot_be_served_are_answered_by_their_error(joined):
    send = {"room": "lab"}
    limit = joined.welcome["limits"]["body_bytes"]
    expected = {
        "bad_body": [
            {"t": "send", **send},
            *(
                {"t": "send", **send, "body": body}
                for body in (
                    b"bytes",
                    msgpack.ExtType(5, b"ext"),
                    {"a": b"bytes"},
                    {1: "a key that is no string"},
                    {"a": float("nan")},
                    {"a": float("inf")},
                    {"a": 2**53},
                    {"a": -(2**53)},
                    nested(33),
                    None,
                    5,
                    [1, 2],
                    True,
                )
            ),
        ],
        "body_too_big": [{"t": "send", **send, "body": "x" * (limit + 1)}],
        "not_joined": [
            {"t": "send", "room": "elsewhere", "body": "x"},
            {"t": "media.join", "room": "elsewhere"},
        ],
        "unknown_type": [{"t": HOSTILE}, {"t": "sent"}, {"t": "welcome"}],
        "bad_room": [
            {"t": "join", "room": room}
            for room in ("", "x" * 129, "a b", "a\x00", HOSTILE, "a\u0301", "<script>", "\u202e")
        ],
        "bad_request": [
            {"t": "join"},
            {"t": "join", "room": 5},
            {"t": "join", "room": "lab", "history": -1},
            {"t": "join", "room": "lab", "history": "many"},
            {"t": "join", "room": "lab", "since": {"epoch": 1, "offset": "x"}},
            {"t": "join", "room": "lab", "since": []},
        ],
    }
    for reason, frames in expected.items():
        for frame in frames:
            found = await refused(
                joined, frame["t"], **{k: v for k, v in frame.items() if k != "t"}
            )
            assert found == reason, frame


async def test_half_a_surrogate_pair_reaches_nobody(server, bystanders):
    """JSON can write what UTF-8 cannot; passed on, it would break the other subprotocol."""
    account = await guest(server.url, "visitor")
    async with await Chat.enter(server.url, account, subprotocol=JSON) as chat:
        await chat.request("join", room="lab")
        for body in ('"\\ud800"', '{"\\udfff":1}', '{"a":["\\ud83d"]}'):
            await chat.send_raw(f'{{"t":"send","id":0,"room":"lab","body":{body}}}')
        await chat.send_raw('{"t":"\\ud800"}')
        whole = await chat.request("send", room="lab", body="👋")
        assert whole["offset"] == 1
        reasons = [frame["reason"] for frame in chat.frames if frame["t"] == "error"]
        assert reasons == ["bad_body"] * 3 + ["unknown_type"]


async def test_a_body_as_deep_and_as_wide_as_allowed_is_taken(joined):
    for body in (nested(32), {"n": [2**53 - 1, -(2**53) + 1, 1.5, 1e308]}, "", {}):
        assert (await joined.request("send", room="lab", body=body))["t"] == "sent"


async def test_media_requests_that_cannot_be_served_are_answered_by_their_error(joined):
    room = {"room": "lab"}
    assert await refused(joined, "media.publish", **room, sdp="v=0", tracks=[]) == "not_in_media"
    assert await refused(joined, "media.fly", **room) in ("unknown_frame", "unknown_type")
    await joined.request("media.join", **room)
    for sdp in (
        "",
        "v=0",
        "not SDP at all",
        HOSTILE,
        "v=0\r\n" + "a=" + "x" * 100_000,
        "\x00" * 50,
    ):
        reason = await refused(
            joined, "media.publish", **room, sdp=sdp, tracks=[{"mid": "0", "source": "camera"}]
        )
        assert reason == "bad_sdp", sdp[:20]
    assert await refused(joined, "media.publish", **room, sdp=5, tracks=[]) == "bad_frame"
    assert await refused(joined, "media.publish", **room) == "bad_frame"
    assert await refused(joined, "media.mute", **room, track="x", muted=True) == "no_such_track"
    assert await refused(joined, "media.answer", **room, n=99, sdp="v=0") == "stale_offer"
    await joined.request("media.leave", **room)


# Chat: the connection is closed


UNDECODABLE = {
    (MSGPACK, 4200): [
        b"\xc1",
        b"",
        b"\x81",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgpack.packb([1, 2]),
        b"\x81\xa1t\xa2\xff\xfe",
        msgpack.packb({"t": "ping"}) + b"\x00",
        b"\x91" * 30_000,
    ],
    (JSON, 4200): ["{", "", "null", '{"t":"ping"}{', "[" * 30_000],
    (MSGPACK, 1003): ["text"],
    (JSON, 1003): [b"bytes"],
}


@pytest.mark.parametrize("greeted", [True, False])
async def test_undecodable_bytes_close_the_connection(server, bystanders, greeted):
    account = await guest(server.url, "visitor")
    before = await metric(server, "metaport_chat_bad_frames_total")
    for (subprotocol, code), broken in UNDECODABLE.items():
        for data in broken:
            if greeted:
                chat = await Chat.enter(server.url, account, subprotocol=subprotocol)
            else:
                chat = await Chat.open(server.url, subprotocol=subprotocol)
            async with chat:
                await chat.send_raw(data)
                assert await chat.ended() == code, data[:20]
                if code == 4200:
                    assert chat.frames[-1]["reason"] == "bad_frame"
    after = await metric(server, "metaport_chat_bad_frames_total")
    assert after - before >= sum(map(len, UNDECODABLE.values())) - 2


async def test_a_frame_over_the_limit_closes_with_1009(server, bystanders):
    async with await Chat.enter(server.url, await guest(server.url, "visitor")) as chat:
        await chat.send_raw(b"\x00" * (chat.welcome["limits"]["frame_bytes"] + 1))
        assert await chat.ended() == 1009


async def test_a_frame_before_hello_closes(server, bystanders):
    async with await Chat.open(server.url) as chat:
        await chat.send({"t": "join", "id": 1, "room": "lab"})
        assert await chat.ended() == 4201
        assert chat.frames[-1]["reason"] == "hello_expected"


async def test_tokens_that_do_not_hold_close(server, bystanders):
    good = (await guest(server.url, "visitor")).token
    head, payload, signature = good.split(".")
    lapsing = (await server.command("token", "--user", "u", "--ttl", "1")).strip()
    bad = ["", "x", HOSTILE, f"{head}.{payload}.", f"{head}.{payload}.{signature[::-1]}", 5, None]
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    bad += [f"{unsigned}.{payload}.", f"{head}.{payload[:-2]}.{signature}"]
    for token in bad:
        async with await Chat.open(server.url) as chat:
            await chat.send({"t": "hello", "token": token, "v": 1})
            assert 4200 <= await chat.ended() < 4300, token
            assert chat.frames[-1]["t"] == "error"

    async def lapsed():
        async with await Chat.open(server.url) as chat:
            await chat.send({"t": "hello", "token": lapsing, "v": 1})
            await chat.wait(lambda frame: frame["t"] in ("welcome", "error"))
            return chat.frames[-1]["t"] == "error" and chat.frames[-1]["reason"]

    assert await until(lapsed, 10, "a token of one second expires") == "token_expired"
    async with await Chat.open(server.url) as chat:
        await chat.send({"t": "hello", "token": good, "v": 2})
        assert 4200 <= await chat.ended() < 4300


async def test_a_token_for_some_rooms_opens_no_other(server, bystanders):
    token = (await server.command("token", "--user", "u", "--room", "school/*")).strip()
    async with await Chat.open(server.url) as chat:
        await chat.send({"t": "hello", "token": token, "v": 1})
        assert (await chat.request("join", room="school/1"))["t"] == "joined"
        assert await refused(chat, "join", room="quiet") == "forbidden"
        assert await refused(chat, "send", room="quiet", body="x") == "not_joined"
    async with http(token) as session:
        for kind in ("whip", "whep"):
            assert await problem(session.post(f"{server.url}/{kind}/quiet", **sdp("v=0"))) == 403


BROKEN_WEBSOCKET = [
    b"\x82\x05hello",  # not masked
    b"\x83\x80\0\0\0\0",  # a reserved opcode
    b"\xf2\x80\0\0\0\0",  # reserved bits without an extension
    b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,  # a control frame over 125 bytes
    b"\x80\x80\0\0\0\0",  # a continuation of nothing
    b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # 2^64 - 1 bytes to come
    b"\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff\0\0\0\0",  # 4 GiB to come
    b"\x88\x81\0\0\0\0x",  # a close code of one byte
    b"\x81\x82\0\0\0\0\xff\xfe",  # text that is not UTF-8
    b"\x82",  # cut off, then the end
    bytes(range(256)) * 8,
]


async def test_bytes_that_break_the_websocket_protocol_end_only_their_connection(
    server, bystanders
):
    for data in BROKEN_WEBSOCKET:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: metaport.v1.json\r\n\r\n"
        )
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_says_nothing_is_closed(server, bystanders):
    async with await Chat.open(server.url) as chat:
        code = await chat.ended(deadline_s=15)
        assert code == 4101
        assert chat.frames[-1]["reason"] == "hello_late"


# HTTP


def http(token=None):
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return aiohttp.ClientSession(headers=headers)


def sdp(text):
    return {"data": text, "headers": {"Content-Type": "application/sdp"}}


async def problem(request):
    """Return the status of a refusal, which must be a problem document."""
    async with request as answer:
        assert answer.content_type == "application/problem+json", await answer.text()
        body = json.loads(await answer.text())
        assert body["status"] == answer.status
        assert body["title"]
        assert body["type"]
        return answer.status


async def test_http_requests_that_cannot_be_served_are_answered_by_a_problem(server, bystanders):
    url = server.url
    token = (await guest(url, "visitor")).token
    async with http() as nobody, http("x.y.z") as stranger, http(token) as visitor:
        sign_in = f"{url}/api/v1/auth/guest"
        for body in (b"", b"{", b"[]", b"null", b'{"name": 5}', b'{"name": ""}', b"\xff\xfe"):
            assert await problem(nobody.post(sign_in, data=body)) in (400, 415), body
            with_type = {"Content-Type": "application/json"}
            assert await problem(nobody.post(sign_in, data=body, headers=with_type)) == 400, body
        assert await problem(nobody.post(sign_in, json={"name": "x" * 10_000})) == 400
        assert await problem(nobody.post(sign_in, data=io.BytesIO(b" " * 2_000_000))) == 413
        wrong = {"user": "admin", "password": "x"}
        assert await problem(nobody.post(f"{url}/api/v1/auth/login", json=wrong)) == 401
        report = f"{url}/api/v1/usage/report?month=2026-11"
        assert await problem(nobody.get(report)) == 401
        assert await problem(stranger.get(report)) == 401
        assert await problem(visitor.get(report)) == 403
        assert await problem(nobody.get(f"{url}/no/such/page")) == 404
        assert await problem(nobody.get(f"{url}/sdk/../../pyproject.toml")) == 404
        assert await problem(nobody.get(f"{url}/sdk/%2e%2e/%2e%2e/pyproject.toml")) == 404
        assert await problem(nobody.delete(f"{url}/api/v1/config")) == 405


async def test_whip_and_whep_refuse_what_they_cannot_serve(server, bystanders):
    url = server.url
    token = (await guest(url, "visitor")).token
    async with http() as nobody, http(token) as visitor:
        for kind in ("whip", "whep"):
            assert await problem(nobody.post(f"{url}/{kind}/lab", **sdp("v=0"))) == 401
            for text in ("", "v=0", "not SDP", "\x00" * 100, "v=0\r\nm=audio\r\n", HOSTILE):
                assert await problem(visitor.post(f"{url}/{kind}/lab", **sdp(text))) == 400, text
            as_json = {"json": {"sdp": "v=0"}}
            assert await problem(visitor.post(f"{url}/{kind}/lab", **as_json)) == 415
            assert await problem(visitor.post(f"{url}/{kind}/a%20b", **sdp("v=0"))) == 400
            assert (
                await problem(
                    visitor.post(f"{url}/{kind}/lab", **sdp(io.BytesIO(b"x" * 2_000_000)))
                )
                == 413
            )
            for method in ("PATCH", "DELETE"):
                gone = visitor.request(method, f"{url}/{kind}/sessions/nobody", **sdp("a=x"))
                assert await problem(gone) in (404, 415)


async def test_whep_of_somebody_who_publishes_nothing_is_404(server, bystanders):
    account = await guest(server.url, "visitor")
    transport = Transport()
    text = offer(transport.local, [Line(AUDIO, "0")])
    async with http(account.token) as visitor:
        whep = f"{server.url}/whep/lab?from={account.user}"
        assert await problem(visitor.post(whep, **sdp(text))) == 404
    transport.close()


# The media port


@asynccontextmanager
async def session(url, account, *lines):
    """Hold a WHIP or WHEP session of a bare client."""
    opened = await asyncio.to_thread(Session.open, url, account.token, lines)
    try:
        yield opened
        await asyncio.to_thread(opened.close)
    finally:
        opened.transport.socket.close()


@asynccontextmanager
async def media_flows(server):
    """Somebody publishes and somebody listens meanwhile; not a packet of theirs may be missing."""
    speaker, listener = await guest(server.url, "speaker"), await guest(server.url, "listener")
    source = Source(OPUS, "0", secrets.randbits(31))
    whip = f"{server.url}/whip/quiet-media"
    whep = f"{server.url}/whep/quiet-media?from={speaker.user}"
    async with (
        session(whip, speaker, Line(AUDIO, "0", source.ssrc)) as publishing,
        session(whep, listener, Line(AUDIO, "0")) as receiving,
    ):
        run = Run(source, publishing.transport, [receiving.transport])
        await asyncio.to_thread(run.turn, 1.0, counting=False)
        flow_task = asyncio.create_task(asyncio.to_thread(run.turn, 60.0, counting=True))
        try:
            yield
            await until(lambda: run.sent >= 100, 20, "the flow goes on beside the abuse")
        finally:
            run.stop()
            await flow_task
        assert run.sent - run.arrivals.packets <= 1  # the last may still be under way
        assert run.arrivals.refused == 0


async def _operate(server, method, path, body):
    token = (await server.command("token", "--user", "op", "--role", "operator")).strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.request(method, path, json=body) as answer,
    ):
        assert answer.status < 300, await answer.text()


async def test_a_session_ends_when_its_room_takes_it_no_longer(server, bystanders):
    """Chat members were put out of a room that became private; WHIP and WHEP went on in it."""
    here, there = f"{server.url}/whip/studio", f"{server.url}/whip/hall"
    account, invited = await guest(server.url, "visitor"), await guest(server.url, "host")

    async def alive(publishing):
        """Ask as its owner; a trickle without a fragment is refused, unless the session is gone."""
        request = {"Authorization": f"Bearer {publishing.token}", "If-Match": '"*"'}
        async with (
            aiohttp.ClientSession() as http,
            http.patch(publishing.url, headers=request, data="") as answer,
        ):
            return answer.status != 404

    await _operate(server, "POST", "/api/v1/rooms", {"room": "studio"})
    lines = Line(AUDIO, "0", 7)
    sessions = [
        await asyncio.to_thread(Session.open, url, who.token, (lines,))
        for url, who in ((here, account), (here, invited), (there, account))
    ]
    assert [await alive(each) for each in sessions] == [True, True, True]
    private = {"kind": "private", "users": [invited.user]}
    await _operate(server, "PATCH", "/api/v1/rooms/studio", private)

    async def ended():
        return [await alive(each) for each in sessions] == [False, True, True]

    await until(ended, 10, "the session of who is not invited ends")
    for each in sessions[1:]:
        await asyncio.to_thread(each.close)
    sessions[0].transport.close()


def stun_request(username, password=b"x" * 22):
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 1
    message.add_message_integrity(password)
    message.add_fingerprint()
    return bytes(message)


def garbage():
    """Datagrams of every kind the port tells apart (RFC 7983), each broken."""
    request = stun_request("nobody:nobody")
    yield from (request[:size] for size in range(len(request) + 1))
    for at in range(len(request)):
        yield request[:at] + bytes([request[at] ^ 0xFF]) + request[at + 1 :]
    yield request[:2] + b"\xff\xff" + request[4:]
    hello = bytes.fromhex("16feff0000000000000000") + struct.pack("!H", 100) + os.urandom(100)
    yield from (hello[:size] for size in range(0, len(hello), 7))
    yield bytes.fromhex("16fefd0000000000000000ffff")
    for first in (0x80, 0x90, 0xBF, 0xB0):
        for second in (0, 96, 111, 127, 192, 200, 201, 205, 206, 223, 255):
            for size in (0, 1, 2, 6, 10, 50, 1_400):
                yield bytes([first, second]) + os.urandom(size)
    for size in (0, 1, 2, 3, 11, 19, 20, 64, 1_500, 9_000, 60_000):
        yield os.urandom(size)
        yield b"\0" * size
    yield from (bytes([n]) for n in range(256))


async def test_garbage_on_the_media_port_is_counted_and_never_answered(server, bystanders):
    before = await metric(server, "metaport_sfu_dropped_total")
    async with media_flows(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.setblocking(False)
            for number, datagram in enumerate(garbage()):
                stranger.sendto(datagram, ("127.0.0.1", server.media_port))
                if number % 20 == 0:  # not faster than the socket's buffer takes it
                    await asyncio.sleep(0)

            async def counted():
                return await metric(server, "metaport_sfu_dropped_total") - before >= 500

            await until(counted, 10, "the garbage is counted")
            with pytest.raises(BlockingIOError):  # an answer would let it reflect to a victim
                stranger.recv(2048)


def broken_rtp(ssrc):
    """RTP that is authentic and yet none: header fields that point beyond the end."""
    head = struct.pack("!BBHII", 0x80, 111, 1_003, 1, ssrc)
    yield head  # no payload
    yield b"\x8f" + head[1:] + b"\0" * 8  # 15 CSRCs that are not there
    yield b"\x90" + head[1:] + b"\xbe\xde\xff\xff" + b"x" * 8  # an extension of 256 KiB
    yield b"\x90" + head[1:] + b"\xbe\xde\x00\x01\x1f" + b"x" * 3  # an element over the end
    yield b"\x90" + head[1:] + b"\x10\x00\x00\x01\x01\xff" + b"x" * 2  # a two-byte one over the end
    yield b"\xa0" + head[1:] + b"x\xff"  # more padding than packet
    yield b"\xa0" + head[1:] + b"x\x00"  # padding of nothing
    yield head[:1] + b"\x7f" + head[2:] + b"a payload type nobody agreed on"
    yield head[:8] + os.urandom(4) + b"an SSRC nobody announced"


def broken_rtcp(ssrc):
    """RTCP that is authentic and yet none."""
    body = struct.pack("!I", ssrc)
    for kind in (200, 201, 202, 203, 204, 205, 206, 207, 223):
        yield struct.pack("!BBH", 0x80, kind, 1) + body
        yield struct.pack("!BBH", 0x9F, kind, 1) + body  # 31 blocks that are not there
        yield struct.pack("!BBH", 0x81, kind, 0xFFFF) + body  # 256 KiB to come
        yield struct.pack("!BBH", 0xA1, kind, 1) + body  # padding of whatever the last byte says
        yield struct.pack("!BBH", 0x8F, kind, 3) + body + os.urandom(8)


async def test_authentic_packets_with_broken_insides_are_dropped(server, bystanders):
    account = await guest(server.url, "visitor")
    source = Source(VP8, "0", secrets.randbits(31))
    whip = f"{server.url}/whip/lab"
    before = await metric(server, "metaport_sfu_dropped_total")
    async with (
        media_flows(server),
        session(whip, account, Line(VIDEO, "0", source.ssrc)) as publishing,
    ):
        transport = publishing.transport
        outgoing = transport.outgoing
        whole = outgoing.protect(next(source.burst()))
        for size in range(12, len(whole), 97):
            transport.socket.send(whole[:size])  # cut: the authentication tag is gone
        for packets, protect in (
            (broken_rtp(source.ssrc), outgoing.protect),
            (broken_rtcp(source.ssrc), outgoing.protect_rtcp),
        ):
            for packet in packets:
                # What libsrtp itself refuses to protect cannot come authentic.
                with suppress(pylibsrtp.Error):
                    transport.socket.send(protect(packet))
        for packet in source.burst():  # and the same session goes on
            transport.socket.send(outgoing.protect(packet))

        async def counted():
            return await metric(server, "metaport_sfu_dropped_total") > before

        await until(counted, 10, "the broken packets are counted")
