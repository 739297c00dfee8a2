"""All stages of one worker process, without Faust: the code that watches them, and what the process
answers."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from connectors.kafka.ports import ReadTimeout
from streams.inputs import InputSeen
from streams.progress import ProgressProbe
from streams.retry import TROUBLE_OUTSIDE, system_of
from streams.stage import Shared, Stage, StageSpec
from streams.watchdog import Watchdog
from streams.worker_api import Request, Response, WorkerApi, json_response

log = logging.getLogger(__name__)

_CLIENT = "the watchdog"
_LOOK_SECONDS = 4.0
APART_SECONDS = 0.1
"""Lies between the periodic work of two stages. If all stages did theirs at once, messages would
wait for all of it."""


class Worker:
    """Make it inside the loop it runs in. `expired` is called once with a text when the worker
    stands still and must be replaced by a fresh one."""

    def __init__(
        self, specs: Sequence[StageSpec[Any]], shared: Shared, expired: Callable[[str], None]
    ) -> None:
        self.stages = [Stage(spec, shared) for spec in specs]
        self.shared = shared
        for stage in self.stages:
            stage.end = expired
        self.api = WorkerApi()
        self.api.add({"/health/": self._health, "/partitions/": self._partitions})
        for stage in self.stages:
            self.api.add(stage.spec.endpoints(stage))
        self._looks = 0
        self._watchdog = Watchdog(self, expired)

    def start(self) -> None:
        """Begin to call the stages' timers."""
        now = asyncio.get_running_loop().time()
        for number, stage in enumerate(self.stages):
            stage.start(now + number * APART_SECONDS)

    async def watch(self) -> None:
        """Look at everything each second, until cancelled or until something has expired."""
        await self._watchdog.run(self.stages[0].until_next)

    async def close(self) -> None:
        """After the stages have stopped: end the clients."""
        for stage in reversed(self.stages):
            await stage.spec.close()
        await self.shared.inputs.close()
        self.shared.restores.close()

    def problems(self) -> list[str]:
        """What an operator must know of this worker; empty when everything it has runs."""
        found = [problem for stage in self.stages for problem in stage.problems()]
        return [*found, *self.shared.dependencies.problems(), *self._watchdog.problems()]

    async def _health(self, request: Request) -> Response:
        """200 when everything that this worker has runs, else 503; lists what does not."""
        found = self.problems()
        return json_response({"healthy": not found, "problems": found}, 503 if found else 200)

    async def _partitions(self, request: Request) -> Response:
        """stage → report of each of its partitions here."""
        return json_response(
            {
                stage.name: [owned.report() for _, owned in sorted(stage.partitions.items())]
                for stage in self.stages
            }
        )

    # Watched

    async def look(self) -> bool:
        self._looks += 1
        running = {stage.name: stage.running() for stage in self.stages}
        found: Mapping[str, Mapping[int, InputSeen]] | None = None
        first = self._looks % len(self.stages)  # one that fails must not hide the others for good
        for stage in (*self.stages[first:], *self.stages[:first]):
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    found = await self._look_at_all(running) if found is None else found
                    await stage.look(running[stage.name], found.get(stage.name))
            except TimeoutError:
                why = f"no answer for {_LOOK_SECONDS:.0f} s"
                self.shared.dependencies.get("kafka").failed(why, _CLIENT)
                return False
            except TROUBLE_OUTSIDE as error:
                self.shared.dependencies.get(system_of(error)).failed(str(error), _CLIENT)
                return False
        self.shared.dependencies.get("kafka").succeeded(_CLIENT)
        return True

    async def _look_at_all(
        self, running: Mapping[str, Collection[int]]
    ) -> Mapping[str, Mapping[int, InputSeen]]:
        """Stage → partition → its input, asked of all together. Empty if some do not answer: then
        each stage asks for itself. Raises KafkaUnreachable."""
        places = {
            stage.name: [(stage.spec.topic, number) for number in running[stage.name]]
            for stage in self.stages
        }
        try:
            seen = await self.shared.inputs.look_at_all(
                {place for some in places.values() for place in some}
            )
        except ReadTimeout:
            return {}
        return {name: {p[1]: seen[p] for p in some} for name, some in places.items()}

    def probes(self) -> Iterable[ProgressProbe]:
        for stage in self.stages:
            yield from stage.probes()
