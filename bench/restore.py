"""Snapshots: how large they are, how long they take to write, and how soon a worker has its state
again from its disk, from snapshots, and from the whole log."""

import asyncio
import json
import shutil
import time
import urllib.request
from typing import Any

from bench.prefill import prefill
from bench.processes import cpu_seconds, peak_mib
from bench.system import Checkout, NotInCheckout, System, system
from bench.worker import Worker, worker
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import SNAPSHOTS

_PARTITIONS = 4
_MESSAGES = 3
"""Of each conversation."""
_SECONDS = 1200.0


def measure(checkout: Checkout, conversations: int) -> dict[str, Any]:
    """One worker has all partitions. A restore takes from the start of its process until all run;
    that from the disk is what any start takes. Raises NotInCheckout."""
    if not (checkout.folder / "schemas/topics/snapshots.yaml").exists():
        raise NotInCheckout("it has no snapshots")
    with system(checkout, workers=0, gateways=0, archivers=None) as stack:
        messages = _MESSAGES * conversations
        asyncio.run(prefill(stack.kafka, stack.redis, _PARTITIONS, messages, conversations))
        with worker(checkout, stack, "sequencer", stack.worker_port) as writer:
            _wait_for(stack, writer, messages)
            written = _write(stack, writer.pid)
        found: dict[str, Any] = {"from_the_disk": _restore(checkout, stack)}
        shutil.rmtree(writer.state)
        found["from_snapshots"] = _restore(checkout, stack)
        _delete_snapshots(stack)
        shutil.rmtree(writer.state)
        found["from_the_whole_log"] = _restore(checkout, stack)
    return {"conversations": conversations, "write": written, "restore": found}


def _restore(checkout: Checkout, stack: System) -> dict[str, Any]:
    began = time.monotonic()
    with worker(checkout, stack, "sequencer", stack.worker_port) as restoring:
        _wait_for(stack, restoring, 0)
        seconds = time.monotonic() - began
        return {
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds(restoring.pid), 1),
            "peak_mib": peak_mib(restoring.pid),
        }


def _wait_for(stack: System, worker: Worker, messages: int) -> None:
    """Until all partitions run, so many messages were folded, and all of them are delivered."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        time.sleep(0.05)
        worker.require()
        page = stack.sequencer()
        partitions = page["partitions"] if page is not None else []
        running = [one for one in partitions if one["status"] == "running"]
        done = all(one["delivered"] == one["position"] == one["appended"] for one in running)
        if page and done and len(running) == _PARTITIONS and page["messages"] >= messages:
            return
    raise TimeoutError(f"the sequencer has not finished within {_SECONDS:.0f} s")


def _write(stack: System, pid: int) -> dict[str, Any]:
    began, used = time.monotonic(), cpu_seconds(pid)
    rows = size = 0
    for partition in range(_PARTITIONS):
        url = f"http://127.0.0.1:{stack.worker_port}/sequencer/snapshot/{partition}/"
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            written = json.load(answer)
        rows += written["rows"]
        size += written["bytes"]
    seconds = time.monotonic() - began
    return {
        "seconds": round(seconds, 1),
        "cores_of_the_worker": round((cpu_seconds(pid) - used) / seconds, 2),
        "rows": rows,
        "mib": round(size / 2**20, 1),
        "bytes_a_row": round(size / rows),
    }


def _delete_snapshots(stack: System) -> None:
    admin, reader = TopicsAdmin(stack.kafka, WantedTopics(_PARTITIONS, 8)), Reader(stack.kafka)
    for partition in range(_PARTITIONS):
        admin.expire(SNAPSHOTS, partition, reader.watermarks(SNAPSHOTS, partition)[1])
    reader.close()
