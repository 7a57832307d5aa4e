import asyncio

import pytest

from chatd import relay as relay_module
from chatd.errors import INTERNAL, NO_MEDIA, MediaRefused
from chatd.relay import Relay


class Sfu:
    """Answers when told to, in whatever order."""

    def __init__(self):
        self.asked = asyncio.Queue()
        self.cancelled = []
        self.closings = []

    async def request(self, client, frame):
        answer = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((frame, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled.append(frame)
            raise

    def closed(self, client):
        self.closings.append(client)


class Desk:
    """A relay, its SFU, and the answers it gave."""

    def __init__(self):
        self.sfu = Sfu()
        self.answers = asyncio.Queue()
        self.relay = Relay(self.sfu, "client", lambda *answer: self.answers.put_nowait(answer))


async def test_requests_go_one_after_the_other_in_order():
    desk = Desk()
    desk.relay.submit(1, {"t": "media.a"})
    desk.relay.submit(2, {"t": "media.b"})
    frame, answer = await desk.sfu.asked.get()
    assert frame == {"t": "media.a"}
    assert desk.sfu.asked.empty()
    assert desk.relay.pending == 1
    answer.set_result({"t": "media.done"})
    assert await desk.answers.get() == (1, {"t": "media.done"})
    frame, answer = await desk.sfu.asked.get()
    assert frame == {"t": "media.b"}
    answer.set_result({})
    assert await desk.answers.get() == (2, {})


async def test_a_refusal_is_an_answer_and_the_next_goes_on():
    desk = Desk()
    desk.relay.submit(1, {})
    desk.relay.submit(2, {})
    (await desk.sfu.asked.get())[1].set_exception(MediaRefused(301, "bad_sdp", "not SDP"))
    request_id, refused = await desk.answers.get()
    assert (request_id, refused.refusal.reason) == (1, "bad_sdp")
    (await desk.sfu.asked.get())[1].set_result({})
    assert await desk.answers.get() == (2, {})


async def test_a_bug_in_media_is_internal(caplog):
    desk = Desk()
    desk.relay.submit(1, {})
    (await desk.sfu.asked.get())[1].set_exception(ZeroDivisionError("secret"))
    _, refused = await desk.answers.get()
    assert refused.refusal is INTERNAL
    assert "secret" not in refused.message
    assert "media request failed" in caplog.text


async def test_an_sfu_that_does_not_answer_is_no_media(monkeypatch):
    monkeypatch.setattr(relay_module, "REQUEST_TIMEOUT_S", 0.0)
    desk = Desk()
    desk.relay.submit(1, {})
    _, refused = await desk.answers.get()
    assert refused.refusal is NO_MEDIA
    assert refused.retry_after_ms


async def test_nobody_is_told_the_answer_to_a_frame_without_id():
    desk = Desk()
    desk.relay.submit(None, {"t": "media.leave"})
    desk.relay.submit(2, {})
    (await desk.sfu.asked.get())[1].set_result({})
    (await desk.sfu.asked.get())[1].set_result({})
    assert (await desk.answers.get())[0] == 2


@pytest.mark.parametrize("under_way", [False, True])
async def test_the_end_cancels_drops_and_tells_media(under_way):
    desk = Desk()
    if under_way:
        desk.relay.submit(1, {"t": "media.a"})
        desk.relay.submit(2, {"t": "media.b"})
        await desk.sfu.asked.get()
    desk.relay.end()
    assert desk.sfu.closings == ["client"]
    await asyncio.sleep(0)
    assert desk.sfu.cancelled == ([{"t": "media.a"}] if under_way else [])
    assert desk.answers.empty()
    assert desk.relay.pending == 0
