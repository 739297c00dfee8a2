"""Many messages through the sockets: the archive is what was acknowledged, row by row; a long
conversation is paged back whole while it grows. 10,000 messages a round, half of them in one
conversation.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from messenger_sdk import Client
from schemas.ids import partition_of
from schemas.topics import LOG
from tests.chaos.conftest import ROUNDS
from tests.harness import kafka
from tests.harness.archive import wait_equal
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 60 * ROUNDS)]
PARTS = {"archivers": 1}
LONG = 5_000 * ROUNDS
OTHERS = 50
AT_ONCE = 2_000


@pytest.fixture
def admin(lab: Stack) -> Iterator[ArchiveAdmin]:
    made = ArchiveAdmin(lab.clickhouse("admin"))
    yield made
    made.close()


@pytest.fixture
async def growing(talk: Talk) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    yield stopping
    stopping.set()


@pytest.mark.soak
@pytest.mark.alone
async def test_the_archive_is_what_was_acknowledged_and_is_paged_back_whole(
    lab: Stack, talk: Talk, admin: ArchiveAdmin, growing: asyncio.Event
) -> None:
    alice, bob = await talk.join("alice"), await talk.join("bob")
    conversation = f"{talk.user('alice')}:{talk.user('bob')}"
    for start in range(0, LONG, AT_ONCE):
        await talk.say(
            alice, "bob", [f"long {n}" for n in range(start, min(start + AT_ONCE, LONG))]
        )
    each = LONG // OTHERS
    for first in range(0, OTHERS, 10):
        others = [
            talk.say(bob, f"other{o}", [f"{o} {n}" for n in range(each)])
            for o in range(first, first + 10)
        ]
        await asyncio.gather(*others)
    messages, rows = await wait_equal(lab, 120)
    print(f"{messages} messages, {rows} rows")
    assert messages == len(talk.accepted) == LONG + each * OTHERS
    found = await asyncio.to_thread(
        admin.query, "SELECT conversation, seq, body FROM archive.exact_messages"
    )
    assert sorted(found) == sorted(
        (message.conversation, message.seq, message.body) for message in talk.accepted
    )

    await asyncio.to_thread(kafka.expire, lab, LOG, partition_of(conversation, 4))
    speaking = asyncio.create_task(speak(talk, bob, growing))
    for client in (alice, bob):
        shown: list[tuple[int, str]] = []
        before: int | None = None
        while True:
            page = await client.history(conversation, before=before, limit=100)
            shown = [(message.seq, message.body) for message in page.messages] + shown
            if page.first:
                break
            before = page.messages[0].seq
        said = {
            message.seq: message.body
            for message in talk.accepted
            if message.conversation == conversation
        }
        assert [seq for seq, _ in shown] == list(range(1, len(shown) + 1))
        assert all(said[seq] == body for seq, body in shown if seq in said)
        assert len(shown) >= LONG
    growing.set()
    await speaking


async def speak(talk: Talk, bob: Client, stopping: asyncio.Event) -> None:
    number = 0
    while not stopping.is_set():
        number += 1
        await talk.say(bob, "alice", [f"grows {number}"])
        await asyncio.sleep(0.01)
