"""A coturn of one's own on 127.0.0.1, over UDP, TCP and TLS."""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtest.launch import free_port

SECRET = "a secret that only two servers know, of 32 bytes or more"


class TurnServer:
    """A running turnserver that relays to this machine only."""

    def __init__(self, folder: Path, secret: str = SECRET) -> None:
        program = shutil.which("turnserver")
        assert program is not None, "turnserver is missing: run `make servers`"
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = _certificate(folder)
        self._log = folder / "turnserver.log"
        self.usage_log = folder / "turn.log"
        options = (
            f"--listening-port={self.port}",
            f"--tls-listening-port={self.tls_port}",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--realm=turn.example.kr",
            "--use-auth-secret",
            f"--static-auth-secret={secret}",
            f"--cert={folder / 'turn.crt'}",
            f"--pkey={folder / 'turn.key'}",
            "--fingerprint",
            "--allow-loopback-peers",
            "--denied-peer-ip=0.0.0.0-126.255.255.255",
            "--no-cli",
            "--no-multicast-peers",
            f"--userdb={folder / 'turndb'}",
            f"--pidfile={folder / 'turn.pid'}",
            f"--log-file={self.usage_log}",
            "--simple-log",
            "--new-log-timestamp",
            "--verbose",
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (program, "-n", *options), stdout=log, stderr=log, cwd=folder
            )

    @property
    def urls(self) -> dict[str, str]:
        """Return its URL for each transport to it."""
        return {
            "udp": f"turn:127.0.0.1:{self.port}?transport=udp",
            "tcp": f"turn:127.0.0.1:{self.port}?transport=tcp",
            "tls": f"turns:127.0.0.1:{self.tls_port}?transport=tcp",
        }

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def rotate(self) -> None:
        """Rename the log and have another one opened, as logrotate does."""
        self.usage_log.rename(self.usage_log.with_name("turn.log.1"))
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def turn_server(folder: Path, secret: str = SECRET) -> Iterator[TurnServer]:
    """Run a turnserver for the length of a block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = TurnServer(folder, secret)
    try:
        yield server
    finally:
        server.stop()


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / "turn.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "turn.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
