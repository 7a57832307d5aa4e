from dataclasses import replace

import pytest
from aiortc.sdp import SessionDescription

from loadtest.offer import AUDIO, VIDEO, AnswerError, Line, Local, answer, offer, read_answer

LOCAL = Local("abcd", "p" * 22, "AA:BB")
ANSWER = """v=0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=ice-ufrag:Tc02
a=ice-pwd:48z1I9d8rSD/J9oL2tsguxGZ
a=candidate:1 1 udp 2130706431 fd00::2 7882 typ host
a=candidate:2 1 udp 2130706430 192.0.2.7 7882 typ host
"""


def test_an_offer_bundles_its_lines_and_says_what_is_sent():
    parsed = SessionDescription.parse(offer(LOCAL, [Line(AUDIO, "0", 77), Line(VIDEO, "1")]))
    assert [m.kind for m in parsed.media] == ["audio", "video"]
    assert [m.direction for m in parsed.media] == ["sendonly", "recvonly"]
    assert [[s.ssrc for s in m.ssrc] for m in parsed.media] == [[77], []]
    assert parsed.group[0].items == ["0", "1"]
    assert {m.ice.usernameFragment for m in parsed.media} == {"abcd"}
    assert [m.rtp.codecs[0].name for m in parsed.media] == ["opus", "VP8"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_an_answer_gives_credentials_and_the_first_ipv4_candidate(ending):
    answer = read_answer(ANSWER.replace("\n", ending))
    assert (answer.ufrag, answer.password) == ("Tc02", "48z1I9d8rSD/J9oL2tsguxGZ")
    assert answer.address == ("192.0.2.7", 7882)


@pytest.mark.parametrize("missing", ["a=ice-ufrag", "a=ice-pwd", "a=candidate:2"])
def test_an_answer_that_lacks_something_is_refused(missing):
    with pytest.raises(AnswerError, match="missing"):
        read_answer("\n".join(x for x in ANSWER.splitlines() if not x.startswith(missing)))


OFFERED = """v=0
a=group:BUNDLE 0
a=ice-lite
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=sendonly
a=mid:0
a=ice-ufrag:Tc02
a=ice-pwd:48z1I9d8rSD/J9oL2tsguxGZ
a=fingerprint:sha-256 CC:DD
a=setup:actpass
a=rtpmap:111 opus/48000/2
a=ssrc:5 cname:janus
a=candidate:1 1 udp 2015363327 192.0.2.7 41787 typ host
"""


def test_a_servers_offer_is_accepted_as_it_stands_under_our_credentials():
    parsed = SessionDescription.parse(answer(replace(LOCAL, address=("192.0.2.9", 5)), OFFERED))
    (media,) = parsed.media
    assert media.direction == "recvonly"
    assert media.dtls.role == "client"
    assert (media.ice.usernameFragment, media.ice.iceLite) == ("abcd", False)
    assert [(c.ip, c.port) for c in media.ice_candidates] == [("192.0.2.9", 5)]
    assert media.ssrc == []
    assert [c.name for c in media.rtp.codecs] == ["opus"]
