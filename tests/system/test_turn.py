"""A real coturn takes the credentials handed out at join, over UDP, TCP and TLS, and no others."""

import asyncio
import re
import socket
import sqlite3
import ssl
from contextlib import closing

import pytest
from aioice import stun, turn

from loadtest.launch import running
from tests.system.chat import Chat, guest
from tests.system.deadline import until
from tests.system.peer import Peer, Tone
from tests.system.turn_server import SECRET, turn_server

pytestmark = pytest.mark.system


class Relayed(asyncio.DatagramProtocol):
    """What came back through the relay."""

    def __init__(self):
        self.received = []

    def datagram_received(self, data, addr):
        self.received.append(data)

    def connection_lost(self, exc):
        pass


async def allocate(server, over, username, credential):
    """Ask for a relay; return its transport and protocol."""
    trusting = ssl.create_default_context(cafile=str(server.certificate))
    port = server.tls_port if over == "tls" else server.port
    return await turn.create_turn_endpoint(
        Relayed,
        server_addr=("127.0.0.1", port),
        username=username,
        password=credential,
        ssl=trusting if over == "tls" else None,
        transport="udp" if over == "udp" else "tcp",
    )


async def reachable(server):
    """Wait until the server takes connections."""

    async def connects():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.tls_port)
        except OSError:
            return False
        writer.close()
        return True

    await until(connects, 20, lambda: f"turnserver listens:\n{server.log[-2000:]}")


def told(server):
    return b"peer usage" in server.usage_log.read_bytes()


def metered(database):
    """Return the bytes that the ledger has as relayed, by room and user."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            "SELECT room, user_id, sum(quantity) FROM usage_window "
            "WHERE meter = 'media.turn_bytes' AND quantity > 0 GROUP BY 1, 2"
        ).fetchall()


async def test_what_join_hands_out_opens_a_relay_to_the_media_port(folder):
    with turn_server(folder / "turn") as server:
        environment = {
            "METAPORT_TURN_URLS": ",".join(server.urls.values()),
            "METAPORT_TURN_SECRET": SECRET,
            "METAPORT_TURN_LOG": str(server.usage_log),
        }
        async with running(folder / "data", environment=environment) as metaport:
            account = await guest(metaport.url, "visitor")
            async with await Chat.enter(metaport.url, account) as chat:
                await chat.request("join", room="plaza")
                joined = await chat.request("media.join", room="plaza")
            [handed] = joined["ice_servers"]
            assert handed["urls"] == list(server.urls.values())
            await reachable(server)
            for over in server.urls:
                transport, relayed = await allocate(
                    server, over, handed["username"], handed["credential"]
                )
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                    peer.bind(("127.0.0.1", 0))
                    peer.settimeout(10)
                    transport.sendto(b"through the relay", peer.getsockname())
                    data, relay = await asyncio.to_thread(peer.recvfrom, 100)
                    assert data == b"through the relay"
                    peer.sendto(b"and back", relay)
                await until(lambda r=relayed: r.received, 10, f"an answer over {over}")
                transport.close()
                if over == "udp":
                    await until(lambda: told(server), 20, "coturn tells what it relayed")
                    server.rotate()
            data = len(b"through the relay") + len(b"and back")
            relayed = [("plaza", account.user, len(server.urls) * data)]
            found = folder / "data" / "metaport.db"
            await until(lambda: metered(found) == relayed, 30, lambda: str(metered(found)))
            with pytest.raises(stun.TransactionFailed, match="401"):
                await allocate(server, "udp", handed["username"], "a guess")
            expired = "1:" + handed["username"].partition(":")[2]
            with pytest.raises(stun.TransactionFailed, match="401"):
                await allocate(server, "udp", expired, handed["credential"])
            # Encoders and players are told by Link headers (RFC 9725 section 4.6).
            async with Peer(metaport.url, account.token) as encoder:
                await encoder.publish("/whip/plaza", Tone())
                links = encoder.links
            assert [link.partition(";")[0] for link in links] == [
                f"<{url}>" for url in server.urls.values()
            ]
            login = re.search(r'username="([^"]+)"; credential="([^"]+)"', links[0])
            transport, _ = await allocate(server, "tcp", *login.groups())
            transport.close()
