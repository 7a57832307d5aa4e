from itertools import chain, repeat

from sfu.forwarding import Tally
from sfu.viewing import Viewing
from tests.sfu.memory_peer import Network


def test_two_streams_never_get_one_ssrc(network: Network) -> None:
    """Chance may repeat itself, and gives 0, which means none in a description."""
    numbers = chain([0, 5, 5, 0, 6], repeat(7))
    viewing = Viewing(
        network.transports,
        random=lambda count: next(numbers).to_bytes(count, "big"),
        tally=Tally(),
        now=0.0,
    )
    assert [viewing._ssrc(), viewing._ssrc(), viewing._ssrc()] == [5, 6, 7]
