"""A hub answers as its OpenAPI document says, to what fits and to what does not."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from metaport.config import Config
from tests.metaport.api_schemathesis import ask
from tests.metaport.test_compose import SECRET, bearer, free_port, serving


async def asked(examples, seed):
    """Ask a hub without rate limits; return what failed."""
    base = Config()
    with tempfile.TemporaryDirectory() as folder:
        config = replace(
            base,
            http=replace(base.http, port=free_port()),
            data=replace(base.data, dir=Path(folder)),
            token=replace(base.token, secret=SECRET),
            profile="bench",
            drain_s=1.0,
        )
        headers = bearer(user="ann", roles=["admin", "operator", "auditor"], ttl_s=3_600)
        async with serving(config):
            url = f"http://127.0.0.1:{config.http.port}"
            return await asyncio.to_thread(lambda: list(ask(url, headers, examples, seed)))


# Its own strategies draw from `random`, which Hypothesis seeds here.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.timeout(300)
async def test_what_the_document_says_holds():
    assert await asked(3, 1) == []
