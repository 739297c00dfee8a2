"""A stage on one worker: its partitions, what the consumer asks about them, its timers, and what
health says of it.

A `StageSpec` is a stage as a value. streams/faust_adapter mounts it on a Faust app; the simulation
mounts the same on a group in memory.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from connectors.dependency import Dependencies
from connectors.kafka.ports import AT_ONCE, Fetch
from connectors.kafka.record import Record
from streams.inputs import Inputs, InputSeen
from streams.partition import Partition, PartitionRuntime, Status
from streams.progress import ProgressProbe
from streams.rates import Rates
from streams.restarts import Restarts
from streams.restores import Restores
from streams.retry import TROUBLE_OUTSIDE, Retry
from streams.worker_api import Handler

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Partition)

SESSION_SECONDS = 3.0
"""Of stages for which somebody waits. It must be longer than other brokers need to lead in place of
one that dies: meanwhile no broker may hear the heartbeats (decision 44)."""
HEARTBEATS = 3
"""In a session: with each, a worker says that it lives, and hears of a rebalance."""

_SAMPLE_SECONDS = 1.0
_MAX_UNSEEN = 3


class Timer(NamedTuple):
    """`run` is called every `seconds` (`Stage.until_next`), but not before its last call has ended.
    What it raises is logged, and it is called again."""

    seconds: float
    run: Callable[[], Awaitable[None]]


async def _nothing(*arguments: object) -> None:
    pass


class StageSpec(NamedTuple, Generic[P]):
    """`group` reads `topic`, of `partitions` partitions. `timers` and `endpoints` (pattern →
    handler) are of a stage that has been made; `close` ends the stage's own clients after its
    partitions. The group gives away the partitions of a worker whose heartbeats have stopped for
    `session_seconds`."""

    name: str
    group: str
    topic: str
    partitions: int
    make: Callable[[int, PartitionRuntime], P]
    timers: Callable[["Stage[P]"], Sequence[Timer]] = lambda stage: ()
    endpoints: Callable[["Stage[P]"], Mapping[str, Handler]] = lambda stage: {}
    problems: Callable[["Stage[P]"], Sequence[str]] = lambda stage: ()
    close: Callable[[], Awaitable[None]] = _nothing
    fetch: Fetch = AT_ONCE
    session_seconds: float = SESSION_SECONDS


class Shared(NamedTuple):
    """What all stages of a process share. `now` is the wall clock in ms, `random` gives numbers
    from 0 up to 1."""

    inputs: Inputs
    restores: Restores
    dependencies: Dependencies
    now: Callable[[], int]
    random: Callable[[], float]


class Stage(Generic[P]):
    """`PartitionPositions` of the spec's topic. Make it inside the loop it runs in; `start` and
    `stop` it. The code that mounts it sets `seek`, `renew`, `membership` and `confirmed_at`."""

    def __init__(self, spec: StageSpec[P], shared: Shared) -> None:
        self.spec = spec
        self.name = spec.name
        self.figures: Counter[str] = Counter()
        self.partitions: dict[int, P] = {}
        self.seek: Callable[[int], Awaitable[None]] = _nothing
        """Makes the consumer read from a partition's `next_offset` on."""
        self.renew: Callable[[], None] | None = None
        """Makes the consumer read by a new client."""
        self.membership: Callable[[], tuple[int, bool]] = lambda: (0, False)
        """How many rebalances there were, and whether one is going on."""
        self.end: Callable[[str], None] = log.critical
        """Ends the process, with a text: a fresh one is the cure."""
        self.rates = Rates(self.figures)
        self.confirmed_at: Callable[[], float] = lambda: float("inf")
        """When the heartbeat was sent that the group has acknowledged last, by the loop's clock."""
        self._shared = shared
        self._assigned: set[int] = set()
        self._generation: int | None = None
        self._released: dict[int, P] = {}
        self._restarts = Restarts()
        self._changing = asyncio.Lock()
        self._stopped = False
        self._began = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._runtime = PartitionRuntime(
            spec.name,
            spec.topic,
            self.figures,
            shared.inputs,
            shared.restores,
            lambda who: Retry(who, shared.dependencies, shared.random),
            lambda partition: self.seek(partition),
            self._restart,
            shared.now,
            lambda: self.confirmed,
        )

    # What the consumer asks (streams/positions.py)

    def paused(self, partition: int) -> bool:
        owned = self.partitions.get(partition)
        return owned is None or owned.paused

    def next_offset(self, partition: int) -> int | None:
        owned = self.partitions.get(partition)
        return owned.next_offset if owned else None

    def committable(self, partition: int) -> int | None:
        owned = self.partitions.get(partition) or self._released.get(partition)
        return owned.committable if owned else None

    # What the group says

    def feed(self, partition: int, records: Sequence[Record]) -> None:
        """One event: consecutive records of a partition."""
        owned = self.partitions.get(partition)
        if owned is not None:
            owned.feed(records)

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """A rebalance has given this worker these partitions, and no others, in this generation of
        the group: those that went are released, those that came begin to restore.

        A worker that was no member in a generation between, because it stood still, restores even
        what it keeps: meanwhile others have changed what its state follows.
        """
        self._assigned = set(partitions)
        async with self._changing:
            missed = self._generation is not None and generation > self._generation + 1
            self._generation = generation
            gone = set(self.partitions) - (set() if missed else self._assigned)
            await self._release({number: self.partitions.pop(number) for number in gone})
            for number in sorted(self._assigned - self._waiting_restarts().keys()):
                self._begin(number)

    def start(self, now: float) -> None:
        """Begin to call the timers; `now` by the loop's clock."""
        self._began = now
        for timer in (Timer(_SAMPLE_SECONDS, self._sample), *self.spec.timers(self)):
            self._spawn(self._call(timer))

    async def stop(self) -> None:
        """Let go of all partitions, with what they have on disk. `committable` still answers."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        async with self._changing:
            partitions, self.partitions = self.partitions, {}
            self._released = partitions
            await self._release(partitions)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, number: int) -> None:
        if self._stopped or number in self.partitions:
            return
        partition = self.partitions[number] = self.spec.make(number, self._runtime)
        partition.start()

    async def _release(self, partitions: Mapping[int, P]) -> None:
        done = await asyncio.gather(
            *(partition.close() for partition in partitions.values()), return_exceptions=True
        )
        for partition, result in zip(partitions.values(), done, strict=True):
            if isinstance(result, Exception):
                log.error("%s: releasing it failed", partition.name, exc_info=result)

    def _restart(self, number: int, why: str) -> None:
        """A partition has failed by a fault of ours: begin it anew, later each time."""
        delay = self._restarts.failed(number, asyncio.get_running_loop().time(), why)
        self._spawn(self._begin_anew(number, delay))

    async def _begin_anew(self, number: int, delay: float) -> None:
        async with self._changing:
            failed = self.partitions.pop(number, None)
            if failed is not None:
                self._released[number] = failed
                await self._release({number: failed})
        await asyncio.sleep(delay)
        async with self._changing:
            if number in self._assigned:
                self._begin(number)

    def _waiting_restarts(self) -> Mapping[int, str]:
        """partition → why it failed, of those that wait to begin anew."""
        waiting = self._restarts.waiting(asyncio.get_running_loop().time())
        missing = self._assigned - self.partitions.keys()
        return {number: why for number, why in waiting.items() if number in missing}

    async def _call(self, timer: Timer) -> None:
        while True:
            await self.until_next(timer.seconds)
            try:
                await timer.run()
            except TROUBLE_OUTSIDE as error:
                log.debug("%s: a timer waits: %s", self.name, error)
            except Exception:
                log.exception("%s: a timer failed; it is called again", self.name)

    async def until_next(self, seconds: float) -> None:
        """Until the next of moments so far apart. They are the same for all that this stage does,
        so that the process wakes up once for it."""
        rest = seconds - (asyncio.get_running_loop().time() - self._began) % seconds
        await asyncio.sleep(rest if rest > seconds / 10 else rest + seconds)  # not twice for one

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What is seen from outside

    @property
    def dependencies(self) -> Dependencies:
        """The outside systems of the process."""
        return self._shared.dependencies

    @property
    def readable(self) -> list[int]:
        """The partitions this worker can be asked about, halted ones included."""
        return [number for number, owned in self.partitions.items() if owned.readable]

    @property
    def confirmed(self) -> bool:
        """No other worker can have these partitions: the group gives them away after a rebalance,
        or a session's time after the last heartbeat. A worker that was paused may have lost them,
        and not know it yet."""
        _, joining = self.membership()
        age = asyncio.get_running_loop().time() - self.confirmed_at()
        return not joining and age < self.spec.session_seconds

    def here(self, numbers: Iterable[int]) -> dict[int, P]:
        """Those of these partitions that this worker can be asked about: what it knows of them is
        all there is."""
        owned = self.partitions if self.confirmed else {}
        return {n: owned[n] for n in numbers if n in owned and owned[n].readable}

    def running(self) -> dict[int, tuple[P, int | None]]:
        """The partitions that run, each with the offset that it reads next."""
        return {
            number: (partition, partition.next_offset)
            for number, partition in self.partitions.items()
            if partition.status is Status.RUNNING
        }

    async def look(
        self,
        running: Mapping[int, tuple[P, int | None]],
        found: Mapping[int, InputSeen] | None = None,
    ) -> None:
        """See the inputs of the partitions `running` as Kafka has them now; `found` is what it has
        said since then, None if it must be asked. Raises ReadTimeout, KafkaUnreachable."""
        if not running:
            return
        look, topic = self._shared.inputs.look, self.spec.topic
        if found is None:
            found = await look(topic, running, fresh=False)
        if any(seen.end < (running[number][1] or 0) for number, seen in found.items()):
            found = await look(topic, running)
        for number, (partition, position) in running.items():
            seen = found.get(number)
            if seen is None:
                partition.unseen += 1
            elif position is not None and partition.status is Status.RUNNING:
                partition.seen, partition.unseen = seen, 0
                partition.input_is(seen, position)

    def probes(self) -> Iterable[ProgressProbe]:
        """What should move: the group, restores, and each partition that has something to read or
        to do. One that waits for trouble outside, or for its turn, owes nothing."""
        yield ProgressProbe(f"{self.name}: joining the group", *self.membership())
        for partition in self.partitions.values():
            waits = bool(partition.retry.problem or partition.output_away)
            if partition.status is Status.RESTORING:
                yield ProgressProbe(partition.name, partition.progress, not waits)
            elif partition.status is Status.RUNNING:
                position, seen = partition.next_offset, partition.seen
                behind = seen is not None and position is not None and seen.end > position
                unread = behind and not partition.full
                owed = (unread or partition.owes) and not waits
                heal = self.renew if unread else None
                yield ProgressProbe(partition.name, partition.progress, owed, heal)

    def problems(self) -> list[str]:
        """What an operator must know; empty when every partition runs."""
        _, joining = self.membership()
        found = [f"{self.name} is joining its group"] if joining else []
        for partition in self.partitions.values():
            why = partition.reason or partition.retry.problem or partition.output_away
            if not why and partition.unseen >= _MAX_UNSEEN:
                why = "kafka: nobody answers for its input"
            if partition.status is not Status.RUNNING or why:
                said = f"{partition.name} is {partition.status.value}"
                found.append(f"{said}: {why}" if why else said)
        for number, why in self._waiting_restarts().items():
            found.append(f"{self.name} partition {number} begins anew after {why}")
        return [*found, *self.spec.problems(self)]

    def status(self, *figures: str, rate: str) -> dict[str, Any]:
        """For the stage's status endpoint: figures since the start, how fast the figure `rate`
        grows, and each partition's state, position and lag in records."""
        now = asyncio.get_running_loop().time()
        return {
            **{figure: self.figures[figure] for figure in figures},
            f"{rate}_per_second": self.rates.per_second(rate, now),
            "rebalancing": self.membership()[1],
            "partitions": [self.partitions[number].report() for number in sorted(self.partitions)],
        }

    async def _sample(self) -> None:
        self.rates.sample(asyncio.get_running_loop().time())
