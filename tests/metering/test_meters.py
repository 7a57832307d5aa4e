"""The meters: fixed names, one definition each in two languages, classes by pixels."""

import re

import pytest

from metering import meters
from metering.meters import FIGURES, GAUGES, METERS, participation_meter, video_meter
from metering.units import Unit


def test_the_names_are_those_of_the_public_interface() -> None:
    assert list(METERS) == [
        "chat.messages_sent",
        "chat.messages_delivered",
        "chat.messages_recovered",
        "chat.connection_seconds",
        "voice.participant_seconds",
        "video.participant_seconds.sd",
        "video.participant_seconds.hd",
        "video.participant_seconds.fhd",
        "video.participant_seconds.2k",
        "video.participant_seconds.2k_plus",
        "media.ingress_bytes",
        "media.egress_bytes",
    ]


@pytest.mark.parametrize("meter", METERS.values(), ids=list(METERS))
def test_each_meter_is_defined_in_one_sentence_of_each_language(meter: meters.Meter) -> None:
    assert re.fullmatch(r"[A-Z][^.]*\.", meter.definition("en"))
    assert re.fullmatch(r"[^.]*다\.", meter.definition("ko"))
    assert meter.title("ko") != meter.title("en")


def test_titles_are_not_mistaken_for_each_other() -> None:
    for lang in ("ko", "en"):
        assert len({meter.title(lang) for meter in METERS.values()}) == len(METERS)


@pytest.mark.parametrize(
    ("name", "unit"), [("messages", Unit.MESSAGE), ("seconds", Unit.SECOND), ("bytes", Unit.BYTE)]
)
def test_the_unit_is_in_the_name(name: str, unit: Unit) -> None:
    assert all(meter.unit is unit for meter in METERS.values() if name in meter.name)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (1, "sd"),
        (640 * 480, "sd"),
        (640 * 480 + 1, "hd"),
        (1280 * 720, "hd"),
        (1280 * 720 + 1, "fhd"),
        (1920 * 1080, "fhd"),
        (1920 * 1080 + 1, "2k"),
        (2560 * 1440, "2k"),
        (2560 * 1440 + 1, "2k_plus"),
        (7680 * 4320, "2k_plus"),
    ],
)
def test_the_class_is_that_of_the_summed_pixels(pixels: int, name: str) -> None:
    assert video_meter(pixels) == f"video.participant_seconds.{name}"
    assert participation_meter(pixels) == video_meter(pixels)


def test_without_video_participation_is_voice() -> None:
    assert participation_meter(0) == meters.VOICE_SECONDS


def test_figures_are_no_priced_meters_and_say_what_they_are() -> None:
    assert not FIGURES.keys() & METERS.keys()
    assert FIGURES.keys() >= GAUGES
    for figure in FIGURES.values():
        assert figure.definition("ko").endswith("다.")
        assert figure.definition("en").endswith(".")
