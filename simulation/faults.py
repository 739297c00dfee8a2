"""What people do and what goes wrong, by name. Each takes the world, a number that chooses whom it
concerns, and a number that chooses how. What lasts ends by itself."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from connectors.clickhouse.memory import Fate
from connectors.kafka.memory import MemoryKafka
from connectors.redis.routes import LEASE_SECONDS
from schemas.topics import (
    CURSORS,
    DELIVERIES,
    LOG,
    PRESENCE,
    PRESENCE_SUBMITTED,
    RECEIPTS,
    SUBMITTED,
)
from simulation.people import App
from simulation.processes import RESTART_SECONDS, Part
from simulation.world import World

Action = Callable[[World, int, int], None]

MAX_APPS = 14
_BURST = 6
_LONG = 0.5, 2.0, 5.0, 12.0
"""Seconds that what is away may stay away."""
_RENEWED_WITHIN, _SLOT_TAKEN_WITHIN = 0.5, 1.0
"""Seconds that a renewal may still be on its way; in which a node that starts has a slot."""
_TOPICS = SUBMITTED, LOG, DELIVERIES, RECEIPTS, CURSORS, PRESENCE_SUBMITTED, PRESENCE

One = TypeVar("One")


def _pick(some: Sequence[One], number: int) -> One:
    return some[number % len(some)]


def _for_a_while(world: World, number: int, undo: Callable[[], None]) -> None:
    world.loop.call_later(_pick(_LONG, number), undo, context=world.context)


def _app(world: World, place: int) -> App:
    return _pick(world.people.apps, place)


def _parts(world: World) -> list[Part]:
    return [*world.gateways, *world.workers]


# People


def send(world: World, place: int, number: int) -> None:
    app = _app(world, place)
    others = [user for user in world.people.users if user != app.user]
    app.send(_pick(others, number), world.people.new_body())


def burst(world: World, place: int, number: int) -> None:
    for _ in range(2 + number % _BURST):
        send(world, place, number)


def read(world: World, place: int, number: int) -> None:
    _app(world, place).read()


def write(world: World, place: int, number: int) -> None:
    app = _app(world, place)
    app.type(_pick([user for user in world.people.users if user != app.user], number))


def look_around(world: World, place: int, number: int) -> None:
    for app in world.people.here:
        app.watch()


def lose_network(world: World, place: int, number: int) -> None:
    _app(world, place).lose_network()


def reset(world: World, place: int, number: int) -> None:
    _app(world, place).reset()


def go_offline(world: World, place: int, number: int) -> None:
    app = _app(world, place)
    if app.running:
        dialer = app.dialer
        dialer.connected = False
        (app.lose_network if number % 2 else app.reset)()
        _for_a_while(world, number // 2, lambda: setattr(dialer, "connected", True))


def close_app(world: World, place: int, number: int) -> None:
    _app(world, place).close()


def kill_app(world: World, place: int, number: int) -> None:
    _app(world, place).kill()


def sleep_app(world: World, place: int, number: int) -> None:
    """The phone puts the app to sleep."""
    app = _app(world, place)
    if app.running and not app.process.paused:
        process = app.process
        process.pause()
        _for_a_while(world, number, process.wake)


def open_app(world: World, place: int, number: int) -> None:
    _app(world, place).start()


def install(world: World, place: int, number: int) -> None:
    if len(world.people.apps) < MAX_APPS:
        user = _pick(world.people.users, place)
        world.people.install(user, f"new{len(world.people.apps)}", keeps=number % 2 == 0)


# Processes


def kill_gateway(world: World, place: int, number: int) -> None:
    _pick(world.gateways, place).kill()


def stop_gateway(world: World, place: int, number: int) -> None:
    _pick(world.gateways, place).stop()


def pause_gateway(world: World, place: int, number: int) -> None:
    _pause(world, _pick(world.gateways, place), number)


def kill_worker(world: World, place: int, number: int) -> None:
    _pick(world.workers, place).kill()


def stop_worker(world: World, place: int, number: int) -> None:
    _pick(world.workers, place).stop()


def pause_worker(world: World, place: int, number: int) -> None:
    _pause(world, _pick(world.workers, place), number)


def _pause(world: World, part: Part, number: int) -> None:
    process = part.process
    if process.alive and not process.paused:
        process.pause()
        _for_a_while(world, number, process.wake)


def lose_disk(world: World, place: int, number: int) -> None:
    worker = _pick(world.workers, place)
    worker.kill()
    worker.disk.lose()


def fill_disk(world: World, place: int, number: int) -> None:
    disk = _pick(world.workers, place).disk
    disk.full = True
    _for_a_while(world, number, lambda: setattr(disk, "full", False))


# Kafka


def stop_kafka(world: World, place: int, number: int) -> None:
    world.broker.stop()
    _for_a_while(world, number, world.broker.go_on)


def lose_leader(world: World, place: int, number: int) -> None:
    topic = _pick(_TOPICS, place)
    count = world.shape.slots if topic == DELIVERIES else world.shape.partitions
    partition = number // len(_LONG) % count
    world.broker.lose_leader(topic, partition)
    _for_a_while(world, number, lambda: world.broker.find_leader(topic, partition))


def break_producers(world: World, place: int, number: int) -> None:
    _pick(_parts(world), place).kafka.break_producers(random.Random(number))


def cut_from_kafka(world: World, place: int, number: int) -> None:
    kafka: MemoryKafka = _pick(_parts(world), place).kafka
    kafka.cut(sends=number % 3 == 1, hears=number % 3 == 2)
    _for_a_while(world, number // 3, kafka.mend)


def fill_producers(world: World, place: int, number: int) -> None:
    kafka: MemoryKafka = _pick(_parts(world), place).kafka
    kafka.full = True
    _for_a_while(world, number, lambda: setattr(kafka, "full", False))


def expire_deliveries(world: World, place: int, number: int) -> None:
    slot = place % world.shape.slots
    world.broker.expire(DELIVERIES, slot, world.broker.log(DELIVERIES, slot).end)


def write_garbage(world: World, place: int, number: int) -> None:
    """Somebody writes what no decoder reads into the input."""
    value = _pick((b"", b"garbage", b"\x92\x01\x91\x91\xa1?"), number)
    world.broker.append(SUBMITTED, place % world.shape.partitions, value)


def cut_log(world: World, place: int, number: int) -> None:
    """The log loses its tail, as when a disk lost it; the input still has it."""
    world.accepted.append("has lost its tail")
    world.broker.cut_tail(LOG, place % world.shape.partitions, 1 + number % 3)


def compact(world: World, place: int, number: int) -> None:
    world.broker.compact(_pick((CURSORS, PRESENCE), place))


# Redis


def wipe_redis(world: World, place: int, number: int) -> None:
    world.redis.wipe()


def restart_redis(world: World, place: int, number: int) -> None:
    """It begins anew, with what it has now, or empty."""
    world.redis.restart(world.redis.save() if number % 2 else None)


def save_redis(world: World, place: int, number: int) -> None:
    world.saved = world.redis.save()


def older_redis(world: World, place: int, number: int) -> None:
    """It begins anew, with what it had a while ago."""
    world.redis.restart(world.saved)


def stop_redis(world: World, place: int, number: int) -> None:
    world.redis.up = False
    _for_a_while(world, number, lambda: setattr(world.redis, "up", True))


def slow_redis(world: World, place: int, number: int) -> None:
    world.redis.slow = _pick((0.01, 0.2, 0.6), place)
    _for_a_while(world, number, lambda: setattr(world.redis, "slow", 0.0))


def cut_from_redis(world: World, place: int, number: int) -> None:
    part = _pick(_parts(world), place)
    redis = _pick(part.redis, number // len(_LONG))
    if all(other.connected for other in part.redis):
        redis.connected = False
        _for_a_while(world, number, lambda: setattr(redis, "connected", True))


def take_slot(world: World, place: int, number: int) -> None:
    """A gateway reaches no Redis until it is started again. When its lease has run out, another
    gateway starts and takes its slot."""
    gateway = _pick(world.gateways, place)
    if not all(redis.connected for other in world.gateways for redis in other.redis):
        return
    cut = list(gateway.redis)
    for redis in cut:
        redis.connected = False

    def mend_unless_taken() -> None:
        holder, _ = world.redis.tables["slots"].get(slot, ("", 0.0))
        if holder in ("", node):
            for redis in cut:
                redis.connected = True

    node, slot = gateway.node.id, gateway.node.slot
    after = LEASE_SECONDS + _RENEWED_WITHIN
    other = _pick(world.gateways, place + 1)
    world.loop.call_later(after, other.kill, context=world.context)
    started = after + RESTART_SECONDS[1] + _SLOT_TAKEN_WITHIN
    world.loop.call_later(started, mend_unless_taken, context=world.context)


# The archive


def stop_archive(world: World, place: int, number: int) -> None:
    world.archive.away = "away"
    _for_a_while(world, number, lambda: setattr(world.archive, "away", None))


def fail_inserts(world: World, place: int, number: int) -> None:
    fates = Fate.LOST, Fate.HALF, Fate.UNHEARD
    world.archive.fates.extend(_pick(fates, number + turn) for turn in range(1 + place % 3))


def cut_from_workers(world: World, place: int, number: int) -> None:
    """A gateway reaches no worker."""
    transport = _pick(world.gateways, place).transport
    transport.connected = False
    _for_a_while(world, number, lambda: setattr(transport, "connected", True))


PEOPLE: Mapping[str, tuple[int, Action]] = {
    "send": (12, send),
    "burst": (3, burst),
    "read": (5, read),
    "write": (1, write),
    "look around": (3, look_around),
    "lose network": (2, lose_network),
    "reset": (2, reset),
    "go offline": (2, go_offline),
    "close app": (2, close_app),
    "kill app": (2, kill_app),
    "sleep app": (1, sleep_app),
    "open app": (5, open_app),
    "install": (1, install),
}
"""name → (how often, what it does)."""

ACCIDENTS: Mapping[str, tuple[int, Action]] = {
    "kill gateway": (2, kill_gateway),
    "stop gateway": (1, stop_gateway),
    "pause gateway": (2, pause_gateway),
    "kill worker": (3, kill_worker),
    "stop worker": (1, stop_worker),
    "pause worker": (3, pause_worker),
    "lose disk": (1, lose_disk),
    "fill disk": (1, fill_disk),
    "stop kafka": (1, stop_kafka),
    "lose leader": (2, lose_leader),
    "break producers": (2, break_producers),
    "cut from kafka": (2, cut_from_kafka),
    "fill producers": (1, fill_producers),
    "expire deliveries": (1, expire_deliveries),
    "compact": (1, compact),
    "write garbage": (1, write_garbage),
    "cut log": (0, cut_log),
    "wipe redis": (1, wipe_redis),
    "restart redis": (1, restart_redis),
    "save redis": (1, save_redis),
    "older redis": (1, older_redis),
    "stop redis": (1, stop_redis),
    "slow redis": (1, slow_redis),
    "cut from redis": (2, cut_from_redis),
    "take slot": (1, take_slot),
    "stop archive": (1, stop_archive),
    "fail inserts": (1, fail_inserts),
    "cut from workers": (1, cut_from_workers),
}

ACTIONS: Mapping[str, Action] = {
    name: action for name, (_, action) in [*PEOPLE.items(), *ACCIDENTS.items()]
}
