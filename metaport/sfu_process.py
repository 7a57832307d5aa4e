"""The SFU processes of this machine: one per core, each with a port, a socket and a log of its own.

The first one has the names and the port of the configuration; the others count on from there.
"""

from pathlib import Path
from typing import NamedTuple

from metaport.config import Config
from metaport.config_values import Endpoint


class SfuProcess(NamedTuple):
    """One of them; `name` stands in the process list, in the ledger and in the metrics."""

    number: int
    name: str
    port: int
    advertise: tuple[Endpoint, ...]
    control_path: Path
    control: Endpoint | None
    """Where hubs of other machines ask it."""
    log: Path


def sfu_process(config: Config, number: int) -> SfuProcess:
    """Describe SFU process `number` of a configuration."""
    name = f"sfu-{number}" if number else "sfu"
    return SfuProcess(
        number,
        name,
        # Port 0 lets the system choose, for each of them.
        config.media.port + number if config.media.port else 0,
        tuple(_counted_on(endpoint, number) for endpoint in config.media.advertise),
        config.control_path.with_name(f"{name}.sock"),
        None if config.media.control is None else _counted_on(config.media.control, number),
        config.sfu_log.with_name(name),
    )


def sfu_processes(config: Config) -> list[SfuProcess]:
    """Describe all SFU processes of a configuration."""
    return [sfu_process(config, number) for number in range(config.media.processes)]


def _counted_on(endpoint: Endpoint, number: int) -> Endpoint:
    return endpoint._replace(port=endpoint.port + number) if endpoint.port else endpoint
