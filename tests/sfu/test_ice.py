"""The ICE-lite agent: who is believed, where answers and media go, when consent ends."""

from os import urandom

import pytest
from aioice import stun

from sfu.errors import StunError
from sfu.ice import CONSENT_S, HELD_S, PATHS_PER_SESSION, Credentials, IceAgent, IceSession, Path

HOME = Path(0, ("192.0.2.1", 1000))
TRAIN = Path(1, ("2001:db8::1", 2000, 0, 0))


@pytest.fixture
def agent() -> IceAgent:
    return IceAgent(urandom)


def request(local: Credentials, *, nominate: bool = False, **attributes: object) -> bytes:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{local.ufrag}:theirs"
    message.attributes.update(attributes)
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(local.password.encode())
    return bytes(message)


def forged(local: Credentials) -> bytes:
    return request(Credentials(local.ufrag, "x" * 24))


def check(agent: IceAgent, session: IceSession, path: Path, *, nominate: bool = False) -> bool:
    return agent.receive_check(request(session.local, nominate=nominate), path, 0.0).moved


def test_credentials_keep_to_rfc_8839(agent: IceAgent) -> None:
    session = agent.open(0.0)
    assert len(session.local.ufrag) >= 4
    assert len(session.local.password) >= 22


def test_a_check_is_answered_with_the_reflexive_address(agent: IceAgent) -> None:
    session = agent.open(0.0)
    answer = agent.receive_check(request(session.local), HOME, 1.0)
    assert answer.session is session
    response = stun.parse_message(answer.datagram)
    assert response.attributes["XOR-MAPPED-ADDRESS"] == HOME.address


def test_media_goes_where_the_first_check_came_from(agent: IceAgent) -> None:
    session = agent.open(0.0)
    assert check(agent, session, HOME)
    assert session.selected == HOME
    assert agent.find(HOME) is session


def test_media_follows_nominations_only(agent: IceAgent) -> None:
    session = agent.open(0.0)
    check(agent, session, HOME, nominate=True)
    assert not check(agent, session, TRAIN)
    assert session.selected == HOME
    assert check(agent, session, TRAIN, nominate=True)
    assert session.selected == TRAIN
    assert agent.find(HOME) is session


def test_a_stranger_is_not_answered(agent: IceAgent) -> None:
    agent.open(0.0)
    with pytest.raises(StunError, match="stun_unknown_user"):
        agent.receive_check(request(Credentials("nobody", "x" * 24)), HOME, 0.0)
    assert agent.find(HOME) is None


def test_a_wrong_password_is_not_answered_and_moves_nothing(agent: IceAgent) -> None:
    session = agent.open(0.0)
    check(agent, session, HOME, nominate=True)
    with pytest.raises(StunError, match="stun_bad_integrity"):
        agent.receive_check(forged(session.local), TRAIN, 5.0)
    assert session.selected == HOME
    assert session.expires_at == CONSENT_S
    assert agent.find(TRAIN) is None


def test_a_controlled_peer_hears_of_the_conflict_and_gets_no_path(agent: IceAgent) -> None:
    session = agent.open(0.0)
    answer = agent.receive_check(request(session.local, **{"ICE-CONTROLLED": 1}), HOME, 0.0)
    assert stun.parse_message(answer.datagram).error_code == 487
    assert session.selected is None


def test_consent_lasts_30_s_from_the_last_check(agent: IceAgent) -> None:
    session = agent.open(0.0)
    assert session.expires_at == 30.0
    agent.receive_check(request(session.local), HOME, 12.0)
    assert session.expires_at == 42.0


def test_a_restart_accepts_both_credentials_until_the_peer_uses_the_new_ones(
    agent: IceAgent,
) -> None:
    session = agent.open(0.0)
    old = session.local
    check(agent, session, HOME, nominate=True)
    new = agent.restart(session, 10.0)
    assert new != old
    assert session.selected == HOME
    agent.receive_check(request(old), HOME, 11.0)
    agent.receive_check(request(new, nominate=True), TRAIN, 12.0)
    assert session.selected == TRAIN
    with pytest.raises(StunError, match="stun_unknown_user"):
        agent.receive_check(request(old), HOME, 13.0)


def test_two_restarts_in_a_row_keep_the_working_credentials(agent: IceAgent) -> None:
    session = agent.open(0.0)
    old = session.local
    between = agent.restart(session, 1.0)
    new = agent.restart(session, 2.0)
    agent.receive_check(request(old), HOME, 3.0)
    with pytest.raises(StunError, match="stun_unknown_user"):
        agent.receive_check(request(between), HOME, 3.0)
    assert agent.receive_check(request(new), HOME, 4.0).session is session


def test_a_closed_session_is_a_stranger(agent: IceAgent) -> None:
    session = agent.open(0.0)
    agent.restart(session, 0.0)
    check(agent, session, HOME)
    agent.close(session)
    agent.close(session)
    assert agent.find(HOME) is None
    assert len(agent) == 0
    with pytest.raises(StunError, match="stun_unknown_user"):
        agent.receive_check(request(session.local), HOME, 0.0)


def test_an_address_in_use_is_not_taken_by_a_forged_one(agent: IceAgent) -> None:
    """Anybody with a session and a forged sender address cut others off until their next check."""
    victim, thief = agent.open(0.0), agent.open(0.0)
    check(agent, victim, HOME, nominate=True)
    for now in (1.0, HELD_S - 0.1):
        with pytest.raises(StunError, match="stun_address_held"):
            agent.receive_check(request(thief.local, nominate=True), HOME, now)
    assert agent.find(HOME) is victim
    assert victim.selected == HOME


def test_an_address_belongs_to_whom_proved_it_last_once_it_was_silent(agent: IceAgent) -> None:
    first, second = agent.open(0.0), agent.open(0.0)
    check(agent, first, HOME, nominate=True)
    agent.receive_check(request(second.local, nominate=True), HOME, HELD_S)
    assert agent.find(HOME) is second
    assert first.selected is None
    agent.close(first)
    assert agent.find(HOME) is second


def test_an_address_of_a_closed_session_is_free_at_once(agent: IceAgent) -> None:
    first, second = agent.open(0.0), agent.open(0.0)
    check(agent, first, HOME, nominate=True)
    agent.close(first)
    assert check(agent, second, HOME)


def test_paths_of_a_session_are_bounded_and_the_selected_one_stays(agent: IceAgent) -> None:
    session = agent.open(0.0)
    check(agent, session, HOME, nominate=True)
    for port in range(PATHS_PER_SESSION + 10):
        check(agent, session, Path(0, ("192.0.2.9", port)))
    assert len(session.paths) == PATHS_PER_SESSION
    assert agent.find(HOME) is session
    assert agent.find(Path(0, ("192.0.2.9", 0))) is None


def test_forgotten_paths_must_be_checked_again(agent: IceAgent) -> None:
    session = agent.open(0.0)
    check(agent, session, HOME, nominate=True)
    agent.forget_paths(session)
    assert agent.find(HOME) is None
    assert check(agent, session, HOME)
