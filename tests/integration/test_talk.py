"""People talking through the whole real stack."""

import asyncio
import json

import pytest

from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real


async def test_two_devices_talk(stack: Stack) -> None:
    async with Talk(stack, "two") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        first = await alice.send(talk.user("bob"), "Lunch?")
        second = await bob.send(talk.user("alice"), "Yes")
        assert (first.seq, second.seq) == (1, 2)
        assert first.conversation == second.conversation == "two-alice:two-bob"
        for sent, body in ((first, "Lunch?"), (second, "Yes")):
            talk.sent(sent.conversation, sent.seq, body)
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]


async def test_three_devices_of_one_user_show_the_same(stack: Stack) -> None:
    async with Talk(stack, "three") as talk:
        bob = await talk.join("bob")
        devices = [await talk.join("alice", device) for device in ("phone", "tablet", "laptop")]
        for number, device in enumerate(devices * 5):
            await talk.say(device, "bob", [f"from device {number % 3}: {number}"])
            await talk.say(bob, "alice", [f"answer {number}"])
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
        assert {len(shown) for shown in talk.shown.values()} == {30}


async def test_ten_thousand_messages_over_fifty_conversations(stack: Stack) -> None:
    async with Talk(stack, "many") as talk:
        pairs = [(await talk.join(f"a{n}"), await talk.join(f"b{n}")) for n in range(50)]
        await asyncio.gather(
            *(
                talk.say(pair[0], f"b{n}", [f"{n} a {i}" for i in range(100)])
                for n, pair in enumerate(pairs)
            ),
            *(
                talk.say(pair[1], f"a{n}", [f"{n} b {i}" for i in range(100)])
                for n, pair in enumerate(pairs)
            ),
        )
        await talk.settle()
        verdict = talk.verdict()
        assert verdict.lines() == ["dense, once, in order, equal everywhere"]
        assert verdict.figures["accepted"] == 10_000
        assert verdict.figures["shown"] == 20_000
        for device, shown in talk.shown.items():
            own = [
                m.body for m in shown if m.body.split()[1] == device.split("/")[0].split("-")[1][0]
            ]
            assert own == sorted(own, key=lambda body: int(body.split()[2])), (
                "a sender's messages are in the order written"
            )


def test_terminal_commands(stack: Stack) -> None:
    sent = stack.run(
        "send", "--as", "cli-alice", "--to", "cli-bob", "from the terminal", check=True
    )
    assert json.loads(sent.stdout)["seq"] == 1
    refused = stack.run("send", "--as", "cli-alice", "--to", "cli-bob", "")
    assert (refused.returncode, "110" in refused.stderr) == (1, True)
    wrong = stack.run("send", "--as", "Not A Name", "--to", "cli-bob", "x")
    assert wrong.returncode == 2
    token = stack.run("token", "cli-carol", check=True).stdout.strip()
    assert (
        stack.run("send", "--as", "cli-carol", "--token", token, "--to", "cli-bob", "x").returncode
        == 0
    )
    forged = stack.run(
        "send", "--as", "cli-carol", "--token", token[:-3] + "abc", "--to", "cli-bob", "x"
    )
    assert (forged.returncode, "token" in forged.stderr) == (1, True)


def test_the_judge_finds_everything_equal(stack: Stack) -> None:
    stack.run("send", "--as", "judge-alice", "--to", "judge-bob", "something to judge", check=True)
    judged = stack.run("audit")
    assert "dense, once, in order, equal everywhere" in judged.stdout, judged.stdout + judged.stderr
    assert judged.returncode == 0
