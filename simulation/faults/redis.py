"""Redis, or the way to it, fails; it forgets, or comes back old."""

from connectors.redis.routes import LEASE_SECONDS
from simulation.faults.common import LONG, Actions, for_a_while, parts, pick
from simulation.processes import RESTART_SECONDS
from simulation.world import World

_RENEWED_WITHIN, _SLOT_TAKEN_WITHIN = 0.5, 1.0
"""Seconds that a renewal may still be on its way; in which a node that starts has a slot."""


def wipe_redis(world: World, place: int, number: int) -> str:
    world.redis.wipe()
    return "all keys"


def restart_redis(world: World, place: int, number: int) -> str:
    """It begins anew, with what it has now, or empty."""
    keeps = bool(number % 2)
    world.redis.restart(world.redis.save() if keeps else None)
    return "with all keys" if keeps else "empty"


def save_redis(world: World, place: int, number: int) -> str:
    world.saved = world.redis.save()
    return "all keys"


def older_redis(world: World, place: int, number: int) -> str:
    """It begins anew, with what it had a while ago."""
    world.redis.restart(world.saved)
    return "with the keys of the last save"


def stop_redis(world: World, place: int, number: int) -> str:
    world.redis.up = False
    return for_a_while(world, number, lambda: setattr(world.redis, "up", True))


def slow_redis(world: World, place: int, number: int) -> str:
    world.redis.slow = pick((0.01, 0.2, 0.6), place)
    lasts = for_a_while(world, number, lambda: setattr(world.redis, "slow", 0.0))
    return f"{world.redis.slow:g} s for each command, {lasts}"


def cut_from_redis(world: World, place: int, number: int) -> str:
    part = pick(parts(world), place)
    redis = pick(part.redis, number // len(LONG))
    if not all(other.connected for other in part.redis):
        return f"{part.name}, which is cut off already"
    redis.connected = False
    lasts = for_a_while(world, number, lambda: setattr(redis, "connected", True))
    return f"{part.name}, connection {part.redis.index(redis)}, {lasts}"


def take_slot(world: World, place: int, number: int) -> str:
    """A gateway reaches no Redis until it is started again. When its lease has run out, another
    gateway starts and takes its slot; if it does not, the gateway reaches Redis again."""
    gateway = pick(world.gateways, place)
    if not all(redis.connected for other in world.gateways for redis in other.redis):
        return "nobody: a gateway is cut off already"
    cut = list(gateway.redis)
    for redis in cut:
        redis.connected = False

    def mend_unless_taken() -> None:
        # A lease alone tells the gateway nothing: SlotTaken may not have come to Kafka.
        holder, _ = world.redis.tables["slots"].get(slot, ("", 0.0))
        others = {(one.node.id, one.node.slot) for one in world.gateways if one is not gateway}
        if (holder, slot) not in others:
            for redis in cut:
                redis.connected = True

    slot = gateway.node.slot
    after = LEASE_SECONDS + _RENEWED_WITHIN
    other = pick(world.gateways, place + 1)
    world.loop.call_later(after, other.kill, context=world.context)
    started = after + RESTART_SECONDS[1] + _SLOT_TAKEN_WITHIN
    world.loop.call_later(started, mend_unless_taken, context=world.context)
    return f"{gateway.name} loses slot {slot} to {other.name}"


REDIS: Actions = {
    "wipe redis": (1, wipe_redis),
    "restart redis": (1, restart_redis),
    "save redis": (1, save_redis),
    "older redis": (1, older_redis),
    "stop redis": (1, stop_redis),
    "slow redis": (1, slow_redis),
    "cut from redis": (2, cut_from_redis),
    "take slot": (1, take_slot),
}
