"""The exposition, read back by the official parser."""

from prometheus_client.parser import text_string_to_metric_families

from metaport.metrics import Reading, expose


def samples(reading):
    body, _ = expose(reading)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_chat_and_sfu_figures_stand_under_their_prometheus_names():
    read = samples(
        Reading(
            chat={"connections": 3, "messages_in": 7, "errors": {"bad_body": 2}},
            sfus={
                "sfu": {"packets_forwarded": 11, "dropped": {"stun_malformed": 5}},
                "sfu-1": {"packets_forwarded": 3, "tracks_by_loss": {"2": 7}},
                "sfu-2": None,
            },
            gauges={"ledger_lag_seconds": ("Age of the ledger", 1.5)},
            lag={"log_lag_bytes": {"hub": 0, "sfu": 9}},
        )
    )
    assert read["metaport_chat_connections",] == 3
    assert read["metaport_chat_messages_in_total",] == 7
    assert read["metaport_chat_errors_total", "bad_body"] == 2
    assert read["metaport_sfu_packets_forwarded_total", "sfu"] == 11
    assert read["metaport_sfu_packets_forwarded_total", "sfu-1"] == 3
    assert read["metaport_sfu_dropped_total", "stun_malformed", "sfu"] == 5
    assert read["metaport_sfu_tracks_by_loss", "sfu-1", "2"] == 7
    assert (read["metaport_sfu_up", "sfu"], read["metaport_sfu_up", "sfu-2"]) == (1, 0)
    assert read["metaport_ledger_lag_seconds",] == 1.5
    assert read["metaport_log_lag_bytes", "sfu"] == 9


def test_an_absent_sfu_is_told_and_has_no_figures():
    read = samples(Reading(chat={}, sfus={"sfu": None}))
    assert read["metaport_sfu_up", "sfu"] == 0
    assert not [name for name, *_ in read if name.startswith("metaport_sfu_packets")]
