from chatd.errors import DRAINING
from chatd.outbox import Outbox


class Pipe:
    """Takes `room` bytes, the rest stays unsent."""

    def __init__(self, room=10**9):
        self.room = room
        self.written = []
        self.closed = None

    def write(self, data):
        self.written.append(data)
        return self.unsent_bytes()

    def unsent_bytes(self):
        return max(0, sum(map(len, self.written)) - self.room)

    def close(self, close):
        self.closed = close


def test_everything_since_the_last_flush_is_one_write():
    pipe = Pipe()
    outbox = Outbox(pipe, 100)
    assert outbox.append(b"a")
    assert not outbox.append(b"b")
    assert outbox.pending_bytes == 2
    assert not outbox.flush()
    assert pipe.written == [b"ab"]
    assert outbox.pending_bytes == 0
    assert outbox.append(b"c")


def test_nothing_is_no_write():
    pipe = Pipe()
    assert not Outbox(pipe, 100).flush()
    assert pipe.written == []


def test_a_lone_chunk_is_shared_and_not_copied():
    pipe = Pipe()
    outbox = Outbox(pipe, 100)
    data = b"the same bytes for everyone"
    outbox.append(data)
    outbox.flush()
    assert pipe.written[0] is data


def test_overflow_is_what_stays_unsent_beyond_the_bound():
    pipe = Pipe(room=50)
    outbox = Outbox(pipe, 100)
    outbox.append(bytes(150))
    assert not outbox.flush()
    outbox.append(b"x")
    assert outbox.flush()
    assert outbox.queue_bytes == 101


def test_an_excused_answer_may_be_over_the_bound_until_it_is_sent():
    pipe = Pipe(room=0)
    outbox = Outbox(pipe, 100)
    outbox.append(bytes(500))
    outbox.excuse(500)
    assert not outbox.flush()
    outbox.append(bytes(100))
    assert not outbox.flush()
    pipe.room = 10**9
    outbox.append(b"x")
    assert not outbox.flush()
    pipe.room = 0
    assert outbox.append(bytes(1))
    assert outbox.flush()


def test_close_comes_after_what_is_queued():
    pipe = Pipe()
    outbox = Outbox(pipe, 100)
    outbox.append(b"last words")
    outbox.close(DRAINING)
    assert pipe.written == [b"last words"]
    assert pipe.closed is DRAINING
