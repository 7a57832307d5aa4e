import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from metaport import jwks_reader
from metaport.jwks import JwksKeys
from metaport.jwks_reader import JwksReader
from metaport.tokens import Tokens, TokenUndecided, Trust

NOW = 1_800_000_000.0
FIRST, SECOND = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def key_set(**keys: Ed25519PrivateKey) -> bytes:
    entries = [
        json.loads(OKPAlgorithm.to_jwk(key.public_key())) | {"kid": kid}
        for kid, key in keys.items()
    ]
    return json.dumps({"keys": entries}).encode()


def token(key: Ed25519PrivateKey, kid: str) -> str:
    return jwt.encode({"sub": kid, "exp": NOW + 60}, key, "EdDSA", headers={"kid": kid})


class Signer:
    """The signer's web server: what it serves, and how often it was asked."""

    def __init__(self) -> None:
        self.document = key_set(first=FIRST)
        self.status = 200
        self.asked = 0

    async def serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.document, status=self.status)


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def address(signer: Signer):
    app = web.Application()
    app.router.add_get("/jwks.json", signer.serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks.json"))


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def known(tokens: Tokens, key: Ed25519PrivateKey, kid: str) -> bool:
    try:
        return tokens.verify(token(key, kid), NOW).user == kid
    except TokenUndecided:
        return False


async def test_a_new_key_is_fetched_when_a_token_names_it(
    signer: Signer, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_reader, "LOOK_S", 0.01)
    keys = JwksKeys(refresh_s=300, interval_s=0.2)
    reader = JwksReader(address, keys, tmp_path / "jwks.json")
    tokens = Tokens("x" * 32, trust=Trust(keys))
    await reader.start()
    assert known(tokens, FIRST, "first")
    signer.document = key_set(second=SECOND)
    run_task = asyncio.create_task(reader.run())
    await until(lambda: known(tokens, SECOND, "second"))
    assert signer.asked == 2
    run_task.cancel()


async def test_an_absent_signer_leaves_the_last_set_in_force_over_a_restart(
    signer: Signer, address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await JwksReader(address, JwksKeys(300, 10), tmp_path / "jwks.json").start()
    keys = JwksKeys(300, 10)
    signer.status = 500
    reader = JwksReader(address, keys, tmp_path / "jwks.json")
    await reader.start()
    assert known(Tokens("x" * 32, trust=Trust(keys)), FIRST, "first")
    assert reader.failing == f"{address}: HTTP 500"
    await reader.fetch()
    assert [r.levelno for r in caplog.records] == [logging.ERROR], "told once"
    signer.status = 200
    await reader.fetch()
    assert reader.failing is None


@pytest.mark.parametrize("document", [b"{}", b" " * 300_000])
async def test_what_is_no_key_set_changes_nothing(
    signer: Signer, address: str, tmp_path: Path, document: bytes
) -> None:
    keys = JwksKeys(300, 10)
    reader = JwksReader(address, keys, tmp_path / "jwks.json")
    await reader.start()
    signer.document = document
    await reader.fetch()
    assert known(Tokens("x" * 32, trust=Trust(keys)), FIRST, "first")
    assert reader.failing is not None


async def test_a_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_reader, "LOOK_S", 0.01)
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(first=FIRST))
    keys = JwksKeys(refresh_s=300, interval_s=300)
    reader = JwksReader(str(path), keys, tmp_path / "jwks.json")
    tokens = Tokens("x" * 32, trust=Trust(keys))
    await reader.start()
    run_task = asyncio.create_task(reader.run())
    path.write_bytes(key_set(first=FIRST, second=SECOND))
    await until(lambda: known(tokens, SECOND, "second"))
    run_task.cancel()


async def test_an_address_that_redirects_is_not_followed(address: str, tmp_path: Path) -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": address})

    app = web.Application()
    app.router.add_get("/", elsewhere)
    async with TestServer(app) as server:
        reader = JwksReader(str(server.make_url("/")), JwksKeys(300, 10), tmp_path / "jwks.json")
        await reader.start()
        assert reader.failing is not None
        assert reader.failing.endswith("HTTP 302")
