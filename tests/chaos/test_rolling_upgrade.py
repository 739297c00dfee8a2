"""Two versions of this code side by side, as docs/OPERATIONS.md has the order of an upgrade: each
process is replaced by one of the other version while people talk."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.versions import ROOT, Part, check_out

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.soak, pytest.mark.timeout(900)]

OLDER = os.environ.get("MESSENGER_OLDER", "fd85584c3eeef5922ad2de5d4dd97e652d59230c")
"""A commit whose processes run beside those of this checkout."""
PARTS = {"workers": 0, "gateways": 0, "archivers": 0}
STAGES = "sequencer", "cursors", "presence", "memberships"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return check_out(OLDER, tmp_path / "older")


@pytest.fixture
def parts(lab: Stack, tmp_path: Path) -> Iterator[list[Part]]:
    """In the order of an upgrade: workers, archivers, gateways."""
    found = []
    for number in (0, 1):
        port = str(lab.base_port + 24 + number)
        state = str(tmp_path / f"state-{number}")
        settings = {"MESSENGER_WEB_PORT": port, "MESSENGER_STATE_DIR": state}
        arguments = ["worker", *STAGES]
        found.append(Part(lab, f"rolled-{number}", arguments, int(port), "/health/", **settings))
    port = str(lab.base_port + 26)
    settings = {"MESSENGER_WEB_PORT": port, "MESSENGER_STATE_DIR": str(tmp_path / "archiver")}
    settings["MESSENGER_CLICKHOUSE"] = lab.clickhouse("archiver")
    found.append(
        Part(lab, "rolled-archiver", ["worker", "archiver"], int(port), "/health/", **settings)
    )
    for number in (0, 1):
        port = str(lab.base_port + number)
        settings = {"MESSENGER_HTTP_PORT": port, "MESSENGER_TOKEN_SECRET": lab.token_secret}
        settings |= {
            "MESSENGER_CLICKHOUSE": lab.clickhouse("gateway"),
            "MESSENGER_DRAIN_SECONDS": "0.5",
        }
        found.append(
            Part(lab, f"rolled-gateway-{number}", ["gateway"], int(port), "/health", **settings)
        )
    yield found
    for part in reversed(found):
        part.stop(signal.SIGKILL)


async def test_each_process_is_upgraded_and_rolled_back_while_people_talk(
    lab: Stack, older: Path, parts: list[Part], talk: Talk, load: Load
) -> None:
    lab.gateway_urls = [f"http://127.0.0.1:{lab.base_port + number}" for number in (0, 1)]
    for part in parts:
        part.start(_code(part, older))
    for part in parts:
        await asyncio.to_thread(part.wait_healthy)
    await load.start()
    await load.sent(100)
    for version, way in ((ROOT, parts), (older, list(reversed(parts))), (ROOT, parts)):
        for part in way:
            code = _code(part, version)
            await asyncio.to_thread(part.stop)
            part.start(code)
            await asyncio.to_thread(part.wait_healthy)
            await load.sent(50)
            print(f"{part.name} of {code.name}: dark for {await load.dark():.1f} s")
    await load.stop()
    await talk.settle(60)
    devices = talk.verdict()
    assert devices.lines() == ["dense, once, in order, equal everywhere"]
    urls = [argument for port in (24, 25) for argument in ("--worker", _url(lab, port))]
    topics = await asyncio.to_thread(lab.run, "audit", *urls)
    assert topics.returncode == 0, topics.stdout + topics.stderr
    archive = await asyncio.to_thread(lab.run, "archive", "check", "--wait", "30")
    assert archive.returncode == 0, archive.stdout + archive.stderr
    print(dict(devices.figures))


def _code(part: Part, version: Path) -> Path:
    """The code that a process may run: an older archiver halts at an archive that is migrated."""
    return ROOT if part.name == "rolled-archiver" else version


def _url(lab: Stack, port: int) -> str:
    return f"http://127.0.0.1:{lab.base_port + port}"
