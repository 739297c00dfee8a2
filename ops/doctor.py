"""What must be right for the system to run, looked at one by one: each check says what it has
found, or what is wrong and how to mend it."""

import contextlib
import importlib.metadata
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.rules.overview import findings
from connectors.clickhouse.admin import ArchiveAdmin
from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.start_checks import check_topics
from connectors.kafka.wanted_topics import WantedTopics, one_copy
from schemas.archive import migrations
from schemas.fleet import CLOCK_SECONDS, Seen

_TIMEOUT = 10.0
_LEAST_REDIS = (6, 2)
"""GETEX (docs/OPERATIONS.md)."""
_FULL_MEMORY = 0.8
_LEAST_FREE_BYTES, _LEAST_FREE = 2 * 1024**3, 0.05
_CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
_PINNED = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


class Found(NamedTuple):
    """`what` was found of `part`. With `do` it is wrong, and that is how to mend it."""

    part: str
    what: str
    do: str = ""


def versions() -> Iterator[Found]:
    """Checks the versions of Python and of the packages."""
    wrong = []
    for name, wanted in _PINNED.findall(_CONSTRAINTS.read_text()):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of another purpose
            found = importlib.metadata.version(name)
            if found != wanted:
                wrong.append(f"{name} {found} instead of {wanted}")
    python = ".".join(map(str, sys.version_info[:3]))
    if wrong:
        yield Found("versions", "; ".join(wrong), "pip install -e . -c constraints.txt")
    else:
        yield Found("versions", f"Python {python}, packages as constraints.txt says")


def disk(folder: Path) -> Iterator[Found]:
    """Checks how much room there is where the state is kept."""
    place = next(one for one in (folder, *folder.parents) if one.exists())
    usage = shutil.disk_usage(place)
    what = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.0f} are free at {place}"
    full = usage.free < max(_LEAST_FREE_BYTES, usage.total * _LEAST_FREE)
    do = "make room: a full disk makes Kafka and the tables wait" if full else ""
    yield Found("disk", what, do)


def ports(wanted: Mapping[str, int]) -> Iterator[Found]:
    """Checks that no process has the ports of a local stack that does not run."""
    taken = []
    for part, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} ({part})")
    if taken:
        do = "end whoever has them, or set MESSENGER_BASE_PORT to another number"
        yield Found("ports", f"somebody else has {', '.join(taken)}", do)
    else:
        yield Found("ports", "those of the local stack, which does not run, are free")


def kafka(servers: str, wanted: WantedTopics) -> Iterator[Found]:
    """Checks the topics, and whether all copies are there."""
    try:
        checked = check_topics(servers, wanted, _TIMEOUT)
        behind = TopicsAdmin(servers, wanted, _TIMEOUT).under_replicated()
    except KafkaUnreachable as error:
        yield Found("kafka", str(error), "start its brokers, or correct MESSENGER_KAFKA")
        return
    for problem in checked.problems:
        yield Found("topics", problem, "messenger topics create")
    if not checked.problems:
        yield Found("topics", f"{len(checked.topics)} topics are as schemas/topics says")
    for note in checked.notes:
        yield Found("topics", note)
    if behind:
        some = ", ".join(behind[:3]) + (" …" if len(behind) > 3 else "")
        do = "look for a broker that is away; stop no other one meanwhile"
        yield Found("replication", f"copies are missing of {len(behind)}: {some}", do)
    else:
        copies = one_copy(wanted) or "every partition has all its copies"
        yield Found("replication", copies)


def redis(server: Mapping[str, str], clock: float) -> Iterator[Found]:
    """Checks what INFO says, and Redis' clock (in seconds) against ours."""
    version = server.get("redis_version", "0")
    old = tuple(map(int, version.split(".")[:2])) < _LEAST_REDIS
    least = ".".join(map(str, _LEAST_REDIS))
    yield Found("redis", f"version {version}", f"Redis {least} or later" if old else "")
    policy = server.get("maxmemory_policy", "noeviction")
    wrong = policy != "noeviction"
    do = "CONFIG SET maxmemory-policy noeviction: others evict leases and routes" if wrong else ""
    yield Found("redis", f"maxmemory-policy {policy}", do)
    used, most = int(server.get("used_memory", 0)), int(server.get("maxmemory", 0))
    if most:
        do = "give it more memory: at its limit leases cannot be renewed"
        what = f"{used / most:.0%} of its {most / 1024**2:.0f} MiB are used"
        yield Found("redis", what, do if used > most * _FULL_MEMORY else "")
    ahead = time.time() - clock
    what = f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'}"
    far = abs(ahead) > CLOCK_SECONDS
    yield Found("clocks", f"{what} Redis'", "keep all clocks by NTP" if far else "")


def archive(url: str) -> Iterator[Found]:
    """Checks whether the archive's tables are those of this version."""
    try:
        with contextlib.closing(ArchiveAdmin(url)) as admin:
            applied, wanted = admin.applied(), migrations()[-1].number
    except (ArchiveUnavailable, ArchiveRefused) as error:
        yield Found("archive", str(error), "start ClickHouse, or correct its address")
        return
    do = {-1: "messenger archive migrate", 0: "", 1: "use the newer version's messenger"}
    order = (applied > wanted) - (applied < wanted)
    yield Found("archive", f"migration {applied} of {wanted}", do[order])


def processes(parts: Sequence[Seen], now: int) -> Iterator[Found]:
    """Says how all processes are, as the overview page does."""
    if not parts:
        yield Found("processes", "none has said anything", "start workers and gateways")
    found = [one for one in findings(parts, "", now) if one.level == "problem"]
    for one in found:
        yield Found(one.part, one.what, one.do or "see docs/OPERATIONS.md")
    if parts and not found:
        yield Found("processes", f"all {len(parts)} are well")
