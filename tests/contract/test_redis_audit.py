"""The judge of a real Redis looks at everything once."""

import asyncio

from connectors.redis.client import RedisClient
from connectors.redis.recent import RedisRecentWindows, Window
from ops.audit.claims import Claims
from ops.audit.recent import RecentMessages
from ops.audit.soft_state import RedisAudit
from ops.audit.verdict import Verdict

COUNT = 600


async def test_a_pass_looks_at_each_window_and_each_route_once(
    redis: RedisClient, redis_port: int
) -> None:
    names = [f"alice:user{number}" for number in range(COUNT)]
    await RedisRecentWindows(redis, "log").keep({name: Window(1, [b"[]"]) for name in names}, {})
    for number in range(COUNT):
        await redis.command("HSET", f"routes:user{number}", "phone", "node 0 1")
    verdict = Verdict()
    claims = Claims(verdict, RecentMessages(), lambda conversation: 0)
    audit = RedisAudit(f"redis://127.0.0.1:{redis_port}/0", "log", 8, verdict, claims)
    for _ in range(2):
        before = dict(verdict.figures)
        while not await asyncio.to_thread(audit.read_on):
            pass
        seen = {name: count - before.get(name, 0) for name, count in verdict.figures.items()}
        assert (seen["windows"], seen["routes"]) == (COUNT, COUNT)
