"""The sequencer alone: messages a CPU-second of the worker, from a full input topic with one
message a record."""

import asyncio
import os
import subprocess
import time
from typing import Any

from bench.prefill import prefill
from bench.processes import cpu_seconds
from bench.system import Checkout, System, system


def measure(checkout: Checkout, messages: int, conversations: int) -> dict[str, Any]:
    """Fold, append and deliver `messages` of `conversations`, with a lookup of routes for every
    batch. The start of the process counts."""
    with system(checkout, workers=0, gateways=0, archivers=None) as stack:
        asyncio.run(prefill(stack.kafka, stack.redis, 4, messages, conversations))
        environment = {
            **os.environ,
            "MESSENGER_KAFKA": stack.kafka,
            "MESSENGER_LOCAL": "1",
            "MESSENGER_REDIS": stack.redis,
            "MESSENGER_STATE_DIR": str(stack.home / "bench-worker"),
            "MESSENGER_WEB_PORT": str(stack.base_port + 16),
        }
        before = stack.cpu()
        with (stack.home / "bench-worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [str(checkout.python), "-m", "ops", "worker", "sequencer"],
                cwd=checkout.folder,
                env=environment,
                stderr=log,
            )
        try:
            began, first, page = _run(stack, worker.pid, messages)
            used = cpu_seconds(worker.pid) - began[1]
            seconds = time.monotonic() - began[0]
            after = stack.cpu()
        finally:
            worker.terminate()
            worker.wait(20)
    counted = page["messages"] - first
    return {
        "messages": counted,
        "messages_per_worker_cpu_second": round(counted / used),
        "messages_per_second": round(counted / seconds),
        "messages_per_event": page["messages_per_event"],
        "broker_us_per_message": round((after["kafka"] - before["kafka"]) / messages * 1e6, 1),
        "redis_us_per_message": round((after["redis"] - before["redis"]) / messages * 1e6, 1),
    }


def _run(stack: System, pid: int, messages: int) -> tuple[tuple[float, float], int, dict[str, Any]]:
    """Wait until everything is appended and delivered. Returns (time, CPU seconds) when the first
    messages were seen, how many those were, and the worker's page at the end."""
    began: tuple[float, float] | None = None
    first = 0
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.1)
        page = stack.sequencer()
        if page is None:
            continue
        if began is None and page["messages"]:
            began, first = (time.monotonic(), cpu_seconds(pid)), page["messages"]
        done = [
            p.get("delivered") == p.get("position") == p.get("appended") for p in page["partitions"]
        ]
        if began is not None and page["messages"] >= messages and all(done):
            return began, first, page
    raise TimeoutError("the sequencer did not finish within 300 s")
