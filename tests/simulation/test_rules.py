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
