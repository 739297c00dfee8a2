"""docs/QUICKSTART.md: its lines do what it says. JavaScript's are in tests/browser/test_modules.py,
SQL's in tests/integration/test_archive_times.py."""

import asyncio
import json
import shlex
import time
from pathlib import Path

import pytest

from tests.harness.documents import blocks, run, section
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
PAGE = "docs/QUICKSTART.md"


def _script(title: str) -> str:
    """What the section has besides the code of a language."""
    found = [one.code for one in blocks(section(PAGE, title)) if not one.language]
    assert found, title
    return "\n".join(found)


async def test_python(stack: Stack, tmp_path: Path) -> None:
    (code,) = [one.code for one in blocks(section(PAGE, "Python")) if one.language]
    hello = tmp_path / "hello.py"
    hello.write_text(code)
    script = _script("Python").replace(" hello.py ", f" {shlex.quote(str(hello))} ")
    said = await asyncio.to_thread(run, stack, script)
    conversation, seq, sender, body = said.splitlines()[-1].split(maxsplit=3)
    assert (conversation, sender, body) == ("alice:bob", "alice", "Lunch?")
    assert int(seq) >= 1


async def test_http(stack: Stack) -> None:
    said = await asyncio.to_thread(run, stack, _script("HTTP, from any language"))
    sent, history = (json.loads(line) for line in said.splitlines())
    assert (sent["t"], sent["conversation"]) == ("sent", "alice:bob")
    assert history["messages"][-1] == {
        "t": "message",
        "conversation": "alice:bob",
        "seq": sent["seq"],
        "from": "alice",
        "key": sent["key"],
        "time": sent["time"],
        "body": "Lunch?",
    }


async def test_the_terminal(stack: Stack) -> None:
    send, tail = (one.code for one in blocks(section(PAGE, "The terminal")))
    window = asyncio.create_task(asyncio.to_thread(run, stack, tail))
    while not window.done():  # it shows what is said from its start on
        assert (await asyncio.to_thread(run, stack, send)).count("Lunch?") >= 2
    assert json.loads((await window).splitlines()[-1])["body"] == "Lunch?"


async def test_operators(stack: Stack) -> None:
    script = _script("Operators")
    until = time.monotonic() + 60
    while True:
        try:
            said = await asyncio.to_thread(run, stack, script)
            break
        except AssertionError:  # `status` shows what was said two seconds ago
            if time.monotonic() > until:
                raise
    for words in ("all is well", "ok   topics", "running", "connections", "counters: ", "brokers"):
        assert words in said, said
