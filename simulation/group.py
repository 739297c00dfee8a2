"""Consumer groups in memory, in place of Faust and Kafka's coordinator.

A member reads its partitions through the stages' own intake and commits what its stage says. One
that stands still too long is expelled. When it wakes it does not know: it goes on with what it had
read, its commits are refused, and it joins again.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from simulation.process import Process, current_process
from streams.intake import Intake, coalesce
from streams.stage import HEARTBEATS, SESSION_SECONDS, Stage

log = logging.getLogger(__name__)

REBALANCE_SECONDS = 10.0
HEARTBEAT_SECONDS = SESSION_SECONDS / HEARTBEATS
COMMIT_SECONDS = 1.0
_CHECK_SECONDS = 0.5
_READ_SECONDS = 5.0
_PAUSED_SECONDS = 0.1


class NotAMember(Exception):
    """The coordinator does not know this member in this generation."""


class Group:
    """The coordinator of one group of a topic with `partitions`."""

    def __init__(
        self, name: str, topic: str, partitions: int, broker: MemoryBroker, chance: random.Random
    ) -> None:
        self.name = name
        self.generation = 0
        self.assignment: dict[Member, list[int]] = {}
        self._topic = topic
        self._partitions = partitions
        self._broker = broker
        self._chance = chance
        self._members: dict[Member, float | None] = {}
        """Since when nothing has been heard of each; None: it answers."""
        self._joined: dict[Member, None] = {}
        self._expelled: dict[Member, None] = {}
        """Those that do not know it yet."""
        self._preparing: float | None = None
        """Since when a rebalance is under way."""

    async def run(self) -> None:
        """Expel who does not answer, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self._broker.up:
                self._check(asyncio.get_running_loop().time())

    def join(self, member: "Member") -> None:
        """The member wants partitions; it gets them when all others have come, too."""
        self._members[member] = None
        self._joined[member] = None
        self._expelled.pop(member, None)
        self._prepare()
        self._complete()

    def leave(self, member: "Member") -> None:
        self._expel([member])
        self._expelled.pop(member, None)

    def knows(self, member: "Member", generation: int) -> bool:
        """Whether a heartbeat of the member is acknowledged."""
        return member in self._members and generation == self.generation

    def commit(self, member: "Member", generation: int, offsets: Mapping[int, int]) -> None:
        """Raises NotAMember."""
        if not self.knows(member, generation):
            raise NotAMember(f"{member.name} in generation {generation}")
        for partition, offset in offsets.items():
            self._broker.commit(self.name, self._topic, partition, offset)

    def _check(self, now: float) -> None:
        for member in list(self._expelled):
            if member.answers:
                del self._expelled[member]
                member.hear_of_expulsion()
        silent = []
        for member, since in self._members.items():
            if member.answers:
                self._members[member] = None
            elif since is None:
                self._members[member] = now
            elif now - since >= SESSION_SECONDS - _CHECK_SECONDS:
                silent.append(member)
        if self._preparing is not None and now - self._preparing > REBALANCE_SECONDS:
            silent += [member for member in self._members if member not in self._joined]
        self._expel(silent)

    def _expel(self, members: Iterable["Member"]) -> None:
        for member in members:
            if member in self._members:
                log.info("%s is no member of %s any more", member.name, self.name)
                del self._members[member]
                self._joined.pop(member, None)
                self.assignment.pop(member, None)
                self._expelled[member] = None
                self._prepare()
        if self._preparing is not None:
            self._complete()

    def _prepare(self) -> None:
        if self._preparing is None:
            self._preparing = asyncio.get_running_loop().time()
            for member in self._members:
                if member not in self._joined:
                    member.hear_of_rebalance()

    def _complete(self) -> None:
        if not self._members or len(self._joined) < len(self._members):
            return
        self.generation += 1
        self._preparing = None
        self._joined.clear()
        self.assignment = self._assign()
        for member, partitions in self.assignment.items():
            member.hear_assignment(self.generation, partitions)

    def _assign(self) -> dict["Member", list[int]]:
        """Evenly; what a member had it keeps, as far as that is even."""
        members = list(self._members)
        most = -(-self._partitions // len(members))
        assignment = {member: self.assignment.get(member, [])[:most] for member in members}
        given = {number for numbers in assignment.values() for number in numbers}
        for number in range(self._partitions):
            if number not in given:
                fewest = min(len(numbers) for numbers in assignment.values())
                able = [member for member in members if len(assignment[member]) == fewest]
                assignment[self._chance.choice(able)].append(number)
        return assignment


class Member:
    """One stage of one worker process in its group. Make and `start` it in the process."""

    def __init__(
        self, name: str, group: Group, stage: Stage[Any], kafka: MemoryKafka, chance: random.Random
    ) -> None:
        process = current_process()
        assert process is not None
        self.name = name
        self._process: Process = process
        self._group = group
        self._stage = stage
        self._kafka = kafka
        self._chance = chance
        self._intake = Intake(lambda: kafka.fetcher(stage.spec.topic, stage.spec.fetch), stage)
        self._generation = -1
        self._rebalances = 0
        self._joining = True
        self._confirmed = float("-inf")
        """When the heartbeat was sent that was acknowledged last."""
        self._asked = False
        """It has asked to join, and waits for partitions."""
        self._assigned: list[int] = []
        self._reading = asyncio.Event()
        self._changing = asyncio.Lock()
        self._committed: dict[int, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        stage.seek = self._seek
        stage.renew = self._intake.renew
        stage.membership = lambda: (self._rebalances, self._joining)
        stage.confirmed_at = lambda: self._confirmed

    def start(self) -> None:
        self._spawn(self._read())
        self._spawn(self._commit_often())
        self._rejoin()

    async def stop(self) -> None:
        """Leave the group, after a last commit."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stage.stop()
        self._commit()
        await self._intake.close()
        self._to_group(self._group.leave, self)

    @property
    def answers(self) -> bool:
        """Whether the coordinator gets this member's heartbeats."""
        return self._process.alive and not self._process.paused and self._kafka.reads

    # What the coordinator says; it comes with a heartbeat's answer

    def hear_of_rebalance(self) -> None:
        self._hear(self._rejoin)

    def hear_of_expulsion(self) -> None:
        self._hear(self._join_anew)

    def hear_assignment(self, generation: int, partitions: list[int]) -> None:
        self._kafka.later(self._spawn_assigned, generation, list(partitions))

    def _hear(self, what: Callable[[], None]) -> None:
        """With the next heartbeat. A process that stood still meanwhile sends one after it woke."""
        loop = asyncio.get_running_loop()

        def beat() -> None:
            loop.call_later(self._chance.uniform(0, HEARTBEAT_SECONDS), what)

        self._kafka.later(beat)

    def _beat(self) -> None:
        if self.answers and self._group.knows(self, self._generation):
            self._confirmed = asyncio.get_running_loop().time()

    def _rejoin(self) -> None:
        if not self._joining:
            self._joining = True
            self._reading.clear()
            self._commit()
        if not self._asked:
            self._asked = True
            self._to_group(self._group.join, self)

    def _join_anew(self) -> None:
        self._asked = False
        self._rejoin()

    def _to_group(self, call: Callable[..., None], *args: Any) -> None:
        """A request to the coordinator, again and again until it arrives."""

        def arrive() -> None:
            if self._kafka.reads:
                call(*args)
            else:
                asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, arrive)

        self._kafka.later(arrive)

    def _spawn_assigned(self, generation: int, partitions: list[int]) -> None:
        self._spawn(self._take_assignment(generation, partitions))

    async def _take_assignment(self, generation: int, partitions: list[int]) -> None:
        async with self._changing:
            if generation <= self._generation:
                return
            self._generation = generation
            self._asked = False
            self._rebalances += 1
            self._reading.clear()
            self._assigned = partitions
            self._committed.clear()
            log.info("%s has %s in generation %d", self.name, partitions, generation)
            await self._stage.assigned(partitions, generation)
            self._intake.assign(partitions)
            self._beat()
            self._joining = False
            self._reading.set()

    # Reading and committing

    async def _seek(self, partition: int) -> None:
        self._intake.seek(partition)

    async def _read(self) -> None:
        while True:
            await self._reading.wait()
            paused = [self._stage.paused(partition) for partition in self._assigned]
            if all(paused):
                await asyncio.sleep(_PAUSED_SECONDS if self._assigned else _READ_SECONDS)
                continue
            seconds = _PAUSED_SECONDS if any(paused) else _READ_SECONDS
            for partition, records in (await self._intake.next(self._assigned, seconds)).items():
                for event in coalesce(records):
                    self._stage.feed(partition, event)

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            self._beat()
            self._commit()

    def _commit(self) -> None:
        """Commit what has changed. It arrives a little later, or not at all."""
        offsets = {}
        for partition in self._assigned:
            offset = self._stage.committable(partition)
            if offset is not None and offset != self._committed.get(partition):
                offsets[partition] = self._committed[partition] = offset
        if offsets:
            loop = asyncio.get_running_loop()
            arrival = loop.time() + self._kafka.broker.latency()
            self._kafka.on_network(arrival, self._commit_arrives, self._generation, offsets)

    def _commit_arrives(self, generation: int, offsets: Mapping[int, int]) -> None:
        if not self._kafka.writes:
            self._committed.clear()
            return
        try:
            self._group.commit(self, generation, offsets)
        except NotAMember as error:
            log.info("a commit is refused: %s", error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            raise RuntimeError(f"{self.name} failed") from task.exception()
