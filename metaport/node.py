"""The hub processes of this machine, and their names among all on one Redis and one ledger.

The first one is called `hub` and has the log of a machine with one process; the others are
`hub-1` and so on. Where several machines share a ledger, each has a `hub.name`, and its processes
are `name/hub`, `name/hub-1`, … there.
"""

from pathlib import Path
from typing import NamedTuple

from metaport.config import Config
from metaport.language import Say

HUB = "hub"


class Node(NamedTuple):
    """One hub process; `process` stands in its lines, `name` in the ledger and in Redis."""

    number: int
    process: str
    name: str
    log: Path
    socket: Path
    """Where the other hubs of this machine and the supervisor reach just this one."""

    def file(self, config: Config, name: str) -> Path:
        """Return where this process keeps what it must know while the database is away."""
        suffix = f"-{self.number}" if self.number else ""
        return config.data.dir / f"{name}{suffix}.jsonl"


class NodeRefused(Exception):
    """This hub may not run beside another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.say = Say(
            f"hub.name: {name!r} – 같은 Redis에 같은 이름의 허브가 이미 있습니다. "
            "서버마다 다른 hub.name을 지정하세요",
            f"hub.name: another hub on this Redis is called {name!r}; "
            "give each machine a hub.name of its own",
        )
        super().__init__(self.say.en)


def hub_node(config: Config, number: int) -> Node:
    """Describe hub process `number` of a configuration."""
    process = f"{HUB}-{number}" if number else HUB
    return Node(
        number,
        process,
        node_name(config, process),
        config.hub_log.with_name(process),
        config.control_path.with_name(f"{process}.sock"),
    )


def hub_nodes(config: Config) -> list[Node]:
    """Describe all hub processes of a configuration."""
    return [hub_node(config, number) for number in range(config.hub.processes)]


def node_name(config: Config, process: str) -> str:
    """Return what a process of this machine is called among those of others."""
    return process if config.hub.name is None else f"{config.hub.name}/{process}"
