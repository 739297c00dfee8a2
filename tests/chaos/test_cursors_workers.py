"""Two workers share the cursors; one is killed, with or without its disk, and is back: no mark goes
back, none is missing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.conftest import PARTITIONS, ROUNDS, all_are_with
from tests.chaos.test_receipts_kills import Watcher, differences, read_all
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]
PARTS = {"gateways": 2}


async def quiet_conversations(talk: Talk) -> list[str]:
    """Some in every partition that are read and then left alone: no later receipt raises again what
    would be lost of them."""
    hub = await talk.join("q")
    others = {
        f"{talk.user('q')}:{talk.user(f'r{n}')}": await talk.join(f"r{n}")
        for n in range(PARTITIONS * 2)
    }
    for n, other in enumerate(others.values()):
        await talk.say(hub, f"r{n}", [f"q {n}"])
        await talk.say(other, "q", [f"r{n}"])
    await talk.settle()
    for conversation, other in others.items():
        hub.read(conversation, 2)
        other.read(conversation, 1)
    return list(others)


@pytest.mark.soak
async def test_one_of_two_is_killed_under_load_and_comes_back(
    lab: Stack, talk: Talk, load: Load, judged: Callable[[], Awaitable[None]], cursors: list[Worker]
) -> None:
    first, second = cursors
    for worker in cursors:
        worker.start()
    await all_are_with(first, second)
    await load.start()
    users = [name.split("/")[0].removeprefix(talk.user("")) for name in talk.clients]
    pairs = [
        (talk.user(f"a{number}"), talk.user(f"b{number}")) for number in range(len(users) // 2)
    ]
    quiet = await quiet_conversations(talk)
    reading = [asyncio.create_task(read_all(talk, name)) for name in list(talk.clients)]
    watchers = [Watcher(lab, alice, [f"{alice}:{bob}"]) for alice, bob in pairs] + [
        Watcher(lab, talk.user("q"), quiet)
    ]
    for _ in range(ROUNDS):
        for killed, other, loses_disk in ((first, second, False), (second, first, True)):
            await load.sent(100)
            killed.kill()
            if loses_disk:
                killed.forget_state()
            await all_are_with(other)
            await load.sent(100)
            killed.start()
            await all_are_with(first, second)
    await load.sent(100)
    await load.stop()
    await judged()
    for task in reading:
        task.cancel()
    for user in (*users, "q"):
        await talk.join(user, "late")
    last = {
        conversation: max(m.seq for m in talk.accepted if m.conversation == conversation)
        for conversation in talk.last
    }
    async with asyncio.timeout(60):
        while differences(talk, last):
            await asyncio.sleep(0.1)
    for watcher in watchers:
        await watcher.end()
        assert watcher.answers > 10
