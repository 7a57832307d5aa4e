"""What cannot work is refused at the start: a sentence with the key, exit code 2, no traceback."""

import socket
import stat
import subprocess

import pytest

from loadtest.launch import METAPORT, Server

pytestmark = pytest.mark.system


def start(server):
    """Run `metaport run` to its end; returns what it complained about."""
    done = subprocess.run(
        [METAPORT, "run", "--lang", "en"],
        env=server.environment,
        cwd=server.data_dir.parent,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip().splitlines()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_taken_port_is_named(folder, protocol):
    server = Server(folder / "data")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    port = server.http_port if protocol == "tcp" else server.media_port
    key = "http.port" if protocol == "tcp" else "media.port"
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", port))
        if protocol == "tcp":
            other.listen()
        [complaint] = start(server)
    assert key in complaint
    assert str(port) in complaint


def test_a_data_directory_that_is_a_file_is_named(folder):
    (folder / "data").write_text("not a directory")
    [complaint] = start(Server(folder / "data"))
    assert "data.dir" in complaint
    assert str(folder / "data") in complaint


def test_a_data_directory_below_a_file_is_named(folder):
    (folder / "file").write_text("")
    server = Server(folder / "data", {"METAPORT_DATA_DIR": str(folder / "file" / "data")})
    [complaint] = start(server)
    assert "data.dir" in complaint


def test_a_read_only_data_directory_is_named(folder):
    """Root may write anywhere, except where the kernel itself refuses: /proc."""
    data = folder / "data"
    data.mkdir()
    data.chmod(stat.S_IRUSR | stat.S_IXUSR)
    elsewhere = {"METAPORT_DATA_DIR": "/proc/metaport"}
    writable = subprocess.run(["test", "-w", data], check=False).returncode == 0
    [complaint] = start(Server(data, elsewhere if writable else None))
    data.chmod(stat.S_IRWXU)
    assert "data.dir" in complaint


def test_every_wrong_key_is_told_at_once_with_its_path(folder):
    (folder / "metaport.toml").write_text('[http]\nprot = 8080\n[media]\nport = "many"\n')
    server = Server(folder / "data", {"METAPORT_HTTP_PORT": "99999"})
    del server.environment["METAPORT_MEDIA_PORT"]
    complaints = start(server)
    assert len(complaints) == 3, complaints
    for key in ("http.prot", "http.port", "media.port"):
        assert any(key in complaint for complaint in complaints), (key, complaints)
    [unknown] = [c for c in complaints if "http.prot" in c]
    assert "port" in unknown.replace("http.prot", "")  # did you mean …?


def test_a_file_that_is_not_toml_is_named(folder):
    (folder / "metaport.toml").write_text("[http\n")
    [complaint] = start(Server(folder / "data"))
    assert "metaport.toml" in complaint
