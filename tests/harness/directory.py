"""What stands in Redis of the users' partitions, held against the conversations there are."""

from collections.abc import Iterable

from connectors.redis.client import RedisClient
from schemas.ids import members_of_valid, partition_of

PARTITIONS = 4


async def known_partitions(redis: RedisClient, user: str) -> set[int] | None:
    """Those of a complete entry of the running epoch; None if the user is to be asked for
    everywhere."""
    run, _, epoch = (await redis.command("GET", "directory") or b" ").decode().partition(" ")
    found = [part.decode() for part in await redis.command("HGETALL", f"directory:{user}")]
    fields = dict(zip(found[::2], found[1::2], strict=True))
    if run != await info(redis, "run_id") or fields.get("epoch") != epoch or "mark" in fields:
        return None
    return {int(name) for name in fields if name != "epoch"}


async def check_directory(redis: RedisClient, conversations: Iterable[str]) -> int:
    """No complete entry lacks a partition; returns how many are complete."""
    wanted: dict[str, set[int]] = {}
    for conversation in conversations:
        for user in members_of_valid(conversation):
            wanted.setdefault(user, set()).add(partition_of(conversation, PARTITIONS))
    complete = 0
    for user, partitions in wanted.items():
        known = await known_partitions(redis, user)
        assert known is None or partitions <= known, (
            f"{user}: {sorted(partitions - known)} would not be asked"
        )
        complete += known is not None
    return complete


async def info(redis: RedisClient, name: str) -> str:
    """One line of Redis' INFO."""
    text: bytes = await redis.command("INFO", "everything")
    lines = text.decode().splitlines()
    return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))
