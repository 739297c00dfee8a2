"""The sequencer alone: messages a CPU-second of the worker, from a full input topic with one
message a record."""

import asyncio
import time
from typing import Any

from bench.prefill import prefill
from bench.processes import cpu_seconds
from bench.system import Checkout, System, system
from bench.worker import Worker, worker


def measure(checkout: Checkout, messages: int, conversations: int) -> dict[str, Any]:
    """Fold, append and deliver `messages` of `conversations`, with a lookup of routes for every
    batch. The start of the process counts."""
    with system(checkout, workers=0, gateways=0, archivers=None) as stack:
        asyncio.run(prefill(stack.kafka, stack.redis, 4, messages, conversations))
        before = stack.cpu()
        with worker(checkout, stack, "sequencer", stack.worker_port) as folding:
            began, first, page = _run(stack, folding, messages)
            used = cpu_seconds(folding.pid) - began[1]
            seconds = time.monotonic() - began[0]
            after = stack.cpu()
    counted = page["messages"] - first
    return {
        "messages": counted,
        "messages_per_worker_cpu_second": round(counted / used),
        "messages_per_second": round(counted / seconds),
        "messages_per_event": page["messages_per_event"],
        "broker_us_per_message": round((after["kafka"] - before["kafka"]) / messages * 1e6, 1),
        "redis_us_per_message": round((after["redis"] - before["redis"]) / messages * 1e6, 1),
    }


def _run(
    stack: System, worker: Worker, messages: int
) -> tuple[tuple[float, float], int, dict[str, Any]]:
    """Wait until everything is appended and delivered. Returns (time, CPU seconds) when the first
    messages were seen, how many those were, and the worker's page at the end."""
    began: tuple[float, float] | None = None
    first = 0
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.1)
        worker.require()
        page = stack.sequencer()
        if page is None:
            continue
        if began is None and page["messages"]:
            began, first = (time.monotonic(), cpu_seconds(worker.pid)), page["messages"]
        done = [
            p.get("delivered") == p.get("position") == p.get("appended") for p in page["partitions"]
        ]
        if began is not None and page["messages"] >= messages and all(done):
            return began, first, page
    raise TimeoutError("the sequencer did not finish within 300 s")
