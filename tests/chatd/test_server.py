"""The shell over real sockets, on asyncio's loop and on uvloop's."""

import asyncio
import base64
import contextlib
import datetime
import json
import os
import socket
import ssl

import aiohttp
import msgpack
import pytest
import uvloop
import websockets
from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.frames import Frame, Opcode

from chatd import connection as connection_module
from chatd.bus import LocalBus
from chatd.connection import MESSAGES_PER_TURN
from chatd.errors import BadToken
from chatd.facts import ConnectionTime, MemoryFacts, MessageAccepted
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.server import ChatServer
from chatd.session import Identity
from tests.chatd.station import until

MSGPACK, JSON = "metaport.v1.msgpack", "metaport.v1.json"
LIFTED = Limits().lifted()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on a loop of its own; an exception nobody took fails the test."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(main):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(main, 20))

    return run


class Tokens:
    def verify(self, token, now):
        if token == "forged":
            raise BadToken
        return Identity(token, token.title())


class Chat:
    """A running server and the way in."""

    def __init__(self, limits, tls, options):
        self.facts = MemoryFacts()
        self.hub = Hub(LocalBus(), self.facts, Tokens(), limits=limits)
        self.server = ChatServer(self.hub, **options)
        self.tls = tls
        self.writers = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/ws", self.server.handle)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        context = None if self.tls is None else self.tls[0]
        await web.SockSite(self.runner, listener, ssl_context=context).start()
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *exc):
        for writer in self.writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await self.http.close()
        await self.server.drain(1.0)
        await self.runner.cleanup()

    def connect(self, protocol=MSGPACK, **options):
        scheme, context = ("ws", None) if self.tls is None else ("wss", self.tls[1])
        url = f"{scheme}://127.0.0.1:{self.port}/ws"
        return self.http.ws_connect(url, protocols=[protocol], ssl=context or False, **options)

    async def visitor(self, user, *rooms, protocol=MSGPACK, **options):
        visitor = Visitor(await self.connect(protocol, **options), protocol)
        await visitor.ask(t="hello", token=user, v=1)
        for room in rooms:
            await visitor.ask(t="join", id=0, room=room)
        return visitor

    async def tcp(self):
        """Connect without a library."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def raw(self):
        """Connect without a library and shake hands."""
        reader, writer = await self.tcp()
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer


def serving(limits=LIFTED, tls=None, **options):
    return Chat(limits, tls, options)


class Visitor:
    """A client on aiohttp's WebSocket and the independent `msgpack`."""

    def __init__(self, ws, protocol):
        self.ws = ws
        self.protocol = protocol

    async def say(self, **frame):
        if self.protocol == MSGPACK:
            await self.ws.send_bytes(msgpack.packb(frame))
        else:
            await self.ws.send_str(json.dumps(frame))

    async def hear(self):
        message = await self.ws.receive()
        if message.type is WSMsgType.BINARY:
            return msgpack.unpackb(message.data)
        if message.type is WSMsgType.TEXT:
            return json.loads(message.data)
        return (message.type, message.data)

    async def ask(self, **frame):
        await self.say(**frame)
        return await self.hear()


def handshake(protocol=MSGPACK, **changes):
    headers = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": protocol,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("GET /ws HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


def masked(payload, opcode=Opcode.BINARY):
    return Frame(opcode, payload).serialize(mask=True)


def packed(**frame):
    return masked(msgpack.packb(frame))


# The handshake


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"Sec_WebSocket_Protocol": None}, 400, "subprotocol"),
        ({"Sec_WebSocket_Protocol": "chat, metaport.v2.json"}, 400, "subprotocol"),
        ({"Sec_WebSocket_Key": "short"}, 400, "key"),
        ({"Sec_WebSocket_Key": None}, 400, "key"),
        ({"Sec_WebSocket_Version": "8"}, 426, "version"),
        ({"Upgrade": None, "Connection": None}, 426, "no_upgrade"),
        ({"Origin": "https://elsewhere.example"}, 403, "origin"),
        ({"Origin": "null"}, 403, "origin"),
        ({"Origin": "http://[broken"}, 403, "origin"),
    ],
)
def test_a_bad_handshake_is_a_problem_document(run, changes, status, reason):
    async def main():
        async with serving() as chat:
            reader, writer = await chat.tcp()
            writer.write(handshake(**changes))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert f" {status} " in head.splitlines()[0]
            assert "content-type: application/problem+json" in head
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            problem = json.loads(await reader.readexactly(length))
            assert problem["status"] == status
            assert problem["title"]
            assert chat.hub.counters.handshakes_refused == {reason: 1}

    run(main())


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("http://127.0.0.1:{port}", ()),
        ("https://game.example", ("https://game.example",)),
        ("https://GAME.example", ("https://game.example/",)),
        ("https://anyone.example", ("*",)),
        (None, ()),
    ],
)
def test_allowed_origins(run, origin, origins):
    async def main():
        async with serving(origins=origins) as chat:
            headers = {} if origin is None else {"Origin": origin.format(port=chat.port)}
            await chat.visitor("visitor", headers=headers)

    run(main())


def test_a_full_server_a_draining_one_and_a_hasty_address_are_told_when_to_come_back(run):
    async def main():
        waits = [0.0, 1.5]
        limits = Limits(connections=1)
        async with serving(limits, admit=lambda request: waits.pop(0)) as chat:
            visitor = await chat.visitor("visitor")
            for status, retry_after in ((503, "5"), (429, "2"), (503, "1")):
                if status == 429:
                    await visitor.ws.close()
                    await until_idle()
                elif retry_after == "1":
                    chat.hub.draining = True
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await chat.connect()
                assert (caught.value.status, caught.value.headers["Retry-After"]) == (
                    status,
                    retry_after,
                )

    run(main())


def test_the_first_known_subprotocol_is_taken(run):
    async def main():
        async with serving() as chat:
            url = f"ws://127.0.0.1:{chat.port}/ws"
            ws = await chat.http.ws_connect(url, protocols=["graphql", JSON, MSGPACK])
            assert ws.protocol == JSON

    run(main())


def test_bytes_behind_the_handshake_are_not_lost(run):
    async def main():
        async with serving() as chat:
            reader, writer = await chat.tcp()
            writer.write(handshake() + packed(t="hello", token="hasty", v=1) + packed(t="ping"))
            await reader.readuntil(b"\r\n\r\n")
            assert b"welcome" in await reader.readuntil(b"pong")

    run(main())


def test_an_idle_connection_keeps_no_task(run):
    async def main():
        async with serving() as chat:
            before = len(asyncio.all_tasks())
            for _ in range(5):
                await chat.raw()
            assert len(asyncio.all_tasks()) == before

    run(main())


# Talking


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
def test_people_talk(run, protocol):
    async def main():
        async with serving() as chat:
            visitor = await chat.visitor("visitor", "광장", protocol=protocol)
            other = await chat.visitor("other", "광장")
            sent = await visitor.ask(t="send", id=1, room="광장", body={"글": "안녕하세요"})
            message = await visitor.hear()
            assert (sent["t"], sent["offset"]) == ("sent", 1)
            assert message["body"] == {"글": "안녕하세요"}
            assert await other.hear() == message
            assert chat.hub.counters.bytes_in > 0
            assert chat.hub.counters.bytes_out > 0

    run(main())


def test_a_client_of_another_library_is_understood(run):
    async def main():
        async with serving() as chat:
            url = f"ws://127.0.0.1:{chat.port}/ws"
            async with websockets.connect(url, subprotocols=[JSON]) as ws:
                await ws.send(json.dumps({"t": "hello", "token": "visitor", "v": 1}))
                assert json.loads(await ws.recv())["t"] == "welcome"
                await (await ws.ping())
            assert ws.close_code == 1000

    run(main())


def test_behind_tls(run):
    async def main():
        async with serving(tls=own_certificate()) as chat:
            visitor, other = await chat.visitor("a", "r"), await chat.visitor("b", "r")
            for number in range(50):
                await visitor.say(t="send", id=number, room="r", body="x" * 5000)
            heard = [(await other.hear())["offset"] for _ in range(50)]
            assert heard == list(range(1, 51))

    run(main())


def own_certificate():
    """Return a server context and a client context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(__import__("tempfile").TemporaryDirectory())
        path = os.path.join(directory, "both.pem")
        with open(path, "wb") as file:
            file.write(pem)
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=pem.decode())
    client.check_hostname = False
    return server, client


def test_many_frames_in_one_segment_are_answered_in_order(run):
    async def main():
        async with serving() as chat:
            reader, writer = await chat.raw()
            count = MESSAGES_PER_TURN * 5 + 3
            frames = [packed(t="leave", id=number, room="r") for number in range(count)]
            writer.write(packed(t="hello", token="hasty", v=1) + b"".join(frames))
            ids = []
            await read_frame(reader)
            while len(ids) < count:
                ids.append(msgpack.unpackb(await read_frame(reader))["id"])
            assert ids == list(range(count))

    run(main())


async def read_frame(reader):
    head = await reader.readexactly(2)
    size = head[1]
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return await reader.readexactly(size)


def test_a_flood_is_slowed_down_and_the_others_notice_nothing(run):
    async def main():
        async with serving(Limits()) as chat:
            _, writer = await chat.raw()
            other = await chat.visitor("other", "r")
            flood = packed(t="ping") * 5000
            writer.write(packed(t="hello", token="hasty", v=1) + flood)
            for number in range(10):
                await other.say(t="send", id=number, room="r", body="x")
                assert [(await other.hear())["t"] for _ in range(2)] == ["sent", "message"]
            assert chat.hub.counters.errors["rate_limited"] < 100

    run(main())


async def until_idle():
    for _ in range(20):
        await asyncio.sleep(0)


# Ends


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"{}", Opcode.TEXT), 1003),
        (masked(bytes(LIFTED.frame_bytes + 1)), 1009),
        (b"\x82\x01\x00", 1002),
        (masked(b"\xff", Opcode.TEXT), 1007),
        (masked(b"\xc1"), 4200),
        (packed(t="ping"), 4201),
        (packed(t="hello", token="forged", v=1), 4202),
    ],
)
def test_what_may_not_be_is_closed_with_its_code(run, data, code):
    async def main():
        async with serving() as chat:
            other = await chat.visitor("other", "r")
            reader, writer = await chat.raw()
            writer.write(data)
            frames = []
            while not frames or frames[-1][:2] != code.to_bytes(2, "big"):
                frames.append(await read_frame(reader))
            writer.write(masked(frames[-1], Opcode.CLOSE))
            assert await reader.read() == b""
            assert chat.hub.counters.closes[code] == 1
            assert (await other.ask(t="ping"))["t"] == "pong"

    run(main())


def test_after_our_close_nothing_more_is_taken_and_the_end_comes_by_itself(run, monkeypatch):
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT_S", 0.01)

    async def main():
        async with serving() as chat:
            reader, writer = await chat.raw()
            writer.write(masked(b"\xc1") + packed(t="hello", token="late", v=1))
            everything = await reader.read()
            assert b"welcome" not in everything

    run(main())


def test_a_vanished_client_has_left(run):
    async def main():
        async with serving() as chat:
            watcher = await chat.visitor("watcher")
            await watcher.ask(t="join", id=1, room="r", presence=True)
            _, writer = await chat.raw()
            writer.write(packed(t="hello", token="x", v=1) + packed(t="join", id=1, room="r"))
            assert (await watcher.hear())["event"] == "joined"
            writer.transport.abort()
            assert (await watcher.hear())["event"] == "left"

    run(main())


def test_no_hello_in_time_is_closed(run):
    async def main():
        async with serving(Limits(hello_timeout_s=0.01)) as chat:
            reader, _ = await chat.raw()
            assert msgpack.unpackb(await read_frame(reader))["reason"] == "hello_late"
            assert (await read_frame(reader))[:2] == (4101).to_bytes(2, "big")

    run(main())


def test_pings_are_sent_and_silence_ends(run):
    async def main():
        async with serving(Limits(ping_s=0.02, dead_s=0.1)) as chat:
            reader, writer = await chat.raw()
            writer.write(packed(t="hello", token="x", v=1))
            assert b"welcome" in await read_frame(reader)
            frames = [await read_frame(reader)]
            while frames[-1] == b"":
                frames.append(await read_frame(reader))
            assert len(frames) >= 3
            assert msgpack.unpackb(frames[-1])["reason"] == "silent"

    run(main())


def test_a_reader_that_does_not_read_is_closed_and_costs_the_others_nothing(run):
    async def main():
        async with serving(Limits(outbox_bytes=256 * 1024).lifted()) as chat:
            speaker = await chat.visitor("speaker", "r")
            reader, writer = await chat.raw()
            writer.transport.pause_reading()
            writer.write(packed(t="hello", token="slow", v=1) + packed(t="join", id=1, room="r"))
            number = 0
            while not chat.hub.counters.closes[4001]:
                number += 1
                await speaker.say(t="send", id=number, room="r", body="x" * 16_000)
                assert [(await speaker.hear())["t"] for _ in range(2)] == ["sent", "message"]
                assert chat.hub.counters.queue_bytes < 256 * 1024 + 2 * 17_000
            writer.transport.resume_reading()
            frames = []
            while not frames or not frames[-1].startswith((4001).to_bytes(2, "big")):
                frames.append(await read_frame(reader))
            messages = [msgpack.unpackb(frame) for frame in frames[2:-1]]
            first = messages[0]["offset"]
            assert [m["offset"] for m in messages] == list(range(first, first + len(messages)))
            accepted = [fact for fact in chat.facts.kept if type(fact) is MessageAccepted]
            assert sum(fact.delivered for fact in accepted) == number + len(messages)

    run(main())


def test_a_drain_closes_everyone_ends_the_deaf_and_keeps_the_last_facts(run):
    async def main():
        async with serving() as chat:
            visitors = [await chat.visitor(f"v{n}", "r") for n in range(3)]
            reader, writer = await chat.raw()
            writer.write(packed(t="hello", token="deaf", v=1))
            await read_frame(reader)
            drain_task = asyncio.create_task(chat.server.drain(0.2))
            for visitor in visitors:
                assert await visitor.hear() == (WSMsgType.CLOSE, 4000)
            await drain_task
            assert chat.hub.counters.connections == 0
            assert not chat.hub.busy
            kept = [fact for fact in chat.facts.kept if type(fact) is ConnectionTime]
            assert "v0" in {fact.user for fact in kept}

    run(main())


def test_bench_lifts_the_rates_and_says_so(run):
    async def main():
        async with serving(Limits(), bench=True) as chat:
            visitor = Visitor(await chat.connect(), MSGPACK)
            welcome = await visitor.ask(t="hello", token="x", v=1)
            assert welcome["limits"]["send_per_s"] == 0
            assert welcome["limits"]["body_bytes"] == Limits().body_bytes
            for _ in range(400):
                await visitor.say(t="ping")
            assert {(await visitor.hear())["t"] for _ in range(400)} == {"pong"}

    run(main())


def test_what_is_queued_for_a_connection_that_ended_is_dropped_and_hurts_nobody(run):
    """uvloop raises there, and the flush that had begun lost what it held for the others."""

    async def main():
        async with serving() as chat:
            visitor, gone = await chat.visitor("visitor", "r"), await chat.visitor("gone", "r")
            connections = {c.client.identity.user_id: c for c in chat.server._connections}
            lost = connections["gone"]
            # In one turn of the loop: a message for both is queued, and one of them ends.
            lost.abort()
            await until_idle()
            assert chat.hub.counters.connections == 1
            for client in (connections["visitor"].client, lost.client):
                chat.hub._delivery.write(client, client.codec.frame({"t": "told"}))
            assert (await visitor.hear())["t"] == "told"
            assert lost.write(b"\x82\x00") == 0
            del gone

    run(main())


def test_a_recovery_larger_than_the_bound_of_a_slow_reader_comes_whole_the_first_time(run):
    """Or the client would be closed in the midst of it, come back, and be closed again."""

    async def main():
        limits = Limits(outbox_bytes=64 * 1024).lifted()
        async with serving(limits) as chat:
            speaker = await chat.visitor("speaker", "r")
            for _ in range(150):
                await speaker.ask(t="send", id=1, room="r", body="x" * 12_000)
            reader, writer = await chat.raw()
            writer.write(packed(t="hello", token="late", v=1))
            await read_frame(reader)
            writer.transport.pause_reading()
            # The system would take all of it.
            for connection in chat.server._connections:
                its = connection._transport.get_extra_info("socket")
                its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
            since = {"epoch": chat.hub._bus.heads()[0].epoch, "offset": 0}
            writer.write(packed(t="join", id=1, room="r", since=since))
            counters = chat.hub.counters
            await until(lambda: counters.queue_bytes > 2 * limits.outbox_bytes, "what waits")
            await speaker.ask(t="send", id=2, room="r", body="live")
            writer.transport.resume_reading()
            joined, live = [msgpack.unpackb(await read_frame(reader)) for _ in range(2)]
            assert joined["recovered"] is True
            assert [m["offset"] for m in joined["messages"]] == list(range(1, 151))
            assert (live["t"], live["offset"]) == ("message", 151)
            assert counters.closes == {}

    run(main())
