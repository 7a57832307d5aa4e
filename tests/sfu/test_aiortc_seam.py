"""What `aiortc_seam` relies on in aiortc and pylibsrtp; how its keys behave is `test_transport`."""

from importlib.metadata import version

from aiortc import rtcdtlstransport
from OpenSSL import SSL
from pylibsrtp import ERRORS

from sfu import aiortc_seam
from sfu.aiortc_seam import Certificate, DtlsSrtp
from tests.sfu.memory_peer import Network


def test_aiortc_is_the_version_the_seam_was_written_for() -> None:
    assert version("aiortc") == "1.16.0"


def test_gcm_with_128_bits_is_offered_first_and_256_not_at_all() -> None:
    names = [profile.openssl_profile for profile in aiortc_seam.SRTP_PROFILES]
    assert names == [b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"]
    assert len(rtcdtlstransport.SRTP_PROFILES) == 3


def test_the_status_codes_of_libsrtp_are_those_we_count_by() -> None:
    names = {ERRORS[status]: cause for status, cause in aiortc_seam._UNPROTECT_CAUSES.items()}
    assert names == {
        "authentication failure": "srtp_bad_authentication",
        "replay check failed (bad index)": "srtp_replayed",
        "replay check failed (index too old)": "srtp_replayed",
    }


def test_the_fingerprint_is_the_certificates_sha_256(certificate: Certificate) -> None:
    assert certificate.fingerprint.algorithm == "sha-256"
    assert len(certificate.fingerprint.value.split(":")) == 32
    assert certificate.fingerprint == certificate.fingerprint
    assert certificate.fingerprint != Certificate().fingerprint


async def test_closing_twice_or_before_the_start_is_harmless(certificate: Certificate) -> None:
    told: list[str] = []
    dtls = DtlsSrtp(
        certificate,
        lambda datagram: told.append("sent"),
        on_connected=lambda: told.append("connected"),
        on_closed=told.append,
    )
    assert not dtls.started
    dtls.close()
    dtls.close()
    assert not dtls.connected
    assert told == []


async def test_handshakes_share_one_openssl_context(network: Network) -> None:
    """One of its own costs each transport 30 KiB."""
    contexts = set()
    for _ in range(2):
        transport = network.transports.open(0.0)
        peer = network.peer()
        transport.accept([peer.fingerprint], peer.credentials, 0.0)
        await peer.connect(transport.credentials, network.transports.certificate.fingerprint)
        contexts.add(id(transport._dtls._dtls._ssl.get_context()))
        assert (
            transport._dtls._dtls._ssl.get_context().get_session_cache_mode() == SSL.SESS_CACHE_OFF
        )
    assert len(contexts) == 1
