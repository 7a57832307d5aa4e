from chatd.counters import Counters


def test_queue_bytes_are_computed_when_asked():
    queue = [5]
    counters = Counters(lambda: queue[0])
    assert counters.queue_bytes == 5
    queue[0] = 7
    assert counters.queue_bytes == 7
