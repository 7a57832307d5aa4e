"""A certificate takes a millisecond to make and is the same for every test."""

import pytest

from sfu.aiortc_seam import Certificate
from tests.sfu.memory_peer import Clock, Network


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    return Certificate()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def network(clock: Clock, certificate: Certificate) -> Network:
    return Network(clock, certificate)
