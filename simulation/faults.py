"""What people do and what goes wrong, by name. Each takes the world, a number that chooses whom it
concerns, and a number that chooses how, and returns whom and how, for the trace. What lasts ends by
itself."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from connectors.clickhouse.memory import Fate
from connectors.kafka.memory import MemoryKafka
from connectors.redis.routes import LEASE_SECONDS
from schemas.topics import (
    CURSORS,
    DELIVERIES,
    LOG,
    MEMBERSHIPS,
    PRESENCE,
    PRESENCE_SUBMITTED,
    RECEIPTS,
    SUBMITTED,
)
from simulation.loop import Process
from simulation.people import App
from simulation.processes import RESTART_SECONDS, Part
from simulation.world import World

Action = Callable[[World, int, int], str]

MAX_APPS = 14
_BURST = 6
_LONG = 0.5, 2.0, 5.0, 12.0
"""Seconds that what is away may stay away."""
LEADERLESS = *_LONG, 35.0
"""Seconds that a partition may have no leader: the last is longer than a gateway's producer waits
for an acknowledgement."""
_RENEWED_WITHIN, _SLOT_TAKEN_WITHIN = 0.5, 1.0
"""Seconds that a renewal may still be on its way; in which a node that starts has a slot."""
TOPICS = SUBMITTED, LOG, DELIVERIES, RECEIPTS, CURSORS, PRESENCE_SUBMITTED, PRESENCE, MEMBERSHIPS

One = TypeVar("One")


def _pick(some: Sequence[One], number: int) -> One:
    return some[number % len(some)]


def _for_a_while(
    world: World, number: int, undo: Callable[[], None], lengths: Sequence[float] = _LONG
) -> str:
    seconds = _pick(lengths, number)
    world.loop.call_later(seconds, undo, context=world.context)
    return f"for {seconds:g} s"


def _app(world: World, place: int) -> App:
    return _pick(world.people.apps, place)


def _other(world: World, app: App, number: int) -> str:
    return _pick([user for user in world.people.users if user != app.user], number)


def _parts(world: World) -> list[Part]:
    return [*world.gateways, *world.workers]


# People


def send(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    to = _other(world, app, number)
    app.send(to, world.people.new_body())
    return f"{app.label} to {to}"


def burst(world: World, place: int, number: int) -> str:
    count = 2 + number % _BURST
    for _ in range(count):
        whom = send(world, place, number)
    return f"{whom}, {count} messages"


def read(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.read()
    return app.label


def write(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    to = _other(world, app, number)
    app.type(to)
    return f"{app.label} to {to}"


def look_around(world: World, place: int, number: int) -> str:
    for app in world.people.here:
        app.watch()
    return "everybody"


def lose_network(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.lose_network()
    return app.label


def reset(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.reset()
    return app.label


def go_offline(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    if not app.running:
        return f"{app.label}, which is closed"
    dialer = app.dialer
    dialer.connected = False
    (app.lose_network if number % 2 else app.reset)()
    lasts = _for_a_while(world, number // 2, lambda: setattr(dialer, "connected", True))
    return f"{app.label} {lasts}"


def close_app(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.close()
    return app.label


def kill_app(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.kill()
    return app.label


def sleep_app(world: World, place: int, number: int) -> str:
    """The phone puts the app to sleep."""
    app = _app(world, place)
    if not app.running:
        return f"{app.label}, which is closed"
    return _pause(world, app.process, app.label, number)


def open_app(world: World, place: int, number: int) -> str:
    app = _app(world, place)
    app.start()
    return app.label


def install(world: World, place: int, number: int) -> str:
    if len(world.people.apps) >= MAX_APPS:
        return "nobody: there are enough"
    user = _pick(world.people.users, place)
    app = world.people.install(user, f"new{len(world.people.apps)}", keeps=number % 2 == 0)
    return app.label


# Processes


def kill_gateway(world: World, place: int, number: int) -> str:
    part = _pick(world.gateways, place)
    part.kill()
    return part.name


def stop_gateway(world: World, place: int, number: int) -> str:
    part = _pick(world.gateways, place)
    part.stop()
    return part.name


def pause_gateway(world: World, place: int, number: int) -> str:
    part = _pick(world.gateways, place)
    return _pause(world, part.process, part.name, number)


def kill_worker(world: World, place: int, number: int) -> str:
    part = _pick(world.workers, place)
    part.kill()
    return part.name


def stop_worker(world: World, place: int, number: int) -> str:
    part = _pick(world.workers, place)
    part.stop()
    return part.name


def pause_worker(world: World, place: int, number: int) -> str:
    part = _pick(world.workers, place)
    return _pause(world, part.process, part.name, number)


def _pause(world: World, process: Process, name: str, number: int) -> str:
    if not process.alive or process.paused:
        return f"{name}, which does not run"
    process.pause()
    return f"{name} {_for_a_while(world, number, process.wake)}"


def lose_disk(world: World, place: int, number: int) -> str:
    worker = _pick(world.workers, place)
    worker.kill()
    worker.disk.lose()
    return worker.name


def fill_disk(world: World, place: int, number: int) -> str:
    worker = _pick(world.workers, place)
    disk = worker.disk
    disk.full = True
    return f"{worker.name} {_for_a_while(world, number, lambda: setattr(disk, 'full', False))}"


# Kafka


def stop_kafka(world: World, place: int, number: int) -> str:
    world.broker.stop()
    return _for_a_while(world, number, world.broker.go_on)


def lose_leader(world: World, place: int, number: int) -> str:
    topic = _pick(TOPICS, place)
    count = world.shape.slots if topic == DELIVERIES else world.shape.partitions
    partition = number // len(LEADERLESS) % count
    world.broker.lose_leader(topic, partition)
    found = partial(world.broker.find_leader, topic, partition)
    lasts = _for_a_while(world, number, found, LEADERLESS)
    return f"{topic}/{partition} {lasts}"


def break_producers(world: World, place: int, number: int) -> str:
    part = _pick(_parts(world), place)
    part.kafka.break_producers(random.Random(number))
    return part.name


def cut_from_kafka(world: World, place: int, number: int) -> str:
    part = _pick(_parts(world), place)
    kafka: MemoryKafka = part.kafka
    sends, hears = number % 3 == 1, number % 3 == 2
    kafka.cut(sends=sends, hears=hears)
    what = "what it sends still arrives" if sends else "it still hears" if hears else "both ways"
    return f"{part.name}, {what}, {_for_a_while(world, number // 3, kafka.mend)}"


def fill_producers(world: World, place: int, number: int) -> str:
    part = _pick(_parts(world), place)
    kafka: MemoryKafka = part.kafka
    kafka.full = True
    return f"{part.name} {_for_a_while(world, number, lambda: setattr(kafka, 'full', False))}"


def expire_deliveries(world: World, place: int, number: int) -> str:
    slot = place % world.shape.slots
    end = world.broker.log(DELIVERIES, slot).end
    world.broker.expire(DELIVERIES, slot, end)
    return f"slot {slot} before offset {end}"


def write_garbage(world: World, place: int, number: int) -> str:
    """Somebody writes what no decoder reads into the input."""
    value = _pick((b"", b"garbage", b"\x92\x01\x91\x91\xa1?"), number)
    partition = place % world.shape.partitions
    offset = world.broker.append(SUBMITTED, partition, value)
    return f"{SUBMITTED}/{partition} at offset {offset}"


def cut_log(world: World, place: int, number: int) -> str:
    """The log loses its tail, as when a disk lost it; the input still has it."""
    world.accepted.append("has lost its tail")
    partition, records = place % world.shape.partitions, 1 + number % 3
    world.broker.cut_tail(LOG, partition, records)
    return f"{LOG}/{partition}, {records} records"


def compact(world: World, place: int, number: int) -> str:
    topic = _pick((CURSORS, PRESENCE, MEMBERSHIPS), place)
    world.broker.compact(topic)
    return topic


# Redis


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
    return _for_a_while(world, number, lambda: setattr(world.redis, "up", True))


def slow_redis(world: World, place: int, number: int) -> str:
    world.redis.slow = _pick((0.01, 0.2, 0.6), place)
    lasts = _for_a_while(world, number, lambda: setattr(world.redis, "slow", 0.0))
    return f"{world.redis.slow:g} s for each command, {lasts}"


def cut_from_redis(world: World, place: int, number: int) -> str:
    part = _pick(_parts(world), place)
    redis = _pick(part.redis, number // len(_LONG))
    if not all(other.connected for other in part.redis):
        return f"{part.name}, which is cut off already"
    redis.connected = False
    lasts = _for_a_while(world, number, lambda: setattr(redis, "connected", True))
    return f"{part.name}, connection {part.redis.index(redis)}, {lasts}"


def take_slot(world: World, place: int, number: int) -> str:
    """A gateway reaches no Redis until it is started again. When its lease has run out, another
    gateway starts and takes its slot."""
    gateway = _pick(world.gateways, place)
    if not all(redis.connected for other in world.gateways for redis in other.redis):
        return "nobody: a gateway is cut off already"
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
    return f"{gateway.name} loses slot {slot} to {other.name}"


# The archive


def stop_archive(world: World, place: int, number: int) -> str:
    world.archive.away = "away"
    return _for_a_while(world, number, lambda: setattr(world.archive, "away", None))


def fail_inserts(world: World, place: int, number: int) -> str:
    fates = Fate.LOST, Fate.HALF, Fate.UNHEARD
    coming = [_pick(fates, number + turn) for turn in range(1 + place % 3)]
    world.archive.fates.extend(coming)
    return "the next: " + ", ".join(fate.name.lower() for fate in coming)


def cut_from_workers(world: World, place: int, number: int) -> str:
    """A gateway reaches no worker."""
    gateway = _pick(world.gateways, place)
    transport = gateway.transport
    transport.connected = False
    lasts = _for_a_while(world, number, lambda: setattr(transport, "connected", True))
    return f"{gateway.name} {lasts}"


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
    "cut log": (1, cut_log),
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
