"""Connections to Redis for everything but the subscription, through redis-py.

A link knows which node serves a partition and sends pipelines to it. It tells apart what was
certainly never sent from what may have been done: everything above depends on that.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import hiredis
from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError, TimeoutError

from chatd.errors import ChatError
from chatd.redis_options import Times
from chatd.redis_script import Command, Partition, partitions

# The one node of a server that is no cluster.
PRIMARY = "primary"


class RedisUnreachable(ChatError):
    """No connection: the commands were certainly not sent."""


class RedisSilent(ChatError):
    """The connection ended, or nothing came in time: the commands may have been done."""


class RedisLate(RedisSilent):
    """Nothing came in time: the server hangs, or the network does."""


class Endpoint(NamedTuple):
    """Where a subscriber connects to, and as whom."""

    host: str
    port: int
    path: str | None
    tls: ssl.SSLContext | None
    username: str | None
    password: str | None


class Link(Protocol):
    """Redis as a set of nodes. `partitions` are all there are, `sharded` whether by slots."""

    sharded: bool
    partitions: tuple[Partition, ...]

    def node(self, partition: Partition) -> str:
        """Return the name of the node that serves `partition`, by the last `refresh`."""

    async def refresh(self) -> None:
        """Look again which node serves what.

        Raises:
            RedisUnreachable: nobody could be asked.
        """

    async def send(self, node: str, commands: Sequence[Command]) -> list[Any]:
        """Return the replies; one that is an error is a `ResponseError`.

        Raises:
            RedisUnreachable: nothing was sent.
            RedisSilent: anything may have happened.
        """

    def line(self, node: str) -> "Line":
        """Return a connection to `node` for one who sends all the time."""

    async def endpoint(self, node: str) -> Endpoint:
        """Return where `node` is now.

        Raises:
            RedisUnreachable: nobody knows.
        """

    async def close(self) -> None:
        """Close every connection."""


def link_to(url: str, prefix: str, times: Times) -> Link:
    """Return a link to what `url` names.

    `redis://`, `rediss://` and `unix://` are redis-py's; `redis+sentinel://host:port,host:port/name`
    names a primary watched by Sentinels, with `/db` after it, `redis+cluster://host:port,host:port`
    some nodes of a cluster. User and password before `@` are those of the Redis servers; `rediss+`
    speaks TLS to all of them. Options of redis-py may follow as a query.
    """
    split = urlsplit(url)
    scheme, _, kind = split.scheme.partition("+")
    if kind == "cluster":
        return ClusterLink(_each_host(split, scheme), prefix, times)
    if kind == "sentinel":
        return SentinelLink(split, scheme, prefix, times)
    return DirectLink(ConnectionPool.from_url(url, **_pool_options(times)), prefix)


class DirectLink:
    """One server."""

    sharded = False

    def __init__(self, pool: ConnectionPool, prefix: str) -> None:
        self.partitions = partitions(prefix, False)
        self._pool = pool

    def node(self, partition: Partition) -> str:
        return PRIMARY

    async def refresh(self) -> None:
        pass

    async def send(self, node: str, commands: Sequence[Command]) -> list[Any]:
        return await _send(self._pool, commands)

    def line(self, node: str) -> "Line":
        return Line(self._pool)

    async def endpoint(self, node: str) -> Endpoint:
        options = self._pool.connection_kwargs
        return _endpoint(self._pool, options.get("host", "localhost"), options.get("port", 6379))

    async def close(self) -> None:
        await self._pool.aclose()


class _Sentinels(Sentinel):
    """The Sentinels, asked by one at a time.

    redis-py 8.1 swaps two of them in its list after an `await`: asked by two at once, it loses one.
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], **options: Any) -> None:
        super().__init__(hosts, **options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        async with self._asking:
            host, port = await super().discover_master(service_name)
        return host, port


class SentinelLink(DirectLink):
    """The server that the Sentinels call primary."""

    def __init__(self, split: SplitResult, scheme: str, prefix: str, times: Times) -> None:
        self._name, _, database = split.path.strip("/").partition("/")
        hosts = [_host_port(host, 26379) for host in split.netloc.rpartition("@")[2].split(",")]
        options = _pool_options(times)
        self._sentinel = _Sentinels(hosts, sentinel_kwargs=dict(options))
        primary = _each_host(split._replace(path="/" + database), scheme)[0]
        served = ConnectionPool.from_url(primary, **options)
        kwargs = {
            name: value
            for name, value in served.connection_kwargs.items()
            if name not in {"host", "port"}
        }
        if issubclass(served.connection_class, SSLConnection):
            kwargs["ssl"] = True
        client = self._sentinel.master_for(self._name, redis_class=Redis, **kwargs)
        super().__init__(client.connection_pool, prefix)

    async def endpoint(self, node: str) -> Endpoint:
        try:
            host, port = await self._sentinel.discover_master(self._name)
        except (RedisError, OSError) as error:
            _heed_cancellation()
            raise RedisUnreachable(_sentence(error)) from error
        _heed_cancellation()
        return _endpoint(self._pool, host, port)

    async def close(self) -> None:
        await super().close()
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class ClusterLink:
    """A cluster; its nodes are named `host:port`."""

    sharded = True

    def __init__(self, urls: Sequence[str], prefix: str, times: Times) -> None:
        self.partitions = partitions(prefix, True)
        self._options = _pool_options(times)
        pools = [ConnectionPool.from_url(url, **self._options) for url in urls]
        self._shared = {
            name: value
            for name, value in pools[0].connection_kwargs.items()
            if name not in {"host", "port"}
        }
        self._class = pools[0].connection_class
        self._pools = {_name(pool.connection_kwargs): pool for pool in pools}
        self._nodes: list[str] = [next(iter(self._pools))] * len(self.partitions)

    def node(self, partition: Partition) -> str:
        return self._nodes[partition.index]

    async def refresh(self) -> None:
        failure: Exception | None = None
        for node in list(self._pools):
            try:
                (reply,) = await self.send(node, [("CLUSTER", "SLOTS")])
            except (RedisUnreachable, RedisSilent) as error:
                failure = error
                continue
            if isinstance(reply, ResponseError):
                failure = reply
            elif self._learn(node, reply):
                return
        raise RedisUnreachable(f"no node of the cluster tells its slots: {failure}")

    async def send(self, node: str, commands: Sequence[Command]) -> list[Any]:
        return await _send(self._pool(node), commands)

    def line(self, node: str) -> "Line":
        return Line(self._pool(node))

    async def endpoint(self, node: str) -> Endpoint:
        host, port = _host_port(node, 6379)
        return _endpoint(self._pool(node), host, port)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, node: str) -> ConnectionPool:
        if node not in self._pools:
            host, port = _host_port(node, 6379)
            self._pools[node] = ConnectionPool(
                connection_class=self._class, host=host, port=port, **self._shared
            )
        return self._pools[node]

    def _learn(self, asked: str, slots: Sequence[Any]) -> bool:
        nodes = list(self._nodes)
        covered = 0
        for first, last, primary, *_ in slots:
            # An empty host is the one that was asked (CLUSTER SLOTS).
            host = primary[0].decode() if primary[0] else _host_port(asked, 6379)[0]
            for partition in self.partitions:
                if first <= partition.slot <= last:
                    nodes[partition.index] = f"{host}:{primary[1]}"
                    covered += 1
        # A node that was cut off or is new may know only some.
        if covered < len(self.partitions):
            return False
        self._nodes = nodes
        return True


# A held connection is looked at before it is used again after this long: one that Redis has
# closed meanwhile is then certainly unused, where a write would leave a doubt.
_IDLE_S = 0.05


class Line:
    """A connection held between pipelines: taking it from the pool and giving it back each time
    costs 85 µs a pipeline, as much as eight messages."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None
        self._used_at = 0.0

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Do as `Link.send`; one pipeline at a time."""
        connection = self._connection
        if connection is not None and time.monotonic() - self._used_at > _IDLE_S:
            await self.close()
            connection = None
        if connection is None:
            self._connection = connection = await _take(self._pool)
        try:
            return await _exchange(connection, commands)
        except BaseException:
            await self.close()
            raise
        finally:
            self._used_at = time.monotonic()

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)


async def _send(pool: ConnectionPool, commands: Sequence[Command]) -> list[Any]:
    connection = await _take(pool)
    try:
        return await _exchange(connection, commands)
    finally:
        await pool.release(connection)


async def _take(pool: ConnectionPool) -> AbstractConnection:
    """Take a connection that is open and has nothing unread."""
    try:
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
    except (RedisError, OSError) as error:
        _heed_cancellation()
        raise RedisUnreachable(_sentence(error)) from error
    return connection


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    try:
        # redis-py's own packing takes 1 µs an argument, a third of all the CPU of a busy hub.
        packed = b"".join([hiredis.pack_command(each) for each in commands])  # type: ignore[arg-type]
        await connection.send_packed_command(packed)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
        _heed_cancellation()
        return replies
    except (RedisError, OSError) as error:
        await connection.disconnect(nowait=True)
        _heed_cancellation()
        silent = RedisLate if isinstance(error, TimeoutError) else RedisSilent
        raise silent(_sentence(error)) from error
    except BaseException:
        # Cancelled between a request and its reply: nobody may read that reply as another's.
        await connection.disconnect(nowait=True)
        raise


def _heed_cancellation() -> None:
    # redis-py awaits through `asyncio.wait_for`, and that of Python 3.11 forgets a cancellation
    # that comes together with the result.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _sentence(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _pool_options(times: Times) -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_timeout": times.reply_s,
        "socket_connect_timeout": times.connect_s,
        # Lanes try again; a second layer of attempts would only hide that Redis is away.
        "retry": Retry(NoBackoff(), 0),
    }


def _each_host(split: SplitResult, scheme: str) -> list[str]:
    who, at, hosts = split.netloc.rpartition("@")
    return [
        urlunsplit((scheme, who + at + host, split.path, split.query, ""))
        for host in hosts.split(",")
    ]


def _host_port(netloc: str, default: int) -> tuple[str, int]:
    host, colon, port = netloc.rpartition(":")
    if not colon or "]" in port:
        return unquote(netloc.strip("[]")), default
    return unquote(host.strip("[]")), int(port)


def _name(options: dict[str, Any]) -> str:
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _endpoint(pool: ConnectionPool, host: str, port: int) -> Endpoint:
    options = pool.connection_kwargs
    tls = None
    if issubclass(pool.connection_class, SSLConnection):
        tls = pool.connection_class(**options).ssl_context.get()
    return Endpoint(
        host,
        port,
        options.get("path"),
        tls,
        options.get("username"),
        options.get("password"),
    )
