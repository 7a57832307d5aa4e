from chatd import errors


def test_codes_and_reasons_are_unique():
    for table in (errors.REFUSALS, errors.CLOSES):
        assert len({row.code for row in table}) == len(table)
        assert len({row.reason for row in table}) == len(table)


def test_the_tables_hold_every_row_of_the_module():
    rows = [value for value in vars(errors).values() if isinstance(value, errors.Refusal)]
    closes = [value for value in vars(errors).values() if isinstance(value, errors.Close)]
    assert set(rows) == set(errors.REFUSALS)
    assert set(closes) == set(errors.CLOSES)


def test_codes_100_to_199_are_ours_and_those_that_close_begin_at_150():
    for refusal in errors.REFUSALS:
        assert 100 <= refusal.code < 200
        assert (refusal.code >= 150) == (refusal.closes is not None)


def test_a_close_has_the_reason_of_the_refusal_before_it():
    for refusal in errors.REFUSALS:
        if refusal.closes is not None:
            assert refusal.closes.reason == refusal.reason


def test_media_refusals_carry_the_sfus_code():
    refused = errors.MediaRefused(301, "bad_sdp", "not SDP", retry_after_ms=5)
    assert (refused.refusal.code, refused.refusal.reason) == (301, "bad_sdp")
    assert (refused.message, refused.retry_after_ms) == ("not SDP", 5)
    assert refused.refusal.closes is None
