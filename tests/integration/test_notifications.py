"""A notifier beside the whole real stack: who has no device connected is notified, until they have
read."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.codec import decode_notification
from schemas.events import NotificationRaised, NotificationsCancelled
from schemas.ids import partition_of
from schemas.topics import NOTIFICATIONS
from tests.harness import kafka
from tests.harness.memberships import PARTITIONS
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture
def notifier(stack: Stack, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(stack, 5, "notifier", tmp_path)
    worker.start()
    try:
        worker.wait_healthy(60)
        yield worker
    finally:
        worker.end()


def said(stack: Stack, conversation: str) -> tuple[dict[int, int], dict[int, int]]:
    """message → unread of the notifications of a conversation, and up to → unread of what is
    over."""
    raised, over = {}, {}
    for record in kafka.read_all(stack, NOTIFICATIONS, partition_of(conversation, PARTITIONS)):
        one = decode_notification(record.value).notification
        if one.conversation != conversation:
            continue
        if isinstance(one, NotificationRaised):
            raised[one.seq] = one.unread
        elif isinstance(one, NotificationsCancelled):
            over[one.up_to] = one.unread
    return raised, over


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.2)


async def test_who_has_no_device_connected_is_notified_until_they_have_read(
    stack: Stack, notifier: Worker
) -> None:
    async with Talk(stack, "notified") as talk:
        phone, _ = await talk.join("alice"), await talk.join("carol")
        alice, bob, carol = talk.user("alice"), talk.user("bob"), talk.user("carol")
        away, here = f"{alice}:{bob}", f"{alice}:{carol}"
        await talk.say(phone, "carol", ["to somebody who is here"])
        await talk.say(phone, "bob", ["one", "two"])
        await eventually(lambda: said(stack, away) == ({1: 1, 2: 2}, {}))
        assert said(stack, here) == ({}, {})
        device = await talk.join("bob")
        device.read(away, 2)
        await eventually(lambda: said(stack, away)[1] == {2: 0})
