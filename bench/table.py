"""bench/results/latest.md: the results of a run, beside the goals and what other messengers did
elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.cells import NOTHING, figure, number, slashed, table_of
from bench.peer_table import peer_table

_GOALS = (
    ("50/s", "", ""),
    ("200/s", "≤ 2.2 / ≤ 5.9; ≤ 0.43", "2.38 / 5.94; 0.43 (Tinode), 0.28 (WuKongIM)"),
    ("1,000/s", "≤ 4 / ≤ 15; ≤ 0.9", "8.6 / 39; 0.91 (WuKongIM)"),
    ("2,000/s", "≤ 6 / ≤ 25; ≤ 1.1", "336 / 903; 1.16 (WuKongIM)"),
    ("5,000/s", "", ""),
    ("10,000/s", "", ""),
)
_LOOP_GOALS = (
    ("1 device, window 1", "per CPU-s ≥ 8,000", "2,090; 1,636 (WuKongIM)"),
    ("1 device, window 8", "≥ 30,000; ≥ 25,000", "3,091; 2,486 (WuKongIM)"),
    ("3 devices, window 8", "≥ 15,000; ≥ 12,000", "2,778; 2,136 (WuKongIM)"),
)
_THREADS_AT = ("200/s", "2,000/s", "1 device, window 8")
_LEAST_US = 5.0
"""Threads that use less CPU a message have no row."""


def make_table(results: dict[str, Any]) -> str:
    """The page for the results of `python -m bench`; what was not measured is left out."""
    parts = {name: part for name, part in results["parts"].items() if "left_out" not in part}
    lines = [
        f"# Measured {results['when']} (UTC), commit {results['commit']}",
        "",
        f"{results['machine']}. `{results['command']}`. {results['conditions']}",
        "",
        *_goals(parts),
        *peer_table(parts),
        *("![Latency](latency.svg) ![Cores](cores.svg) ![CPU a message](cpu.svg)", ""),
        *_loads("Four partitions", {**parts.get("curve", {}), **parts.get("loops", {})}),
        *_loads("One partition", parts.get("one_partition", {})),
        *_loads("One partition, MESSENGER_FLUSH=always", parts.get("flushed", {})),
        *_loads("One partition, three brokers", parts.get("three_brokers", {})),
        *_threads({**parts.get("curve", {}), **parts.get("loops", {})}),
        *_way(parts.get("way")),
        *_beside(parts.get("beside", {})),
        "## All other figures",
        "",
        *table_of(("what", "figure"), _others(results)),
    ]
    return "\n".join(lines)


def flat(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """("part, row, figure", value) of each leaf."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, (*path, name))
        else:
            yield ", ".join((*path, name)).replace("_", " "), value


def _goals(parts: Mapping[str, Any]) -> list[str]:
    rows = []
    for load, goal, peer in _GOALS:
        if (run := parts.get("curve", {}).get(load)) is not None:
            ms = f"{figure(run['ms']['p50'])} / {figure(run['ms']['p99'])}"
            rows.append(
                (f"{load}: p50 / p99 ms; cores", f"{ms}; {figure(run['cores'])}", goal, peer)
            )
    for load, goal, peer in _LOOP_GOALS:
        if (run := parts.get("loops", {}).get(load)) is not None:
            rate, cpu = figure(run["messages_per_second"]), figure(run["messages_per_cpu_second"])
            rows.append((f"{load}: messages/s; per server-CPU-s", f"{rate}; {cpu}", goal, peer))
    logins = parts.get("logins")
    if logins is not None:
        rates = [figure(logins[kind]["logins_per_second"]) for kind in ("known", "unknown")]
        goal, peer = "≥ 3,000 / ≥ 2,000", "3,005 (WuKongIM)"
        rows.append(("logins/s, known / unknown user", " / ".join(rates), goal, peer))
    if "connections" in parts:
        kib = figure(parts["connections"]["kib_per_connection"])
        rows.append(("KiB a connection after sync", kib, "≤ 7", "7.8 (WuKongIM)"))
    storm = parts.get("storm")
    if storm is not None:
        ours = f"{figure(storm['seconds'])}; {figure(storm['others_meanwhile_ms']['p99'])}"
        what = (
            f"{figure(storm['devices'])} devices come back: all back, s; others' p99 meanwhile, ms"
        )
        rows.append((what, ours, "≤ 3; ≤ 40", NOTHING))
    if "history" in parts:
        ms = parts["history"]["recent_1_ms"]
        pages = f"{figure(ms['p50'])} / {figure(ms['p99'])}"
        rows.append(("history page, recent: p50 / p99 ms", pages, "≤ 1 / 3", NOTHING))
    if "idle" in parts:
        cores = figure(parts["idle"]["cores"])
        rows.append(("the idle stack: cores", cores, "< 0.04", NOTHING))
    return table_of(("what", "we", "goal", "best peer, measured elsewhere"), rows)


def _loads(title: str, loads: Mapping[str, Any]) -> list[str]:
    if not loads:
        return []
    head = (
        *("load", "messages/s", "p50 / p95 / p99 ms", "cores", "of the generator"),
        *("us a message", "Kafka requests a message", "context switches a message"),
        "lost / twice / out of order",
    )
    rows = [
        (
            load,
            figure(run["messages_per_second"]),
            slashed(run["ms"]),
            figure(run["cores"]),
            figure(run["generator_cores"]),
            *(_medians(run[name]) for name in ("us", "requests", "switches")),
            slashed(run["verdict"]),
        )
        for load, run in loads.items()
    ]
    return [f"## {title}", "", *table_of(head, rows)]


def _threads(loads: Mapping[str, Any]) -> list[str]:
    shown = {load: loads[load]["us_by_thread"] for load in _THREADS_AT if load in loads}
    kinds = dict.fromkeys(
        (part, kind) for run in shown.values() for part, of in run.items() for kind in of
    )
    rows = [
        (part, kind, *(figure(run.get(part, {}).get(kind, 0)) for run in shown.values()))
        for part, kind in kinds
        if any(run.get(part, {}).get(kind, [0])[0] >= _LEAST_US for run in shown.values())
    ]
    head = ("process", "threads", *(f"us a message, {load}" for load in shown))
    return (
        ["## By thread", "", *table_of(head, sorted(rows, key=lambda row: row[0]))] if rows else []
    )


def _way(way: dict[str, Any] | None) -> list[str]:
    if way is None:
        return []
    bounds = next(iter(way["hops"].values()))["up_to_ms"]
    head = ("hop", "p50 / p95 / p99 ms", "mean of the slowest hundredth")
    rows = [
        (
            hop,
            slashed({p: of[p] for p in ("p50", "p95", "p99")}),
            figure(of["slowest_hundredth"]),
            *(str(count) for count in of["up_to_ms"].values()),
        )
        for hop, of in way["hops"].items()
    ]
    title = f"## Where {way['seen_whole']:,} messages wait at 200/s (in ms; how many by hop)"
    return [
        title,
        "",
        *table_of((*head, *(f"≤ {bound}" if bound != "more" else bound for bound in bounds)), rows),
    ]


def _beside(beside: Mapping[str, Any]) -> list[str]:
    head = (
        *("beside 200 messages/s", "p50 / p99 ms before", "meanwhile", "ratio of p99"),
        *("cores of the stack before", "meanwhile", "of the command", "done", "went wrong"),
    )
    rows = [
        (
            what,
            *(f"{of[key]['p50']} / {of[key]['p99']}" for key in ("before_ms", "meanwhile_ms")),
            *(figure(of[key]) for key in ("ratio", "cores_before", "cores_meanwhile")),
            *(figure(of[key]) if key in of else NOTHING for key in ("tool_cores", "done")),
            " ".join(
                [
                    *(f"{fault}: {count}" for fault, count in of["verdict"].items() if count),
                    of.get("failed", ""),
                ]
            ).strip()
            or "nothing",
        )
        for what, of in beside.items()
    ]
    return ["## What people run beside the messages", "", *table_of(head, rows)] if rows else []


def _others(results: dict[str, Any]) -> list[tuple[str, str]]:
    shown = ("curve", "loops", "peer", "way", "one_partition", "flushed", "three_brokers", "beside")
    yardstick = " / ".join(", ".join(map(str, figures)) for figures in results["yardstick"])
    what = "yardstick, per CPU-second, before / after: million additions, thousand messages found"
    others = {
        name: part
        for name, part in results["parts"].items()
        if name not in shown or "left_out" in part
    }
    return [(what, yardstick), *_joined(others, ())]


def _joined(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """As `flat`, but what a hop, a login … has of one kind is one figure."""
    for name, value in tree.items():
        here = (*path, name.replace("_", " "))
        if isinstance(value, dict) and not set(value) & {"p50", "kafka", "lost"}:
            yield from _joined(value, here)
        elif isinstance(value, dict):
            yield ", ".join(here), _medians(value)
        else:
            yield ", ".join(here), figure(value)


def _medians(figures: Mapping[str, Any]) -> str:
    """Without their spread."""
    return ", ".join(
        f"{name} {number(value[0] if isinstance(value, list) else value)}"
        for name, value in figures.items()
    )
