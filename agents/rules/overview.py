"""What the reports of all processes say of the whole system: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas.fleet import CLOCK_SECONDS, FRESH_SECONDS, Finding, Report, Seen

_NEW_SECONDS = 60.0
_WAITS = {
    "kafka": "look at the brokers; everything waits, and goes on by itself",
    "redis": "look at Redis; until it answers nobody new gets in, then all goes on by itself",
    "clickhouse": "look at ClickHouse; nothing is lost while Kafka keeps the log",
    "disk": "look at the worker's disk: is it full, or gone?",
}
_START = "look at its log; start it again if its supervisor does not"


def findings(parts: Sequence[Seen], redis_away: str, now: int) -> list[Finding]:
    """Problems first. `redis_away` says why Redis does not answer, and is empty if it does.
    Without Redis, old reports say nothing of their processes."""
    fresh = [seen.report for seen in parts if seen.age <= FRESH_SECONDS]
    found = [*_away(fresh), *_silent(parts, redis_away)]
    if not redis_away:
        found += _missing(parts)
    for report in fresh:
        found += _of_process(report)
    found += _clocks(seen for seen in parts if seen.age <= FRESH_SECONDS)
    if not redis_away:
        found += _gateways(fresh)
    found += _notes(fresh, now)
    return sorted(found, key=lambda finding: finding.level != "problem")


def advice(stage: str, report: Mapping[str, Any]) -> str:
    """What an operator can do about a partition, by its worker's report; empty if nothing need be
    done."""
    if report["status"] == "running":
        return ""
    if report["status"] != "halted":
        return "wait: it is being restored"
    if stage != "sequencer":
        return "mend what the reason names, and restart its worker"
    mend = "mend what the reason names, then `messenger partition resume`, or restart its worker"
    return f"{mend}; or `messenger partition skip`" if report.get("skips") else mend


def _away(fresh: Iterable[Report]) -> Iterator[Finding]:
    """Outside systems, once each."""
    missing: dict[str, list[tuple[str, str]]] = {}
    for report in fresh:
        for system, why in report.away.items():
            missing.setdefault(system, []).append((report.address, why))
    for system, who in missing.items():
        others = f" (and {len(who) - 1} more)" if len(who) > 1 else ""
        what = f"{who[0][1]}, says {who[0][0]}{others}"
        do = _WAITS.get(system, "see docs/OPERATIONS.md, When something is away")
        yield Finding("problem", system, what, do)


def redis_away(why: str) -> Finding:
    """What whoever reads the reports finds, if the processes have not noticed it yet."""
    return Finding("problem", "redis", why, _WAITS["redis"])


def _silent(parts: Iterable[Seen], redis_away: str) -> Iterator[Finding]:
    for seen in parts:
        if seen.age > FRESH_SECONDS:
            part, age = f"{seen.report.kind} {seen.report.address}", f"{seen.age:.0f} s"
            if redis_away:
                what = f"its report is {age} old, since Redis is away"
                yield Finding("note", part, what)
            else:
                yield Finding("problem", part, f"no sign of life for {age}", _START)


def _missing(parts: Iterable[Seen]) -> Iterator[Finding]:
    """Partitions that no worker has."""
    owned: dict[str, set[int]] = {}
    counts: dict[str, int] = {}
    for seen in parts:
        for stage in seen.report.stages:
            counts[stage.name] = stage.of
            numbers = {partition["partition"] for partition in stage.partitions}
            there = numbers if seen.age <= FRESH_SECONDS else set()
            owned.setdefault(stage.name, set()).update(there)
    for stage_name, count in counts.items():
        lost = sorted(set(range(count)) - owned[stage_name])
        if lost:
            shown = ", ".join(map(str, lost[:8])) + (" …" if len(lost) > 8 else "")
            what = f"no worker has partition {shown} of {count}"
            do = "wait for the group; if it lasts, start a worker of this stage"
            yield Finding("problem", stage_name, what, do)


def _of_process(report: Report) -> Iterator[Finding]:
    part = f"{report.kind} {report.address}"
    told: list[str] = [f"{system} is unreachable" for system in report.away]
    for stage in report.stages:
        for partition in stage.partitions:
            status = partition["status"]
            name = f"{stage.name} partition {partition['partition']}"
            why = partition["reason"] or partition["waiting_for"]
            told.append(f"{name} is {status}")
            if status != "running":
                what = f"it is {status}" + (f": {why}" if why else "")
                yield Finding("problem", name, what, advice(stage.name, partition))
            elif why and not report.away:  # else it is said once, of the system
                yield Finding("problem", name, f"it waits: {why}", "it goes on by itself")
    for problem in report.problems:
        if not problem.startswith(tuple(told)):
            yield Finding("problem", part, problem)


def _clocks(fresh: Iterable[Seen]) -> Iterator[Finding]:
    for seen in fresh:
        if abs(seen.ahead) > CLOCK_SECONDS:
            side = "ahead of" if seen.ahead > 0 else "behind"
            what = f"its clock is {abs(seen.ahead):.1f} s {side} Redis'"
            part = f"{seen.report.kind} {seen.report.address}"
            yield Finding("problem", part, what, "keep all clocks by NTP")


def _gateways(fresh: Sequence[Report]) -> Iterator[Finding]:
    nodes = [report.node for report in fresh if report.node is not None]
    for report in fresh:
        probe = report.node.probe if report.node is not None else None
        if probe is not None and probe.failed:
            what = f"its probe of partition {probe.partition} failed at {probe.failed}"
            do = "look at what else is said here; else at this gateway's log"
            yield Finding("problem", f"gateway {report.address}", what, do)
    if not any(node.ready for node in nodes):
        what = "none takes devices" if nodes else "none is there"
        yield Finding("problem", "gateways", what, "look at their /health; start a gateway")


def _notes(fresh: Iterable[Report], now: int) -> Iterator[Finding]:
    dead = 0
    for report in fresh:
        age = (now - report.began) / 1000
        if age < _NEW_SECONDS:
            what = f"it began {max(0, age):.0f} s ago"
            yield Finding("note", f"{report.kind} {report.address}", what)
        for stage in report.stages:
            dead += sum(one.get("dead_letters") or 0 for one in stage.partitions)
    if dead:
        what = f"{dead} in the last 30 days"
        yield Finding("note", "dead letters", what, "see `messenger dead-letters list`")
