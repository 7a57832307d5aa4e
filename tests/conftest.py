"""An exception nobody handled, in a task or a callback of the loop, fails the test it came from."""

import gc
import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however busy the machine; `--hypothesis-profile=search` looks on.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "search", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


class Unhandled(logging.Handler):
    """Keep what asyncio and uvloop report when nobody took an exception."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reports: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reports.append(self.format(record))


def pytest_collection_finish() -> None:
    """Set everything imported aside, so that the collection after each test costs microseconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _unhandled_exceptions_fail(request: pytest.FixtureRequest) -> Iterator[None]:
    unhandled = Unhandled()
    logger = logging.getLogger("asyncio")
    logger.addHandler(unhandled)
    yield
    if request.node.get_closest_marker("asyncio"):
        gc.collect()  # a task in a reference cycle reports its exception only when it is freed
    logger.removeHandler(unhandled)
    if unhandled.reports:
        pytest.fail("unhandled in the event loop:\n" + "\n".join(unhandled.reports), pytrace=False)


@pytest.fixture(autouse=True)
def _nobody_rules_the_processors() -> Iterator[None]:
    """A test that leaves this thread real-time hands it on to every server and browser after it."""
    yield
    if hasattr(os, "sched_getscheduler"):
        policy = os.sched_getscheduler(0)
        if policy in (os.SCHED_FIFO, os.SCHED_RR):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            pytest.fail("this test left the thread under real-time scheduling", pytrace=False)
