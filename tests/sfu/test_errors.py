"""The table of refusals is what clients are promised."""

import sfu.errors
from sfu.errors import REFUSALS, HostileBytes, Refused, RtcpError, RtpError, SfuError, StunError


def test_codes_are_unique_and_in_the_range_of_media() -> None:
    codes = [refusal.code for refusal in REFUSALS.values()]
    assert len(set(codes)) == len(codes)
    assert all(300 <= code <= 399 for code in codes)


def test_only_what_may_pass_by_itself_says_when_to_retry() -> None:
    for refusal in REFUSALS.values():
        assert (refusal.retry_after_ms is not None) == (refusal.code >= 390)


def test_a_refusal_carries_its_row() -> None:
    refused = Refused("bad_sdp", "no m-line")
    assert (refused.code, refused.reason, refused.retry_after_ms) == (303, "bad_sdp", None)
    assert refused.message.endswith(": no m-line")


def test_hostile_bytes_name_their_counter() -> None:
    for kind in (StunError, RtpError, RtcpError):
        error = kind("some_cause")
        assert isinstance(error, HostileBytes)
        assert error.cause == "some_cause"


def test_the_tree_in_the_docstring_is_complete() -> None:
    classes = [
        name
        for name, value in vars(sfu.errors).items()
        if isinstance(value, type) and issubclass(value, SfuError)
    ]
    assert all(name in (sfu.errors.__doc__ or "") for name in classes)
