import pytest

from sfu.reception import Reception, SenderReport


def test_loss_is_reported_since_the_last_report_and_in_all() -> None:
    reception = Reception()
    for index in range(75):
        reception.receive(index * 960, 48000, index * 0.02)
    fraction, lost, *_ = reception.report(100, 2.0)
    assert (fraction, lost) == (64, 25)
    for index in range(100):
        reception.receive(index * 960, 48000, 2 + index * 0.02)
    fraction, lost, *_ = reception.report(200, 4.0)
    assert (fraction, lost) == (0, 25)


def test_packets_of_the_last_interval_that_came_late_are_no_negative_loss() -> None:
    reception = Reception()
    for _ in range(50):
        reception.receive(0, 48000, 0.0)
    assert reception.report(100, 1.0)[0] == 128
    for _ in range(110):
        reception.receive(0, 48000, 1.0)
    assert reception.report(200, 2.0)[:2] == (0, 40)


def test_losing_everything_is_at_most_255() -> None:
    reception = Reception()
    assert reception.report(100, 1.0)[0] == 255


def test_an_even_stream_has_no_jitter_across_the_wrap_of_timestamps() -> None:
    reception = Reception()
    for index in range(200):
        timestamp = (0xFFFFFFFF - 9600 + index * 960) & 0xFFFFFFFF
        reception.receive(timestamp, 48000, 5 + index * 0.02)
    assert reception.report(200, 9.0)[2] == 0


def test_jitter_is_in_timestamp_units() -> None:
    reception = Reception()
    for index in range(400):
        late = 0.005 if index % 2 else 0.0
        reception.receive(index * 960, 48000, index * 0.02 + late)
    assert abs(reception.jitter - 240) < 1


def test_the_last_sender_report_comes_back_with_its_age() -> None:
    reception = Reception()
    assert reception.report(0, 1.0)[3:] == (0, 0)
    reception.sender_report = SenderReport(0x1234_5678_9ABC_DEF0, 0, arrival=10.0)
    assert reception.report(0, 11.5)[3:] == (0x5678_9ABC, 98304)


def test_a_sender_report_is_carried_on() -> None:
    report = SenderReport(5 << 32, 90000, arrival=100.0)
    assert report.at(100.5, 90000) == ((5 << 32) + (1 << 31), 135000)


def test_of_what_was_healed_half_is_reported_as_lost():
    """At a chance of 10 % Chromium's estimate fell to 30 kbit/s, and a key frame took a second."""
    reception = Reception()
    for number in range(80):
        reception.receive(number * 960, 48000, number / 50)
    reception.healed = 16
    fraction, lost, *_ = reception.report(100, 2.0)
    assert (fraction, lost) == ((12 << 8) // 100, 12)
    assert reception.fraction_lost == pytest.approx(0.2, abs=0.01)


def test_of_sound_all_that_was_lost_is_reported():
    """With half of it Opus put in less error correction: 1.2 % of the sound was guessed at 5 %."""
    reception = Reception(softened=False)
    for number in range(80):
        reception.receive(number * 960, 48000, number / 50)
    reception.healed = 16
    assert reception.report(100, 2.0)[:2] == ((20 << 8) // 100, 20)
