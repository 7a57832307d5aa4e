from sfu.loudness import SILENCE, Loudness


def heard(loudness: Loudness, level: int, start: float, packets: int) -> float:
    for index in range(packets):
        loudness.receive(level, start + index * 0.02)
    return start + packets * 0.02


def test_a_voice_shows_within_100_ms() -> None:
    loudness = Loudness()
    heard(loudness, 25, 0.0, 5)
    assert loudness.speaking


def test_a_click_is_not_a_voice() -> None:
    loudness = Loudness()
    heard(loudness, 25, heard(loudness, 127, 0.0, 50), 1)
    assert not loudness.speaking


def test_gaps_between_words_do_not_end_a_voice() -> None:
    loudness = Loudness()
    at = heard(loudness, 25, 0.0, 20)
    at = heard(loudness, 127, at, 15)
    assert loudness.speaking
    heard(loudness, 127, at, 30)
    assert not loudness.speaking


def test_a_voice_between_the_thresholds_stays_what_it_was() -> None:
    loudness = Loudness()
    at = heard(loudness, 50, 0.0, 200)
    assert not loudness.speaking
    at = heard(loudness, 25, at, 20)
    heard(loudness, 50, at, 200)
    assert loudness.speaking


def test_packets_that_stop_end_a_voice() -> None:
    loudness = Loudness()
    at = heard(loudness, 25, 0.0, 20)
    loudness.handle_timeout(at + 0.1)
    assert loudness.speaking
    loudness.handle_timeout(at + 0.6)
    assert not loudness.speaking
    assert loudness.level == SILENCE


def test_the_level_follows_what_is_heard() -> None:
    loudness = Loudness()
    heard(loudness, 30, 0.0, 100)
    assert abs(loudness.level + 30) < 0.1
