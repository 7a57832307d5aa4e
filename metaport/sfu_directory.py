"""Which SFUs there are: those of this machine, those configured, and those registered in Redis.

An SFU with `media.control` registers itself for a lease (`keep_registered`); every hub process
looks into the registry (`SfuDirectory.follow`) and uses what is there. One that is registered no
longer and does not answer is given up for good.
"""

import asyncio
import logging

from metaport.config import Config
from metaport.config_values import Endpoint
from metaport.media import MediaRelay
from metaport.node import node_name
from metaport.placements import PlacementsAway
from metaport.redis_placements import RedisRegistry
from metaport.sfu_link import SfuLink
from metaport.sfu_process import SfuProcess, sfu_processes
from sfu.control import ControlAddress, ControlClient

logger = logging.getLogger(__name__)

LOOK_S = 2.0
REGISTER_S = 3.0


class SfuDirectory:
    """Keeps a hub process connected to every SFU there is."""

    def __init__(self, config: Config, relay: MediaRelay) -> None:
        self._config = config
        self._relay = relay
        self._lasting: set[str] = set()  # those that are there by configuration
        self._registry = registry_of(config)

    async def start(self) -> None:
        """Connect to the SFUs that are known by configuration."""
        for sfu in sfu_processes(self._config):
            await self._add(node_name(self._config, sfu.name), ControlClient(sfu.control_path))
        for name, endpoint in self._config.media.sfus:
            await self._add(name, ControlClient(self._address(endpoint)))
        self._lasting = set(self._relay.links)

    async def follow(self) -> None:
        """Use the SFUs of the registry, until cancelled; at once without one."""
        if self._registry is None:
            return
        try:
            while True:
                await self._look(self._registry)
                await asyncio.sleep(LOOK_S)
        finally:
            await self._registry.close()

    async def _look(self, registry: RedisRegistry) -> None:
        try:
            registered = await registry.registered()
        except PlacementsAway:
            return  # the hub says at /readyz that Redis is away; connections stay
        for name, written in registered.items():
            if name not in self._relay.links:
                logger.info("%s is at %s", name, written)
                host, _, port = written.rpartition(":")
                endpoint = Endpoint(host.strip("[]"), int(port))
                await self._add(name, ControlClient(self._address(endpoint)))
        for name in set(self._relay.links) - registered.keys() - self._lasting:
            if not self._relay.links[name].connected:
                logger.info("%s is gone", name)
                await self._relay.drop(name)

    async def _add(self, name: str, client: ControlClient) -> None:
        await self._relay.add(SfuLink(name, client))

    def _address(self, endpoint: Endpoint) -> ControlAddress:
        token = self._config.media.control_token
        assert token is not None, "the configuration is checked"
        assert endpoint.port is not None
        return ControlAddress(endpoint.host, endpoint.port, token)


def registry_of(config: Config) -> RedisRegistry | None:
    """Return the registry, where SFUs are asked over TCP and there is a Redis."""
    if config.redis.url is None or config.media.control_token is None:
        return None
    return RedisRegistry(config.redis.url, config.redis.prefix)


async def keep_registered(config: Config, sfu: SfuProcess) -> None:
    """Say in the registry where an SFU is, until cancelled; at once without one."""
    registry = registry_of(config)
    if registry is None or sfu.control is None:
        return
    name = node_name(config, sfu.name)
    failing = False
    try:
        while True:
            try:
                await registry.register(name, str(sfu.control))
                failing = False
            except PlacementsAway as error:
                if not failing:
                    logger.warning("not registered: %s", error)
                failing = True
            await asyncio.sleep(REGISTER_S)
    finally:
        await registry.close()
