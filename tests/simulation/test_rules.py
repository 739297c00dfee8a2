"""What random histories show seldom, or not at all: it is about time."""

from schemas.topics import LOG
from simulation.world import World


def test_a_message_is_delivered_while_the_log_cannot_be_written() -> None:
    """R4."""
    world = World(1)
    try:
        world.advance(3)
        for number in range(world.shape.partitions):
            world.loop.do(world.broker.lose_leader, LOG, number)
        alice, bob = (
            next(app for app in world.people.apps if app.label == label)
            for label in ("alice/phone", "bob/phone")
        )
        world.loop.do(alice.send, "bob", "now")
        world.advance(2)
        assert [shown.body for shown in bob.shown.get("alice:bob", [])] == ["now"]
        assert all(world.broker.log(LOG, n).end == 0 for n in range(world.shape.partitions))
        for number in range(world.shape.partitions):
            world.loop.do(world.broker.find_leader, LOG, number)
        assert world.rest() == []
    finally:
        world.close()


def test_a_partition_that_failed_begins_anew_whenever_that_was() -> None:
    """Seed 53: the wait was over, and by the rounding of the clock it was not."""
    world = World(1)
    try:
        world.advance(15)  # a second later the clock rounds more
        stages = [stage for worker in world.workers for stage in worker.worker.stages]
        for stage in stages:
            for number in stage.partitions:
                world.advance(0.0402)
                world.loop.do(stage._restart, number, "a test")
        world.advance(3)
        for stage in stages:
            assert stage.readable == sorted(stage._assigned), stage.problems()
    finally:
        world.close()


def test_a_node_that_is_cut_off_from_redis_serves_its_users_and_shows_them_offline() -> None:
    """As designed (decision 28): presence knows a node by its lease."""
    world = World(1)
    try:
        world.advance(3)
        alice, *others = (app for app in world.people.apps if app.user == "alice")
        bob = next(app for app in world.people.apps if app.label == "bob/phone")
        for app in others:
            world.loop.do(app.close)
        world.loop.do(alice.send, "bob", "one")
        world.advance(2)
        (cut,) = (
            gateway
            for gateway in world.gateways
            if gateway.node.parts.registry.has("alice", "phone")
        )
        for redis in cut.redis:
            redis.connected = False
        world.advance(20)
        assert bob.client is not None
        assert not bob.client.device.presence["alice"].online
        world.loop.do(bob.send, "alice", "two")
        world.advance(1)
        assert [shown.body for shown in alice.shown["alice:bob"]] == ["one", "two"]
        for redis in cut.redis:
            redis.connected = True
        world.advance(5)
        assert bob.client.device.presence["alice"].online
        assert world.rest() == []
    finally:
        world.close()
