"""ejabberd beside us, from one run on one machine."""

from collections.abc import Mapping
from typing import Any

from bench.cells import NOTHING, number, slashed, table_of


def peer_table(parts: Mapping[str, Any]) -> list[str]:
    """The lines of its tables; what we were not measured at in this run has no ratio."""
    if (peer := parts.get("peer")) is None:
        return []
    ours = {**parts.get("curve", {}), **parts.get("loops", {})}
    return [
        f"## Beside ejabberd {peer['version']} in this run: we / ejabberd = ratio",
        "",
        "Of messages/s and logins/s more is better, of all else less. "
        "What is fair and what is not: [NOTES](../NOTES.md#ejabberd).",
        "",
        *_loads(peer["loads"], ours),
        *_others(peer, parts),
        "The same loads, but ejabberd keeps no archive (we do):",
        "",
        *_loads(peer["without_archive"], ours),
    ]


def _loads(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    head = (
        *("load", "messages/s", "p50 ms", "p95 ms", "p99 ms", "cores", "CPU us a message"),
        *("receipts a message", "lost / twice / out of order"),
    )
    rows = []
    for load, run in theirs.items():
        we = ours.get(load)
        compared = zip(_of_load(we), _of_load(run), strict=True)
        verdicts = f"{slashed(we['verdict']) if we else NOTHING}; {slashed(run['verdict'])}"
        rows.append((load, *(_ratio(*pair) for pair in compared), verdicts))
    return table_of(head, rows)


def _of_load(run: Mapping[str, Any] | None) -> list[Any]:
    if run is None:
        return [None] * 7
    cpu = [1e6 / max(1, run["messages_per_cpu_second"][0])]
    latencies = run["ms"].values()
    return [run["messages_per_second"], *latencies, run["cores"], cpu, run["marks_per_message"]]


def _others(peer: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    rows = [("the idle servers: cores", _ratio(_at(parts, "idle", "cores"), peer["idle"]["cores"]))]
    for kind, figures in peer["logins"].items():
        we = _at(parts, "logins", kind)
        name = kind.replace("_", " ") + ("" if "sync" in kind else " user")
        rate = "logins_per_second"
        rows += [
            (f"logins/s, {name}", _ratio(we and we[rate], figures[rate])),
            (f"CPU us a login, {name}", _ratio(we and _sum(we["us"]), _sum(figures["us"]))),
        ]
    kib = "kib_per_connection"
    memory = _ratio(_at(parts, "connections", kib), peer["connections"][kib])
    return table_of(("what", "we / ejabberd = ratio"), [*rows, ("KiB a connection", memory)])


def _at(parts: Mapping[str, Any], part: str, name: str) -> Any:
    return parts.get(part, {}).get(name)


def _sum(figures: Mapping[str, Any]) -> list[float]:
    """Of medians."""
    return [sum(median[0] for median in figures.values())]


def _ratio(we: list[float] | None, it: list[float]) -> str:
    """Of medians; `we` is None if this run has not measured it."""
    theirs = number(it[0])
    if we is None:
        return f"{NOTHING} / {theirs}"
    return f"{number(we[0])} / {theirs}" + (f" = {we[0] / it[0]:.2f}" if it[0] else "")
