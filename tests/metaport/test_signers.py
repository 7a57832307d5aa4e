import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from metaport import signers
from metaport.config import Config
from metaport.secret_files import FORMER_KEPT, rotate_secret, signing_secrets
from metaport.signers import Signers
from metaport.tokens import TokenInvalid, Tokens

NOW = 1_800_000_000.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    base = Config()
    return replace(base, data=replace(base.data, dir=tmp_path))


async def test_a_running_hub_follows_a_rotation_and_old_tokens_hold(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signers, "LOOK_S", 0.01)
    ours = Signers(config)
    old = ours.tokens.mint("u1", ttl_s=60, now=NOW)
    await ours.start()
    run_task = asyncio.create_task(ours.run())
    rotate_secret(config.secrets_dir, keep=FORMER_KEPT)
    newest = Tokens(signing_secrets(None, (), config.secrets_dir)[0])
    deadline = time.monotonic() + 10
    while newest._signing_kid != ours.tokens._signing_kid:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert ours.tokens.verify(old, NOW).user == "u1"
    assert newest.verify(ours.tokens.mint("u1", ttl_s=60, now=NOW), NOW).user == "u1"
    with pytest.raises(TokenInvalid):
        newest.verify(old, NOW)
    run_task.cancel()


def test_only_the_last_secrets_are_kept_and_none_after_a_leak(config: Config) -> None:
    seen = []
    for _ in range(FORMER_KEPT + 3):
        seen.insert(0, signing_secrets(None, (), config.secrets_dir)[0])
        rotate_secret(config.secrets_dir, keep=FORMER_KEPT)
    kept = signing_secrets(None, (), config.secrets_dir)
    assert list(kept[1:]) == seen[:FORMER_KEPT]
    rotate_secret(config.secrets_dir, keep=0)
    assert len(signing_secrets(None, (), config.secrets_dir)) == 1


def test_configured_former_secrets_verify_and_never_sign(config: Config) -> None:
    former = Tokens("old secret " * 4)
    config = replace(
        config,
        token=replace(config.token, secret="new secret " * 4, former_secrets=("old secret " * 4,)),
    )
    ours = Signers(config).tokens
    assert ours.verify(former.mint("u1", ttl_s=60, now=NOW), NOW).user == "u1"
    with pytest.raises(TokenInvalid):
        former.verify(ours.mint("u1", ttl_s=60, now=NOW), NOW)
