"""`--tls auto`: a local authority and a certificate for this machine, for the office network.

Browsers give microphone and camera to HTTPS pages only (localhost excepted). In `DATA/tls`:

    ca.crt, ca.key            the authority: made once, trusted once on each phone
    server.crt, server.key    made again when it nears its end or the machine's addresses change

**The authority's key never leaves this directory**, and the authority signs no other authority.
Production uses a reverse proxy or `http.tls = "files"` with a public certificate.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from metaport.language import Lang
from metaport.secret_files import write_secret

if TYPE_CHECKING:
    from metaport.config import Config

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AUTHORITY_LIFE = timedelta(days=3650)
# Apple's systems refuse server certificates that hold longer than 825 days, also of local ones.
SERVER_LIFE = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(hours=1)  # a phone's clock may be behind


@dataclass(frozen=True)
class Files:
    """Name the files of the local authority and of its server certificate."""

    directory: Path

    @property
    def ca_cert(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def cert(self) -> Path:
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        return self.directory / "server.key"


def machine_addresses() -> list[Address]:
    """Return the addresses of this machine, without link-local ones, which need a zone."""
    found: set[Address] = set()
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            written = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(written)
            if not address.is_link_local:
                found.add(address)
    return sorted(found, key=lambda address: (address.version, int(address)))


def machine_names() -> list[str]:
    """Return the names this machine may be called by."""
    host = socket.gethostname().lower().rstrip(".")
    names = {"localhost", host, f"{host}.local"} if host else {"localhost"}
    return sorted(name for name in names if name.isascii() and not name.startswith("."))


def ensure(
    directory: Path,
    *,
    names: Iterable[str] | None = None,
    addresses: Iterable[Address] | None = None,
    now: datetime | None = None,
) -> Files:
    """Make authority and server certificate where they are missing, ending or out of date.

    Raises `OSError` when they cannot be kept, `ValueError` when what is there cannot be read.
    """
    now = datetime.now(UTC) if now is None else now
    files = Files(directory)
    wanted = _subject_names(
        machine_names() if names is None else names,
        machine_addresses() if addresses is None else addresses,
    )
    if not (files.ca_cert.exists() and files.ca_key.exists()):
        _make_authority(files, now)
    if not _serves(files, wanted, now):
        _make_server(files, wanted, now)
    return files


def server_context(config: Config) -> ssl.SSLContext | None:
    """Return the context the public port serves with; `None` without TLS. Raises `OSError`."""
    if config.http.tls == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(config, context)
    return context


def load_certificate(config: Config, context: ssl.SSLContext | None) -> None:
    """Load the certificate as it is on disk now; the local one is renewed when it is time.

    For a running server too: new connections get the new certificate. Raises `OSError`.
    """
    if context is None:
        return
    if config.http.tls == "files":
        assert config.http.cert is not None  # checked by load_config
        context.load_cert_chain(config.http.cert, config.http.key)
    else:
        files = ensure(config.data.dir / "tls")
        context.load_cert_chain(files.cert, files.key)


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 fingerprint as phones show it. Raises `OSError`, `ValueError`."""
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    return parsed.fingerprint(hashes.SHA256()).hex(":").upper()


def _subject_names(names: Iterable[str], addresses: Iterable[Address]) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(address) for address in addresses),
    ]


def _make_authority(files: Files, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()[:40]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Metaport local CA ({host})")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    write_secret(files.ca_key, _pem(key), replace=True)
    _write_public(files.ca_cert, certificate)
    files.cert.unlink(missing_ok=True)  # the old authority's


def _make_server(files: Files, wanted: list[x509.GeneralName], now: datetime) -> None:
    authority = x509.load_pem_x509_certificate(files.ca_cert.read_bytes())
    authority_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{files.ca_key} is not a key this server made")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Metaport Chat")])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _builder(name, authority.subject, key, now, SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    # A crash between the two leaves a pair that does not match; `_serves` sees it.
    write_secret(files.key, _pem(key), replace=True)
    _write_public(files.cert, certificate)


def _serves(files: Files, wanted: list[x509.GeneralName], now: datetime) -> bool:
    """Tell whether the server certificate is there, ours, long enough and for these names."""
    try:
        certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        authority = x509.load_pem_x509_certificate(files.ca_cert.read_bytes())
        certificate.verify_directly_issued_by(authority)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except Exception:  # whatever is wrong with it, a new one mends it
        return False
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc - now > RENEW_BEFORE
        and set(wanted) <= set(extension.value)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _write_public(path: Path, certificate: x509.Certificate) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    part.replace(path)


def how_to_trust(config: Config, lang: Lang) -> str:
    """Tell a person how to trust the local authority; makes it where there is none yet.

    Raises `OSError`.
    """
    files = ensure(config.data.dir / "tls")
    text = _TRUST_KO if lang == "ko" else _TRUST_EN
    return text.format(path=files.ca_cert, fingerprint=_in_rows(fingerprint(files.ca_cert)))


def _in_rows(print_: str) -> str:
    return "\n  ".join((print_[:48].rstrip(":"), print_[48:]))


_TRUST_KO = """\
로컬 인증 기관의 인증서 파일:
  {path}
SHA-256 지문 (기기에 나오는 값과 같은지 확인하세요):
  {fingerprint}

이 파일(ca.crt)만 기기로 옮기거나 기기에서 https://주소:포트/ca.crt 를 열어 설치합니다.
ca.key는 절대 옮기지 마세요.

Windows         파일을 두 번 누르기 → 인증서 설치 → 로컬 컴퓨터
                → '신뢰할 수 있는 루트 인증 기관'에 저장
macOS           키체인 접근에서 열기 → '시스템' 키체인 → 신뢰: 항상 신뢰
Android         설정 → 보안 → 암호화 및 사용자 인증 정보 → 인증서 설치 → CA 인증서
iPhone, iPad    파일 열기 → 설정 → '프로파일이 다운로드됨' → 설치
                → 설정 → 일반 → 정보 → 인증서 신뢰 설정에서 켜기
Linux (Debian)  sudo cp {path} /usr/local/share/ca-certificates/metaport.crt
                sudo update-ca-certificates
Firefox         설정 → 개인 정보 및 보안 → 인증서 보기 → 인증 기관 → 가져오기

시험이 끝나면 기기에서 지우세요.
운영에서는 리버스 프록시나 공인 인증서(http.tls = "files")를 씁니다."""

_TRUST_EN = """\
The local authority's certificate:
  {path}
SHA-256 fingerprint (compare it with what the device shows):
  {fingerprint}

Copy only this file (ca.crt) to the device, never ca.key, or open https://ADDRESS:PORT/ca.crt
on the device, and install it there.

Windows         double-click → Install Certificate → Local Machine
                → "Trusted Root Certification Authorities"
macOS           open in Keychain Access → System keychain → Trust: Always Trust
Android         Settings → Security → Encryption & credentials → Install a certificate
                → CA certificate
iPhone, iPad    open the file → Settings → Profile Downloaded → Install
                → Settings → General → About → Certificate Trust Settings: on
Linux (Debian)  sudo cp {path} /usr/local/share/ca-certificates/metaport.crt
                sudo update-ca-certificates
Firefox         Settings → Privacy & Security → View Certificates → Authorities → Import

Remove it from the device after the trial. Production uses a reverse proxy or a public
certificate (http.tls = "files")."""
