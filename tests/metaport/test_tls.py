import asyncio
import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from metaport import tls
from metaport.config import load_config

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADDRESSES = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("192.168.0.7")]


def ensure(directory: Path, addresses=ADDRESSES, now: datetime = NOW) -> tls.Files:
    return tls.ensure(directory, names=["localhost", "office.local"], addresses=addresses, now=now)


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> list[str]:
    extension = loaded(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def test_the_certificate_names_the_machine_and_is_issued_by_the_authority(tmp_path: Path) -> None:
    files = ensure(tmp_path)
    assert names(files.cert) == ["localhost", "office.local", "127.0.0.1", "192.168.0.7"]
    certificate, authority = loaded(files.cert), loaded(files.ca_cert)
    certificate.verify_directly_issued_by(authority)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = ensure(tmp_path / "tls")
    for key in (files.ca_key, files.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_what_is_good_is_kept(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in vars_of(ensure(tmp_path))}
    ensure(tmp_path, now=NOW + timedelta(days=300))
    ensure(tmp_path, addresses=ADDRESSES[:1])
    assert {path: path.read_bytes() for path in before} == before


def vars_of(files: tls.Files) -> list[Path]:
    return [files.ca_cert, files.ca_key, files.cert, files.key]


def test_a_certificate_near_its_end_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    files = ensure(tmp_path)
    authority, before = files.ca_cert.read_bytes(), loaded(files.cert)
    ensure(tmp_path, now=NOW + tls.SERVER_LIFE - timedelta(days=29))
    assert loaded(files.cert).not_valid_after_utc > before.not_valid_after_utc
    assert files.ca_cert.read_bytes() == authority


def test_a_new_address_of_the_machine_renews_the_certificate(tmp_path: Path) -> None:
    files = ensure(tmp_path)
    ensure(tmp_path, addresses=[*ADDRESSES, ipaddress.ip_address("10.0.0.9")])
    assert "10.0.0.9" in names(files.cert)


@pytest.mark.parametrize("broken", ["server.crt", "server.key"])
@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_broken_pair_is_made_again(tmp_path: Path, broken: str, content: bytes | None) -> None:
    """A crash between writing key and certificate leaves the two apart."""
    files = ensure(tmp_path)
    authority = files.ca_cert.read_bytes()
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_bytes(content)
    ensure(tmp_path)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key)
    assert files.ca_cert.read_bytes() == authority


def test_a_lost_authority_is_made_again_with_its_certificate(tmp_path: Path) -> None:
    files = ensure(tmp_path)
    files.ca_key.unlink()
    ensure(tmp_path)
    loaded(files.cert).verify_directly_issued_by(loaded(files.ca_cert))


def test_this_machine_has_addresses_and_names() -> None:
    assert ipaddress.ip_address("127.0.0.1") in tls.machine_addresses()
    assert not any(address.is_link_local for address in tls.machine_addresses())
    assert "localhost" in tls.machine_names()


def test_the_context_follows_the_configuration(tmp_path: Path) -> None:
    def context(**environ: str) -> ssl.SSLContext | None:
        return tls.server_context(
            load_config(environ={"METAPORT_DATA_DIR": str(tmp_path)} | environ)
        )

    assert context() is None
    assert context(METAPORT_HTTP_TLS="auto") is not None
    files = tls.Files(tmp_path / "tls")
    given = {"METAPORT_HTTP_CERT": str(files.cert), "METAPORT_HTTP_KEY": str(files.key)}
    assert context(METAPORT_HTTP_TLS="files", **given) is not None


async def test_a_client_that_trusts_the_authority_connects_by_every_name(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="secure")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
    port = runner.addresses[0][1]
    trusting = ssl.create_default_context(cafile=str(files.ca_cert))
    async with ClientSession() as session:
        for host in ("localhost", "127.0.0.1"):
            async with session.get(f"https://{host}:{port}/", ssl=trusting) as response:
                assert await response.text() == "secure"
    await runner.cleanup()
    await asyncio.sleep(0)


@pytest.mark.parametrize(("lang", "word"), [("ko", "지문"), ("en", "fingerprint")])
def test_a_person_is_told_how_to_trust_it(tmp_path: Path, lang, word: str) -> None:
    config = load_config(environ={"METAPORT_DATA_DIR": str(tmp_path)})
    text = tls.how_to_trust(config, lang)
    assert word in text
    assert str(tmp_path / "tls" / "ca.crt") in text
    shown = "".join(line.strip() for line in text.splitlines() if line.count(":") > 10)
    fingerprint = tls.fingerprint(tmp_path / "tls" / "ca.crt")
    assert len(fingerprint) == 95
    assert shown.replace(":", "") == fingerprint.replace(":", "")
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 100
