"""History on a real stack: from the log, from the archive, across both; gapless while the
conversation grows; services away."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from messenger_sdk import Event, HistoryRefused, MessageReceived, SendRefused
from schemas.codes import Code
from schemas.ids import partition_of
from schemas.topics import LOG
from tests.harness import kafka
from tests.harness.archive import in_log
from tests.harness.device import connect, seqs, token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(
    http: aiohttp.ClientSession, stack: Stack, user: str, path: str
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token_of(stack, user)}"}
    async with http.get(stack.gateway_urls[0] + path, headers=headers) as response:
        return response.status, await response.json()


async def archived(stack: Stack, conversation: str, seq: int) -> None:
    """Wait until the archive has a conversation up to `seq`."""
    archive = ClickHouseArchive(ClickHouseClient(stack.clickhouse("gateway"), 10))
    async with asyncio.timeout(60):
        while await archive.last_seq(conversation) < seq:
            await asyncio.sleep(0.1)
    await archive.close()


async def test_edits_and_deletions_are_the_same_everywhere(spare: Stack) -> None:
    """On devices that were pushed them, on a new one, in pages of log and archive, and for the
    judges."""
    async with Talk(spare, "edit") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        name, peer = f"{talk.user('alice')}:{talk.user('bob')}", talk.user("bob")
        for body in ("one", "two", "three"):
            await alice.send(peer, body)
        assert (await bob.history(name)).known == 3  # makes a window
        assert (await alice.edit(peer, 1, "one, corrected")).seq == 4
        assert (await alice.delete(peer, 2)).seq == 5
        for wrong, code in (
            (alice.edit(peer, 2, "again"), Code.CHANGE_OF_DELETED),
            (alice.edit(peer, 4, "a change"), Code.CHANGE_UNKNOWN),
            (bob.delete(talk.user("alice"), 1), Code.CHANGE_NOT_YOURS),
        ):
            with pytest.raises(SendRefused, match=str(code.number)):
                await wrong
        done = await asyncio.to_thread(
            spare.run, "edit", "--as", talk.user("alice"), "--to", peer, "1", "one, at last"
        )
        assert json.loads(done.stdout)["seq"] == 6, done.stderr
        last = [(1, "one, at last", 6), (2, "", 5), (3, "three", 0), (4, "one, at last", 6)]
        last += [(5, "", 5), (6, "one, at last", 6)]
        async with asyncio.timeout(60):
            while not (heard := _changes(talk.heard[f"{peer}/one"])) or heard[-1][1] != 6:
                await asyncio.sleep(0.05)
        assert heard == [(1, 4, "one, corrected"), (2, 5, ""), (1, 6, "one, at last")]
        new = await talk.join("bob", "new")
        for device in (alice, bob, new):
            pages = [await device.history(name), await device.history(name, after=0)]
            for page in pages:
                assert [(one.seq, one.body, one.version) for one in page.messages] == last
        await archived(spare, name, 6)
        archive = ClickHouseArchive(ClickHouseClient(spare.clickhouse("gateway"), 10))
        kept = await archive.page(name, after=0, limit=10)
        await archive.close()
        assert [(one.seq, one.body, one.version) for one in kept] == last
        for judge in (("archive", "check"), ("audit",)):
            judged = await asyncio.to_thread(spare.run, *judge, "--wait", "10")
            assert judged.returncode == 0, judged.stdout + judged.stderr


async def test_a_person_s_data_is_given_out_and_erased(spare: Stack) -> None:
    async with Talk(spare, "leave") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        name, user, peer = (
            f"{talk.user('alice')}:{talk.user('bob')}",
            talk.user("alice"),
            talk.user("bob"),
        )
        await alice.send(peer, "mine")
        await alice.edit(peer, 1, "mine, edited")
        await bob.send(user, "yours")
        await archived(spare, name, 3)
        given = await asyncio.to_thread(spare.run, "export", user)
        lines = [json.loads(line) for line in given.stdout.splitlines()]
        messages = [line for line in lines if line["kind"] == "message"]
        assert [(one["seq"], one["from"], one["body"], one["changes"]) for one in messages] == [
            (1, user, "mine, edited", 0),
            (2, user, "", 1),
            (3, peer, "yours", 0),
        ], given.stderr
        erase = "erase", "user", user, "--reason", "asked for it", "--as", "operator"
        said = await asyncio.to_thread(spare.run, *erase)
        assert "would erase 1 messages" in said.stdout, said.stderr
        said = await asyncio.to_thread(spare.run, *erase, "--yes")
        assert "erased 1 messages" in said.stdout, said.stderr
        again = await asyncio.to_thread(spare.run, *erase, "--yes")
        assert "erased 0 messages" in again.stdout, again.stderr
        page = await bob.history(name)
        texts = [(one.seq, one.body, one.erased) for one in page.messages]
        assert texts == [(1, "", True), (2, "", True), (3, "yours", False), (4, "", True)]
        admin = ArchiveAdmin(spare.clickhouse("admin"))
        rows = admin.query(f"SELECT seq, body FROM archive.messages WHERE conversation = '{name}'")
        noted = admin.query("SELECT who, reason, what, messages FROM archive.erasures FINAL")
        admin.close()
        assert sorted(rows) == [(1, ""), (2, ""), (3, "yours"), (4, "")]
        run = "operator", "asked for it", f"user {user}"
        assert sorted(noted) == [(*run, 0), (*run, 1)]
        judged = await asyncio.to_thread(spare.run, "audit", "--wait", "10")
        assert judged.returncode == 0, judged.stdout + judged.stderr


def _changes(events: Sequence[Event]) -> list[tuple[int, int, str]]:
    """(changed message, number, text) of each change."""
    messages = (event for event in events if isinstance(event, MessageReceived))
    return [(event.changes, event.seq, event.body) for event in messages if event.changes]


async def test_pages_from_archive_and_log_while_the_conversation_grows(
    spare: Stack, http: aiohttp.ClientSession
) -> None:
    async with Talk(spare, "grow") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        conversation = f"{talk.user('alice')}:{talk.user('bob')}"
        await talk.say(alice, "bob", [f"message {n}" for n in range(1, 251)])
        await archived(spare, conversation, 250)
        await asyncio.to_thread(kafka.expire, spare, LOG, partition_of(conversation, 4))
        growing = asyncio.create_task(
            talk.say(bob, "alice", [f"message {n}" for n in range(251, 351)])
        )
        shown: list[int] = []
        before: int | None = None
        while True:
            page = await alice.history(conversation, before=before, limit=30)
            assert all(message.body == f"message {message.seq}" for message in page.messages)
            shown = [message.seq for message in page.messages] + shown
            if page.first:
                break
            before = page.messages[0].seq
        assert shown == list(range(1, shown[-1] + 1))
        assert shown[-1] >= 250
        await growing
        oldest = await bob.history(conversation, after=0, limit=100)
        assert [message.seq for message in oldest.messages] == list(range(1, 101))
        assert oldest.first
        across = await bob.history(conversation, after=230, limit=50)
        assert [message.seq for message in across.messages] == list(range(231, 281))
        assert (across.known, across.first) == (350, False)
        with pytest.raises(HistoryRefused, match="113"):
            await alice.history("bob:carol")

        status, answer = await get(
            http,
            spare,
            talk.user("alice"),
            f"/v1/conversations/{conversation}/messages?before=300&limit=100",
        )
        assert (status, seqs(answer), answer["first"]) == (200, list(range(200, 300)), False)
        read = await asyncio.to_thread(
            spare.run,
            "history",
            "--as",
            talk.user("bob"),
            "--with",
            talk.user("alice"),
            "--limit",
            "120",
        )
        assert [json.loads(line)["seq"] for line in read.stdout.splitlines()] == list(
            range(231, 351)
        )


async def test_conversations_are_listed_by_their_last_message(
    spare: Stack, http: aiohttp.ClientSession
) -> None:
    async with Talk(spare, "list") as talk:
        alice = await talk.join("alice")
        names = [f"friend{n}" for n in range(7)]
        for name in names:
            await talk.say(alice, name, [f"hello {name}"])
        user = talk.user("alice")
        expected = [f"{user}:{talk.user(name)}" for name in reversed(names)]
        found: list[dict[str, Any]] = []
        path: str | None = "/v1/conversations?limit=3"
        while path:
            status, answer = await get(http, spare, user, path)
            assert status == 200
            found += answer["conversations"]
            path = f"/v1/conversations?limit=3&before={answer['next']}" if answer["next"] else None
        assert [entry["conversation"] for entry in found] == expected
        assert [entry["last"]["body"] for entry in found] == [
            f"hello {name}" for name in reversed(names)
        ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/conversations/bob:carol/messages", 403, Code.NOT_A_MEMBER),
        ("/v1/conversations/nonsense/messages", 403, Code.NOT_A_MEMBER),
        ("/v1/conversations/alice:bob/messages?before=0", 400, Code.BAD_FIELD),
        ("/v1/conversations/alice:bob/messages?limit=x", 400, Code.BAD_FIELD),
        ("/v1/conversations?before=yesterday", 400, Code.BAD_FIELD),
    ],
)
async def test_bad_questions_get_a_numbered_error(
    spare: Stack, http: aiohttp.ClientSession, path: str, status: int, code: Code
) -> None:
    found, answer = await get(http, spare, "alice", path)
    assert (found, answer["code"], answer["retry"]) == (status, code.number, False)
    async with http.get(
        spare.gateway_urls[0] + path, headers={"Authorization": "Bearer nothing"}
    ) as response:
        assert (response.status, (await response.json())["code"]) == (401, Code.UNAUTHORIZED.number)


async def test_without_clickhouse_what_the_log_holds_is_still_there(
    spare: Stack, http: aiohttp.ClientSession
) -> None:
    async with Talk(spare, "gone") as talk:
        alice = await talk.join("alice")
        conversation = f"{talk.user('alice')}:{talk.user('bob')}"
        await talk.say(alice, "bob", [f"message {n}" for n in range(1, 21)])
        await archived(spare, conversation, 20)
        await asyncio.to_thread(kafka.expire, spare, LOG, partition_of(conversation, 4))
        await talk.say(alice, "bob", [f"message {n}" for n in range(21, 41)])
        device = await connect(http, spare, talk.user("alice"))
        spare.kill("clickhouse", signal.SIGSTOP)
        try:
            recent = await device.ask("history", conversation=conversation, limit=20)
            assert seqs(recent) == list(range(21, 41))
            older = await device.ask("history", conversation=conversation, before=21, limit=20)
            assert (older["code"], older["retry"]) == (Code.TRY_LATER.number, True)
            status, _ = await get(
                http,
                spare,
                talk.user("alice"),
                f"/v1/conversations/{conversation}/messages?before=21",
            )
            assert status == 503
        finally:
            spare.kill("clickhouse", signal.SIGCONT)
        async with asyncio.timeout(60):
            whole = (await alice.history(conversation, limit=40)).messages
        assert [message.seq for message in whole] == list(range(1, 41))


async def test_without_an_archive_old_pages_are_gone(
    plain: Stack, http: aiohttp.ClientSession
) -> None:
    async with Talk(plain, "log") as talk:
        alice = await talk.join("alice")
        conversation = f"{talk.user('alice')}:{talk.user('bob')}"
        await talk.say(alice, "bob", ["one", "two"])
        async with asyncio.timeout(60):
            while await asyncio.to_thread(archivable, plain, conversation) < 2:
                await asyncio.sleep(0.05)  # "sent" is earlier (R4)
        await asyncio.to_thread(kafka.expire, plain, LOG, partition_of(conversation, 4))
        await talk.say(alice, "bob", ["three"])
        page = await alice.history(conversation, limit=1)
        assert [message.body for message in page.messages] == ["three"]
        with pytest.raises(HistoryRefused, match="122"):
            await alice.history(conversation, before=3)
        status, answer = await get(
            http,
            plain,
            talk.user("alice"),
            f"/v1/conversations/{conversation}/messages?before=3",
        )
        assert (status, answer["code"]) == (410, Code.RANGE_GONE.number)


def archivable(stack: Stack, conversation: str) -> int:
    """How many messages of a conversation the log holds."""
    return sum(row[0] == conversation for row in in_log(stack))
