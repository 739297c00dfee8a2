"""Two workers share the presence; one is paused past its session and wakes up: what it says late is
passed over."""

import signal

import pytest

from tests.chaos.conftest import ROUNDS, all_are_with
from tests.chaos.test_presence_kills import FRIENDS, Friend, shown, until
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]
PARTS = {"gateways": 2, "cursors": 1}


@pytest.mark.soak
async def test_one_of_two_is_paused_while_friends_come_and_go_and_wakes_up(
    lab: Stack, talk: Talk, presence: list[Worker]
) -> None:
    for worker in presence:
        worker.start()
    await all_are_with(*presence)
    watchers = [
        await talk.join("alice", "one"),
        await talk.join("alice", "two"),
    ]  # on both gateways
    friends = [Friend(lab, talk.user(f"friend{n}"), n) for n in range(FRIENDS)]
    for n in range(FRIENDS):
        await talk.say(watchers[0], f"friend{n}", ["hello"])
    for watcher in watchers:
        watcher.watch([friend.user for friend in friends])
    here = [False] * FRIENDS

    async def change() -> None:
        """Each friend comes or goes."""
        for n, friend in enumerate(friends):
            await (friend.go() if here[n] else friend.come())
            here[n] = not here[n]

    async def right() -> None:
        for watcher in watchers:
            await until(
                lambda watcher=watcher: shown(watcher, friends) == here,  # type: ignore[misc]
                40,
                lambda watcher=watcher: f"{shown(watcher, friends)} is not {here}",  # type: ignore[misc]
            )

    for round_ in range(ROUNDS):
        paused, other = presence[round_ % 2], presence[1 - round_ % 2]
        await change()
        paused.signal(signal.SIGSTOP)  # with what it has just read, told or kept under way
        await change()
        await all_are_with(other)
        await change()
        await right()
        paused.signal(signal.SIGCONT)
        await all_are_with(*presence)
        await right()
    for worker in presence:
        worker.kill()
        worker.forget_state()
        worker.start()
    await all_are_with(*presence)
    watchers.append(await talk.join("alice", "late"))
    watchers[-1].watch([friend.user for friend in friends])
    await right()
    for friend in friends:
        await friend.go()
