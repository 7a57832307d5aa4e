"""Prometheus exposition of one hub process and the SFUs (names: base units, `_total` counters)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# name without prefix: (kind, help)
CHAT = {
    "connections": ("gauge", "Open chat connections"),
    "rooms": ("gauge", "Rooms in memory"),
    "queue_bytes": ("gauge", "Bytes waiting in outboxes"),
    "messages_in": ("counter", "Messages accepted"),
    "messages_out": ("counter", "Live message frames written for connections"),
    "bytes_in": ("counter", "Bytes of frames received"),
    "bytes_out": ("counter", "Bytes of frames written"),
    "recovered": ("counter", "Messages recovered by joins"),
    "states_in": ("counter", "Values of the moment accepted"),
    "states_out": ("counter", "Frames of such values written"),
    "states_dropped": ("counter", "Values of the moment over the rate or the queue"),
    "bad_frames": ("counter", "Frames that could not be decoded"),
}
CHAT_BY = {
    "errors": ("reason", "Errors answered"),
    "limited": ("limit", "Frames refused for a rate"),
    "closes": ("code", "Connections closed by the server"),
}
SFU = {
    "rooms": ("gauge", "Rooms with media"),
    "participants": ("gauge", "Participants in media"),
    "tracks": ("gauge", "Published tracks"),
    "subscriptions": ("gauge", "Forwarded track subscriptions"),
    "packets_in": ("counter", "RTP packets received"),
    "packets_forwarded": ("counter", "RTP packets forwarded"),
    "bytes_in": ("counter", "RTP bytes received"),
    "bytes_forwarded": ("counter", "RTP bytes forwarded"),
    "nack_in": ("counter", "Packets asked again by receivers"),
    "nack_out": ("counter", "Packets asked again of publishers"),
    "rtx": ("counter", "Packets sent again to receivers"),
    "pli_in": ("counter", "Key frame requests by receivers"),
    "pli_out": ("counter", "Key frame requests passed on to publishers"),
    "tcp_accepted": ("counter", "TCP connections accepted for media"),
}
SFU_BY = {"dropped": ("cause", "Datagrams and packets dropped")}
# Each has the same few classes whoever is there, so that series stay few.
SFU_CLASSES = {
    "subscriptions_by_loss": ("up_to_percent", "Forwarded streams by the loss receivers report"),
    "subscriptions_by_rtt": ("up_to_ms", "Forwarded streams by round trip to the receiver"),
    "tracks_by_loss": ("up_to_percent", "Published tracks by loss on the way here"),
    "tracks_by_codec": ("codec", "Published tracks by codec"),
    "connections_by_path": ("path", "Connections by protocol and address family"),
}


@dataclass
class Reading:
    """Figures of one scrape."""

    chat: Mapping[str, Any]
    sfus: Mapping[str, Mapping[str, Any] | None]  # by process; None: it did not answer
    gauges: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # name: (help, value)
    lag: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # metric: process: value


class ReadingCollector(Collector):
    """Turn one reading into metric families."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterable[Metric]:
        """Yield the families of this reading."""
        reading = self._reading
        yield from _families("metaport_chat", reading.chat, CHAT, CHAT_BY)
        yield from _sfu_families(reading.sfus)
        for name, (text, value) in reading.gauges.items():
            yield GaugeMetricFamily(f"metaport_{name}", text, value=value)
        for name, by_process in reading.lag.items():
            family = GaugeMetricFamily(
                f"metaport_{name}", name.replace("_", " ").capitalize(), labels=["process"]
            )
            for process, value in by_process.items():
                family.add_metric([process], value)
            yield family


def _families(
    prefix: str,
    figures: Mapping[str, Any],
    plain: Mapping[str, tuple[str, str]],
    labelled: Mapping[str, tuple[str, str]],
) -> Iterable[Metric]:
    for name, (kind, text) in plain.items():
        family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        yield family(f"{prefix}_{name}", text, value=figures.get(name, 0))
    for name, (label, text) in labelled.items():
        counter = CounterMetricFamily(f"{prefix}_{name}", text, labels=[label])
        for value, count in figures.get(name, {}).items():
            counter.add_metric([str(value)], count)
        yield counter


def _sfu_families(sfus: Mapping[str, Mapping[str, Any] | None]) -> Iterable[Metric]:
    """Yield the families of all SFU processes, each labelled with the process."""
    up = GaugeMetricFamily("metaport_sfu_up", "Whether the SFU answers", labels=["sfu"])
    for sfu, figures in sfus.items():
        up.add_metric([sfu], float(figures is not None))
    yield up
    answered = {sfu: figures for sfu, figures in sfus.items() if figures is not None}
    if not answered:
        return
    for name, (kind, text) in SFU.items():
        family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        metric = family(f"metaport_sfu_{name}", text, labels=["sfu"])
        for sfu, figures in answered.items():
            metric.add_metric([sfu], figures.get(name, 0))
        yield metric
    for name, (label, text) in SFU_BY.items():
        counter = CounterMetricFamily(f"metaport_sfu_{name}", text, labels=["sfu", label])
        for sfu, figures in answered.items():
            for value, count in figures.get(name, {}).items():
                counter.add_metric([sfu, str(value)], count)
        yield counter
    for name, (label, text) in SFU_CLASSES.items():
        gauge = GaugeMetricFamily(f"metaport_sfu_{name}", text, labels=["sfu", label])
        for sfu, figures in answered.items():
            for value, count in figures.get(name, {}).items():
                gauge.add_metric([sfu, str(value)], count)
        yield gauge


def expose(reading: Reading) -> tuple[bytes, str]:
    """Render one reading in the Prometheus text format; returns body and content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ReadingCollector(reading))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def combine(expositions: Mapping[str, bytes | None]) -> bytes:
    """Return the figures of several hubs as one exposition, each labelled with its hub.

    None is a hub that did not answer. What an SFU says is told by the first hub alone.
    """
    up = GaugeMetricFamily("metaport_hub_up", "Whether the hub answers", labels=["hub"])
    families: dict[str, Metric] = {}
    first = True
    for hub, text in expositions.items():
        found = None if text is None else _families_in(text)
        up.add_metric([hub], float(found is not None))
        if found is None:
            continue
        for family in found:
            media = family.name.startswith("metaport_sfu")
            if media and not first:
                continue
            kept = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = sample.labels if media else {"hub": hub, **sample.labels}
                kept.add_sample(sample.name, labels, sample.value)
        first = False
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered([up, *families.values()]))
    return generate_latest(registry)


def _families_in(text: bytes) -> list[Metric] | None:
    """Read an exposition; None where it is none: one hub's must not take the others' with it."""
    try:
        return list(text_string_to_metric_families(text.decode()))
    except ValueError:
        return None


class _Gathered(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
