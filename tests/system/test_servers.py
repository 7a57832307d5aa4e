"""What the other tests need from the machine is there, and is what they need."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import redis.asyncio

from loadtest.launch import free_port
from loadtest.redis_program import redis_program
from tests.system.browser import launched
from tests.system.deadline import until

pytestmark = pytest.mark.system

INSTALL = Path(__file__).with_name("install_servers.sh")


async def test_redis_is_7_or_newer_and_answers(folder):
    program = redis_program()
    assert program is not None, "redis-server is missing: run `make servers`"
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        program, "--port", str(port), "--save", "", "--dir", str(folder), stdout=subprocess.DEVNULL
    )
    client = redis.asyncio.Redis(port=port)

    async def answers():
        try:
            return await client.ping()
        except redis.ConnectionError:
            return False

    try:
        await until(answers, 10, "redis-server answers PING")
        version = (await client.info("server"))["redis_version"]
        assert int(version.split(".")[0]) >= 7, f"redis-server {version} is older than 7"
    finally:
        await client.aclose()
        process.terminate()
        await process.wait()


async def test_chromium_has_a_microphone_and_a_camera():
    async with launched() as browser:
        page = await browser.new_page()
        # Devices need a secure context: `about:blank` is none, localhost is one.
        await page.route(
            "http://localhost:1/", lambda route: route.fulfill(body="<title>t</title>")
        )
        await page.goto("http://localhost:1/")
        kinds = await page.evaluate(
            """async () => {
              const options = {audio: true, video: true};
              const stream = await navigator.mediaDevices.getUserMedia(options);
              return stream.getTracks().map(track => track.kind).sort();
            }"""
        )
        assert kinds == ["audio", "video"]


def test_korean_has_a_font():
    program = shutil.which("fc-list")
    if program is None:
        fonts = list(Path("/System/Library/Fonts").glob("*SDGothicNeo*"))
        assert fonts, "a Korean font is missing: run `make servers`"
        return
    found = subprocess.run(
        [program, ":lang=ko", "family"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip(), "a Korean font is missing: run `make servers`"


def test_the_installer_is_silent_when_all_is_there():
    done = subprocess.run(["sh", INSTALL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_installer_names_what_is_missing_where_it_knows_no_package_manager(tmp_path):
    for name in ("sh", "uname", "sed"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [tmp_path / "sh", INSTALL],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert re.search(r"missing: redis.* chromium", done.stderr), done.stderr
    assert "knows apt-get (Debian, Ubuntu) and brew (macOS) only" in done.stderr
