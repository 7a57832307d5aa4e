"""What Redis can lose as it is configured, in words, and where it keeps less than was promised."""

import msgspec
import pytest

from chatd.redis_options import Durability
from chatd.redis_standing import Standing, shortfall, standing_of, weakest
from metaport.durability import losses, sentence, short_of

ALWAYS = Standing("always", 1, 1)


@pytest.mark.parametrize(
    ("promised", "standing", "said"),
    [
        (Durability("always", 1), ALWAYS, ["loses nothing", "loses nothing acknowledged"]),
        (Durability("always"), ALWAYS, ["loses nothing", "the replica had not received"]),
        (Durability("always"), Standing("always", 0, 0), ["nothing", "there is no replica"]),
        (Durability("everysec"), None, ["up to the last 2 s", "had not received"]),
        (Durability("always"), Standing("no", 1, 0), ["about the last 30 s", "had not received"]),
        (Durability("always"), Standing("none", 1, 0), ["last snapshot", "had not received"]),
        (
            Durability("always", 2),
            Standing("always", 2, 0),
            ["nothing", "2 replicas", "min-replicas-to-write 0"],
        ),
        (Durability("none"), Standing("always", 1, 0), ["last snapshot", "had not received"]),
        (Durability("everysec"), Standing(None, 1, None), ["2 s", "had not received"]),
    ],
)
def test_each_setting_says_what_it_can_lose(promised, standing, said):
    told = losses(promised, standing)
    assert len(told) == len(said)
    for each, part in zip(told, said, strict=True):
        assert part in each.en
        assert any("가" <= letter <= "힣" for letter in each.ko)
    assert sentence(told).en.count("; ") == len(told) - 1


def test_less_than_was_promised_is_told():
    assert shortfall(ALWAYS, Durability("always", 1)) is None
    assert "appendfsync everysec" in str(
        shortfall(Standing("everysec", 1, 1), Durability("always"))
    )
    assert "min-replicas-to-write 0" in str(
        shortfall(Standing("always", 2, 0), Durability("always", 1))
    )
    assert shortfall(Standing("always", 2, 0), Durability("always")) is None
    assert shortfall(Standing(None, 0, None), Durability("always", 1)) is None


def test_it_is_told_in_both_languages():
    for standing in (Standing("everysec", 1, 1), Standing("always", 2, 0)):
        said = short_of(Durability("always", 1), standing)
        assert said is not None
        assert said.en == shortfall(standing, Durability("always", 1))
        assert any("가" <= letter <= "힣" for letter in said.ko)
        assert "but the" not in said.ko
    assert short_of(Durability("always", 1), ALWAYS) is None


def test_the_weakest_node_of_a_cluster_counts():
    nodes = [ALWAYS, Standing("everysec", 3, None), Standing(None, 2, 0)]
    assert weakest(nodes) == Standing("everysec", 1, 0)
    assert weakest([]) is None


def test_what_a_server_says_is_read_and_what_it_does_not_tell_is_unknown():
    info = {"connected_slaves": "2"}
    told = [b"appendonly", b"yes", b"appendfsync", b"always", b"min-replicas-to-write", b"1"]
    assert standing_of(info, told) == Standing("always", 2, 1)
    off = [b"appendonly", b"no", b"appendfsync", b"always"]
    assert standing_of({}, off) == Standing("none", 0, None)
    assert standing_of(info, msgspec.MsgspecError("NOPERM")) == Standing(None, 2, None)
