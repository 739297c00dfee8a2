"""The parts of the benchmark, and the stacks they run on."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from bench import (
    archive,
    beside,
    curve,
    growth,
    history,
    hostile,
    logins,
    merges,
    peer,
    presence,
    restore,
    sequencer,
    storm,
    tls,
    way,
)
from bench.curve import Load
from bench.ejabberd import NotInstalled
from bench.runs import combine
from bench.system import Checkout, NotInCheckout, System, system

LOOPS = ((1, 1), (1, 8), (3, 8))
"""Closed loops: devices of each user, and messages that each user keeps in flight."""
RATES = (50, 200, 1_000, 2_000, 5_000, 10_000)
"""Poisson arrivals, messages/s."""
_FEWER_RATES = 200, 2_000
_PEER_RATES = 50, 200, 1_000, 2_000

Figures = dict[str, Any]


class Plan(NamedTuple):
    """How long to measure. A quick plan shows that everything works, and no more."""

    quick: bool = False
    seconds: float = 6.0
    """Of one run at one load."""
    runs: int = 3
    rates: tuple[int, ...] = RATES
    attacks: tuple[str, ...] = tuple(hostile.ATTACKS)

    @property
    def warm(self) -> float:
        """Seconds of load before a stack is measured, in which the broker's JVM compiles."""
        return 2.0 if self.quick else 25.0

    def some(self, count: int) -> int:
        return count // 10 if self.quick else count


class Stack(NamedTuple):
    """Arguments of `system`."""

    gateways: int = 1
    partitions: int | None = None
    flushed: bool = False
    broker_count: int = 1


class Part(NamedTuple):
    """`stack` is None if the part starts its stacks itself."""

    name: str
    stack: Stack | None
    measure: Callable[[Plan, Any], Figures]
    """Called with the plan and the running stack, or the checkout."""


def _idle(plan: Plan, stack: System) -> Figures:
    def one() -> Figures:
        seconds, before, asked = plan.seconds, stack.cpu(), stack.requests()
        time.sleep(seconds)
        used = {part: (cpu - before[part]) / seconds for part, cpu in stack.cpu().items()}
        requests = {part: n / seconds for part, n in (stack.requests() - asked).items()}
        return {
            "cores": sum(used.values()),
            "cores_by_part": used,
            "requests_a_second": sum(requests.values()),
            "requests_a_second_by_part": requests,
        }

    merges.settle(stack)
    return combine([one() for _ in range(plan.runs)])


def _loads(plan: Plan, stack: System, loads: dict[str, Load]) -> Figures:
    """In turn, because the machine's speed changes with time. Only a closed loop is measured beside
    merges of what the loads before it have written: it makes more of them itself."""
    found: dict[str, list[Figures]] = {name: [] for name in loads}
    for run in range(plan.runs):
        for name, load in loads.items():
            if load.rate is not None:
                merges.settle(stack)
            found[name].append(curve.measure(stack, load, plan.seconds, run))
    return {name: combine(runs) for name, runs in found.items()}


def _curve(plan: Plan, stack: System) -> Figures:
    return _loads(plan, stack, {f"{rate:,}/s": Load(rate) for rate in plan.rates})


def _loops(plan: Plan, stack: System) -> Figures:
    return _loads(plan, stack, {_loop(*loop): Load(None, *reversed(loop)) for loop in LOOPS})


def _loop(devices: int, window: int) -> str:
    return f"{devices} device{'s' if devices > 1 else ''}, window {window}"


def _one_partition(plan: Plan, stack: System) -> Figures:
    rates = [rate for rate in plan.rates if rate in _FEWER_RATES]
    loads = {f"{rate:,}/s": Load(rate) for rate in rates}
    return _loads(plan, stack, {**loads, _loop(1, 8): Load(None, 8)})


def _way(plan: Plan, stack: System) -> Figures:
    merges.settle(stack)
    return way.measure(stack, max(10.0, plan.seconds * plan.runs))  # for a slowest hundredth


def _logins(plan: Plan, stack: System) -> Figures:
    return combine([logins.measure(stack, plan.some(2_000)) for _ in range(plan.runs)])


def _connections(plan: Plan, stack: System) -> Figures:
    return logins.connections(stack, plan.some(3_000), plan.runs)


def _history(plan: Plan, stack: System) -> Figures:
    return combine(history.measure(stack, plan.seconds / 3, plan.runs))


def _storm(plan: Plan, stack: System) -> Figures:
    return combine([storm.measure(stack, plan.some(5_000)) for _ in range(plan.runs)])


def _presence(plan: Plan, stack: System) -> Figures:
    return presence.measure(stack, plan.some(100))


def _growth(plan: Plan, checkout: Checkout) -> Figures:
    return growth.measure(checkout, plan.some(1_000), plan.runs)


def _redis_emptied(plan: Plan, checkout: Checkout) -> Figures:
    return growth.redis_emptied(checkout, plan.some(5_000), plan.runs)


def _sequencer(plan: Plan, checkout: Checkout) -> Figures:
    messages = plan.some(500_000)
    return combine([sequencer.measure(checkout, messages, 5_000) for _ in range(plan.runs)])


def _restore(plan: Plan, checkout: Checkout) -> Figures:
    counts = [plan.some(100_000), plan.some(1_000_000)]
    return {f"{count:,} conversations": restore.measure(checkout, count) for count in counts}


def _tls(plan: Plan, checkout: Checkout) -> Figures:
    return tls.measure(plan.some(2_000), plan.some(100_000), plan.runs)


def _hostile(plan: Plan, checkout: Checkout) -> Figures:
    return hostile.measure(checkout, plan.seconds, 0.1 if plan.quick else 1.0, plan.attacks)


def _beside(plan: Plan, checkout: Checkout) -> Figures:
    seconds = plan.seconds if plan.quick else max(10.0, plan.seconds)  # for a slowest hundredth
    warm = min(plan.warm, 10.0)  # of each of three stacks, and what it writes must be merged
    return beside.measure(checkout, seconds, warm, plan.some(500_000))


def _peer(plan: Plan, checkout: Checkout) -> Figures:
    loads = {f"{rate:,}/s": Load(rate) for rate in plan.rates if rate in _PEER_RATES}
    loads |= {_loop(*loop): Load(None, *reversed(loop)) for loop in LOOPS if loop[0] == 1}
    try:
        return peer.measure(loads, plan.seconds, plan.runs, plan.some(400), plan.some(3_000))
    except NotInstalled as reason:
        return {"left_out": str(reason)}


def _archive(plan: Plan, checkout: Checkout) -> Figures:
    return archive.measure(checkout, plan.some(500_000), plan.some(1_000_000), plan.seconds)


_USUAL = Stack()
_TWO_NODES = Stack(gateways=2)
PARTS = (
    Part("idle", _USUAL, _idle),
    Part("curve", _USUAL, _curve),
    Part("loops", _USUAL, _loops),
    Part("way", _USUAL, _way),
    Part("logins", _USUAL, _logins),
    Part("connections", _USUAL, _connections),
    Part("history", _USUAL, _history),
    Part("peer", None, _peer),
    Part("one_partition", Stack(partitions=1), _one_partition),
    Part("flushed", Stack(partitions=1, flushed=True), _one_partition),
    Part("three_brokers", Stack(partitions=1, broker_count=3), _one_partition),
    Part("storm", _TWO_NODES, _storm),
    Part("presence", _TWO_NODES, _presence),
    Part("growth", None, _growth),
    Part("redis_emptied", None, _redis_emptied),
    Part("sequencer", None, _sequencer),
    Part("tls", None, _tls),
    Part("hostile", None, _hostile),
    Part("beside", None, _beside),
    Part("archive", None, _archive),
    Part("restore", None, _restore),
)


def measure(checkout: Checkout, plan: Plan, names: Iterable[str]) -> Iterator[tuple[str, Figures]]:
    """Each named part with its figures, or with {"left_out": the reason} if the checkout cannot do
    it, or if it failed: the others are measured anyway. Parts of one stack that follow each other
    share it."""
    parts = [part for part in PARTS if part.name in set(names)]
    while parts:
        stack = parts[0].stack
        together = 1
        while stack is not None and parts[together:] and parts[together].stack == stack:
            together += 1
        now, parts = parts[:together], parts[together:]
        if stack is None:
            yield now[0].name, _one(now[0], plan, checkout)
            continue
        try:
            with system(checkout, **stack._asdict()) as running:
                curve.warm(running, plan.warm)
                for part in now:
                    yield part.name, _one(part, plan, running)
        except NotInCheckout as reason:
            for part in now:
                yield part.name, {"left_out": str(reason)}


def _one(part: Part, plan: Plan, on: Any) -> Figures:
    try:
        return part.measure(plan, on)
    except Exception as error:
        traceback.print_exc()
        return {"left_out": f"{type(error).__name__}: {error}"}
