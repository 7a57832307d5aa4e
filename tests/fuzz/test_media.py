"""Every input that ever broke a parser of the SFU, and a short run of each campaign."""

import pytest

from tests.fuzz.campaign import Campaign, Target, kept
from tests.fuzz.media import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_once_broke_a_parser_does_not_again(target: Target) -> None:
    for path in kept(target):
        target.attempt(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_inputs_have_documented_outcomes(target: Target) -> None:
    campaign = Campaign(target, seed=7)
    for _ in range(300):
        campaign.step()
    assert campaign.crashes == []
    assert len(campaign.outcomes) > 2
