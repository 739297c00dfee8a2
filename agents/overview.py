"""The overview page's data: this worker's report, and those of all processes."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from agents.metrics import metrics_text
from agents.rules.overview import findings
from connectors.redis.client import RedisUnavailable
from connectors.redis.fleet import Fleet
from connectors.reporter import Counts, Meter, Reporter
from schemas.codec import UNDECODABLE
from schemas.fleet import FORGET_SECONDS, Overview, Report, Seen, StageReport
from streams.stage import Stage
from streams.worker import Worker
from streams.worker_api import Request, Response, json_response

_ASK_SECONDS = 1.0
"""However many look, Redis is asked so seldom."""
_WORK = {"sequencer": "messages", "archiver-messages": "rows", "archiver-cursors": "rows"}
"""The figure that says how much a stage does; of the others it is `facts`."""


class WorkerOverview:
    """`address` is where this worker's pages are. `now` in ms."""

    def __init__(self, worker: Worker, fleet: Fleet, address: str, now: Callable[[], int]) -> None:
        self._worker = worker
        self._fleet = fleet
        self._address = address
        self._now = now
        self._began = now()
        self._process = f"worker {address}"
        self.reporter = Reporter(fleet, self._process, self._build, self._counts)
        self._known: dict[str, Seen] = {}
        self._asked_at = float("-inf")
        self._heard_at = float("-inf")
        self._redis_away = ""
        worker.api.add({"/overview/": self._page, "/metrics/": self._metrics})

    def _build(self, meter: Meter) -> Report:
        away = self._worker.shared.dependencies.away()
        return Report(
            "worker",
            self._address,
            self._began,
            self._now(),
            self._worker.problems(),
            away,
            meter.history(),
            [_stage(stage, meter) for stage in self._worker.stages],
        )

    def _counts(self) -> tuple[Counts, Counts]:
        stages = self._worker.stages
        return {stage.name: _done(stage) for stage in stages}, {}

    async def _metrics(self, request: Request) -> Response:
        """This worker's metrics, for Prometheus."""
        return Response(200, metrics_text(self.reporter.report()), "text/plain")

    async def _page(self, request: Request) -> Response:
        """The whole system; of other processes what they have said last."""
        time = asyncio.get_running_loop().time()
        if time - self._asked_at > _ASK_SECONDS:
            self._asked_at = time
            await self._ask()
        waited = time - self._heard_at if self._redis_away else 0.0
        parts = [
            Seen(seen.age + waited, seen.report, seen.ahead)
            for process, seen in self._known.items()
            if process != self._process
        ]
        parts.append(Seen(0.0, self.reporter.report()))
        parts.sort(key=lambda seen: (seen.report.kind, seen.report.address))
        now = self._now()
        found = findings(parts, self._redis_away, now)
        return json_response(Overview(now, self._address, parts, found))

    async def _ask(self) -> None:
        try:
            self._known = await read_fleet(self._fleet)
            for process in [
                name for name, seen in self._known.items() if seen.age > FORGET_SECONDS
            ]:
                del self._known[process]
                await self._fleet.leave(process)
        except RedisUnavailable as error:
            self._redis_away = str(error)
        else:
            self._redis_away, self._heard_at = "", asyncio.get_running_loop().time()


async def read_fleet(fleet: Fleet) -> dict[str, Seen]:
    """process → what it has said last. Raises RedisUnavailable."""
    found: dict[str, Seen] = {}
    for process, said in (await fleet.all()).items():
        with contextlib.suppress(*UNDECODABLE):  # another version's, which says other things
            report = msgspec.json.decode(said.report, type=Report)
            found[process] = Seen(said.age, report, round(report.now / 1000 - said.time, 1))
    return found


def _stage(stage: Stage[Any], meter: Meter) -> StageReport:
    rebalances, rebalancing = stage.membership()
    return StageReport(
        stage.name,
        stage.spec.topic,
        stage.spec.partitions,
        meter.rates.get(stage.name, 0.0),
        dict(stage.figures),
        rebalances,
        rebalancing,
        [owned.report() for _, owned in sorted(stage.partitions.items())],
    )


def _done(stage: Stage[Any]) -> float:
    figures: Counter[str] = stage.figures
    return float(figures[_WORK.get(stage.name, "facts")])
