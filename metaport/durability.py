"""What the configured durability of Redis can lose, told to an operator.

chatd/redis_options.py has the reasons; loadtest/invariants sees that it is no more. What is lost
there may still be in the database: only messages of the last second before an outage, and what is
told of rooms (epochs, recovery), depend on Redis alone.
"""

from chatd.redis_options import Durability
from chatd.redis_standing import FSYNCS, Standing, shortfall
from metaport.language import Say

_DISK = {
    "none": Say(
        "Redis가 죽으면 마지막 스냅숏 뒤의 모든 것을 잃습니다 (appendonly no)",
        "a crash of Redis loses everything since its last snapshot (appendonly no)",
    ),
    "no": Say(
        "서버 전원이 꺼지면 마지막 30초쯤을 잃습니다 (appendfsync no)",
        "power lost on its machine loses about the last 30 s (appendfsync no)",
    ),
    "everysec": Say(
        "서버 전원이 꺼지면 마지막 2초까지 잃습니다 (appendfsync everysec)",
        "power lost on its machine loses up to the last 2 s (appendfsync everysec)",
    ),
    "always": Say(
        "서버 전원이 꺼져도 잃지 않습니다 (appendfsync always)",
        "power lost on its machine loses nothing (appendfsync always)",
    ),
}
_ALONE = Say(
    "복제본이 없어 그 서버를 잃으면 함께 잃습니다",
    "there is no replica: what it holds is lost with its machine",
)
_BEHIND = Say(
    "장애 조치 때 복제본이 아직 받지 못한 것을 잃습니다 (redis.replicas 0)",
    "a fail-over loses what the replica had not received (redis.replicas 0)",
)
_CUT_OFF = Say(
    "끊긴 주 서버가 계속 받는 것은 전달된 뒤에 되돌려집니다 (min-replicas-to-write 0)",
    "what a primary that was cut off goes on taking is delivered and then taken back "
    "(min-replicas-to-write 0)",
)


def _waits(replicas: int) -> Say:
    return Say(
        f"장애 조치 때 확인된 메시지를 잃지 않습니다 (복제본 {replicas}개를 기다림). "
        "뒤처진 다른 복제본이 승격되면 예외입니다",
        f"a fail-over loses nothing acknowledged (WAIT for {replicas} replicas), unless one that "
        "is behind is promoted",
    )


def losses(promised: Durability, standing: Standing | None) -> list[Say]:
    """Return what may be lost, one sentence each: first on its machine, then on fail-over.

    `standing` None: nothing is known of the server but what was promised about it.
    """
    says: str = promised.appendfsync
    if standing is not None and standing.appendfsync is not None:
        says = min(says, standing.appendfsync, key=FSYNCS.index)
    told = [_DISK[says]]
    if promised.replicas:
        told.append(_waits(promised.replicas))
        if standing is not None and standing.min_replicas == 0:
            told.append(_CUT_OFF)
    else:
        alone = standing is not None and not standing.replicas
        told.append(_ALONE if alone else _BEHIND)
    return told


def short_of(promised: Durability, standing: Standing) -> Say | None:
    """Say where a server keeps less than was promised, None where it does not."""
    told = shortfall(standing, promised)
    if told is None:
        return None
    says = standing.appendfsync
    if says is not None and FSYNCS.index(says) < FSYNCS.index(promised.appendfsync):
        return Say(
            f"Redis의 appendfsync는 {says}인데 redis.appendfsync는 {promised.appendfsync}입니다",
            told,
        )
    return Say("Redis의 min-replicas-to-write가 0입니다", told)


def sentence(said: list[Say]) -> Say:
    """Join sentences to one."""
    return Say("; ".join(each.ko for each in said), "; ".join(each.en for each in said))
