"""Whose tokens a hub accepts: its own secrets, keys of apps, and the key set of another signer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from metaport.app_keys import AppKeyBook
from metaport.config import Config
from metaport.jwks import JwksKeys
from metaport.jwks_reader import JwksReader
from metaport.secret_files import signing_secrets
from metaport.tokens import Claims, Tokens, Trust

logger = logging.getLogger(__name__)

# A secret that was rotated signs from then on; until then all hubs still take its tokens.
LOOK_S = 2.0
KEY_SET = "jwks.json"


class Signers:
    """The tokens of a hub and what keeps their keys up to date.

    Raises `OSError`, `ValueError` when there is no secret to sign with.
    """

    def __init__(
        self,
        config: Config,
        revoked: Callable[[Claims], bool] = lambda _: False,
        apps: AppKeyBook | None = None,
    ) -> None:
        token = config.token
        self._config = config
        self._secrets = self._read()
        keys = JwksKeys(token.jwks_refresh_s, token.jwks_interval_s)
        # None without another signer.
        self._reader = None
        if token.jwks is not None:
            self._reader = JwksReader(token.jwks, keys, config.secrets_dir / KEY_SET)
        self.tokens = Tokens(
            self._secrets[0],
            former=self._secrets[1:],
            trust=Trust(
                keys if self._reader is not None else None,
                token.leeway_s,
                token.issuer,
                token.audience,
            ),
            revoked=revoked,
            apps=apps,
        )

    @property
    def failing(self) -> str | None:
        """What keeps the key set from being read, None when nothing does."""
        return None if self._reader is None else self._reader.failing

    async def start(self) -> None:
        """Read the key set once."""
        if self._reader is not None:
            await self._reader.start()

    async def run(self) -> None:
        """Follow both, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_secrets(), name="follow secrets")
            if self._reader is not None:
                group.create_task(self._reader.run(), name="follow key set")

    async def _follow_secrets(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                found = await asyncio.to_thread(self._read)
            except (OSError, ValueError) as error:
                logger.error("the signing secrets stay as they are: %s", error)
                continue
            if found != self._secrets:
                self._secrets = found
                self.tokens.use_secrets(found[0], found[1:])
                logger.info("tokens are signed with another secret; %d verify", len(found))

    def _read(self) -> tuple[str, ...]:
        token = self._config.token
        return signing_secrets(token.secret, token.former_secrets, self._config.secrets_dir)
