"""`python -m bench`: measures on this machine and writes bench/results/latest.json and
latest.md."""

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import (
    archive,
    connections,
    history,
    presence,
    sequencer,
    sockets,
    storm,
    user_partitions,
)
from bench.system import system
from bench.yardstick import million_additions_per_cpu_second, thousand_messages_per_cpu_second

_LOOPS = ((1, 1), (1, 8), (3, 1), (3, 8))
"""Devices of each user, and messages that each keeps unanswered."""
_RESULTS = Path(__file__).parent / "results"
_SENT = (
    '"sent" here means: acknowledged by one broker with acks=all (its page cache, no fsync), numbered, and delivered. '
    "Generator, broker, Redis, worker and gateway share the machine's cores; server CPU is all of them but the generator."
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the time: to see that it works"
    )
    parser.add_argument(
        "--archive-rows",
        type=int,
        default=2_000_000,
        help="rows that pages of the archive are read from",
    )
    parser.add_argument("--only-archive", action="store_true", help="print (f) and write nothing")
    options = parser.parse_args()
    quick: bool = options.quick
    if options.only_archive:
        print(json.dumps(_archive(quick, options.archive_rows), indent=1))
        return
    results: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
        "machine": f"{platform.processor() or platform.machine()}, {len(_cores())} cores, Python {platform.python_version()}",
        "command": "make bench",
        "sent": _SENT,
    }
    yardstick = [_yardstick()]
    print(f"yardstick {yardstick}\n(a) sequencer ...", flush=True)
    runs = [
        sequencer.measure(100_000 if quick else 1_000_000, 5_000) for _ in range(1 if quick else 3)
    ]
    results["a_sequencer"] = sorted(runs, key=lambda run: run["messages_per_worker_cpu_second"])[
        len(runs) // 2
    ]
    results["a_sequencer"]["of_runs"] = [run["messages_per_worker_cpu_second"] for run in runs]
    print(results["a_sequencer"], flush=True)
    with system() as stack:
        print("warming the broker ...", flush=True)
        sockets.warm(stack, 3 if quick else 30)
        for devices, window in _LOOPS:
            name = f"b_sockets_devices_{devices}_window_{window}"
            results[name] = sockets.closed_loop(stack, window, 2 if quick else 15, devices)
            print(f"(b) devices {devices}, window {window}: {results[name]}", flush=True)
        for rate in (200, 2_000):
            name = f"c_poisson_{rate}"
            results[name] = sockets.open_loop(stack, rate, 2 if quick else 10, 1 if quick else 5)
            print(f"(c) {rate}/s: {results[name]}", flush=True)
        results["d_idle"] = connections.idle(stack, 500 if quick else 5_000, 2 if quick else 10)
        print(f"(d) idle: {results['d_idle']}", flush=True)
        results["e_come_back"] = connections.come_back(stack, 100 if quick else 1_000, 50)
        print(f"(e) back: {results['e_come_back']}", flush=True)
    with system(gateways=2, cursors=1, presence=1) as stack:
        sockets.warm(stack, 3 if quick else 20)
        for window in (1, 8):
            name = f"g_receipts_window_{window}"
            results[name] = sockets.closed_loop(stack, window, 2 if quick else 15, 3, receipts=True)
            print(f"(g) receipts, window {window}: {results[name]}", flush=True)
        results["h_presence"] = presence.measure(stack, 10 if quick else 100)
        print(f"(h) presence: {results['h_presence']}", flush=True)
        results["i_storm"] = storm.measure(stack, 300 if quick else 5_000)
        print(f"(i) storm: {results['i_storm']}", flush=True)
    with system(archivers=1) as stack:
        sockets.warm(stack, 3 if quick else 20)
        results["j_history"] = history.measure(stack, 3 if quick else 10)
        print(f"(j) history: {results['j_history']}", flush=True)
    with system(workers=4, gateways=1) as stack:
        results["k_user_partitions"] = user_partitions.measure(
            stack, 4, 100 if quick else 1_000, 2 if quick else 10
        )
        print(f"(k) user partitions: {results['k_user_partitions']}", flush=True)
    results["f_archive"] = _archive(quick, options.archive_rows)
    print(f"(f) archive: {results['f_archive']}", flush=True)
    results["yardstick"] = [*yardstick, _yardstick()]
    if not quick:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
        (_RESULTS / "latest.md").write_text(_table(results))
        print(f"written to {_RESULTS}")


def _archive(quick: bool, rows: int) -> dict[str, Any]:
    return archive.measure(
        50_000 if quick else 1_000_000, rows // 10 if quick else rows, 2 if quick else 15
    )


def _yardstick() -> list[float]:
    return [million_additions_per_cpu_second(), thousand_messages_per_cpu_second()]


def _table(results: dict[str, Any]) -> str:
    a, yardstick = (
        results["a_sequencer"],
        " / ".join(", ".join(map(str, figures)) for figures in results["yardstick"]),
    )
    lines = [
        f"# Measured {results['when']} (UTC), commit {results['commit']}",
        "",
        f"{results['machine']}. `{results['command']}`. {results['sent']}",
        "",
        "| what | figure |",
        "|---|---|",
        f"| yardstick, per CPU-second, before / after: million additions, thousand messages decoded and found | {yardstick} |",
        f"| (a) sequencer, messages per worker-CPU-second (runs: {a['of_runs']}) | {a['messages_per_worker_cpu_second']:,} |",
        f"| (a) messages/s; per Faust event | {a['messages_per_second']:,}; {a['messages_per_event']} |",
    ]
    for devices, window in _LOOPS:
        b = results[f"b_sockets_devices_{devices}_window_{window}"]
        of = f"(b) {devices} device{'s' if devices > 1 else ''} each, window {window}"
        shown, cpu = (
            b["shown_ms"],
            ", ".join(f"{part} {us}" for part, us in b["us_per_message"].items()),
        )
        per_cpu = f"{b['messages_per_server_cpu_second']:,} ({cpu} us a message)"
        lines += [
            f"| {of}, 100 pairs: messages/s | {b['messages_per_second']:,} |",
            f"| {of}: messages per server-CPU-second | {per_cpu} |",
            f"| {of}: shown after p50/p95/p99 ms | {shown['p50']} / {shown['p95']} / {shown['p99']} |",
            f"| {of}: lost / twice / out of order | {' / '.join(map(str, b['verdict'].values()))} |",
        ]
    for rate in (200, 2_000):
        c = results[f"c_poisson_{rate}"]
        for hop, ms in c["ms"].items():
            lines.append(
                f"| (c) Poisson {rate}/s, {hop.replace('_', ' ')}, p50/p95/p99 ms (median of {c['runs']} runs) "
                f"| {ms['p50']} / {ms['p95']} / {ms['p99']} |"
            )
    d, e = results["d_idle"], results["e_come_back"]
    logins, memory = (
        f"{d['logins_per_second']:,} ({_parts(d['us_per_login'])} us a login)",
        d["gateway_kib_per_connection"],
    )
    lines += [
        f"| (d) {d['connections']:,} connections: logins/s | {logins} |",
        f"| (d) KiB of the gateway a connection; CPU % when idle | {memory}; {_parts(d['idle_cpu_percent'])} |",
        f"| (d) bytes of Redis a connection | {d['redis_bytes_per_connection']} |",
        f"| (e) {e['devices']:,} devices come back, {e['missed']} messages each: devices/s | {e['devices_per_second']:,} |",
        f"| (e) from connecting to the last message, p50/p95/p99 ms | {' / '.join(map(str, e['ms'].values()))} |",
        f"| (e) us a device | {_parts(e['us_per_device'])} |",
        *_archive_lines(results["f_archive"]),
        *_mark_lines(results),
        *_user_partition_lines(results["k_user_partitions"]),
    ]
    return "\n".join(lines) + "\n"


def _mark_lines(results: dict[str, Any]) -> list[str]:
    lines = []
    for window in (1, 8):
        g = results[f"g_receipts_window_{window}"]
        per_cpu = (
            f"{g['messages_per_server_cpu_second']:,} ({_parts(g['us_per_message'])} us a message)"
        )
        lines += [
            f"| (g) 3 devices each, receipts on, window {window}: messages/s; marks/s | {g['messages_per_second']:,}; "
            f"{g['marks_per_second']:,} |",
            f"| (g) receipts, window {window}: messages per server-CPU-second | {per_cpu} |",
            f"| (g) receipts, window {window}: lost / twice / out of order | {' / '.join(map(str, g['verdict'].values()))} |",
        ]
    h, i, j = results["h_presence"], results["i_storm"], results["j_history"]
    return [
        *lines,
        f"| (h) presence: online told after p50/p95/p99 ms | {' / '.join(map(str, h['online_ms'].values()))} |",
        f"| (h) presence: offline told after p50/p95/p99 ms | {' / '.join(map(str, h['offline_ms'].values()))} |",
        f"| (i) {i['devices']:,} devices lose their node: all back after s; turned away on the way | {i['seconds']}; "
        f"{i['turned_away']:,} |",
        *(
            f"| (j) {what.removesuffix('_ms').replace('_', ' ')}, p50/p95/p99 ms | {' / '.join(map(str, ms.values()))} |"
            for what, ms in j.items()
            if what.endswith("_ms")
        ),
        *(
            f"| (i) others, {when}: shown after p50/p95/p99 ms | {' / '.join(map(str, i[f'others_{key}_ms'].values()))} |"
            for when, key in (
                ("before they come back", "before"),
                ("while they come back", "meanwhile"),
                ("when all go at once", "when_all_go"),
            )
        ),
    ]


def _user_partition_lines(k: dict[str, Any]) -> list[str]:
    lines = []
    for kind, one in k["a_sync"].items():
        us = _parts(
            {name.removeprefix("us_of_"): one[name] for name in one if name.startswith("us_of_")}
        )
        what = f"(k) a sync, {k['workers']} workers, {kind.replace('_', ' ')}: questions; partitions looked at; CPU us"
        lines.append(f"| {what} | {one['questions']}; {one['partitions_looked_at']}; {us} |")
    figures = _parts(
        {
            name.removeprefix("us_").replace("_", " "): us
            for name, us in k["a_batch"].items()
            if name != "users"
        }
    )
    lines.append(f"| (k) bytes of Redis a user who is known | {k['redis_bytes_a_user']} |")
    return [
        *lines,
        f"| (k) look for the routes of {k['a_batch']['users']} users, us of Redis | {figures} |",
    ]


def _archive_lines(f: dict[str, Any]) -> list[str]:
    lines = [
        f"| (f) archiver, {f['messages']:,} messages: rows per archiver-CPU-second | {f['rows_per_archiver_cpu_second']:,} |",
        f"| (f) rows/s caught up; rows an insert | {f['rows_per_second']:,}; {f['rows_per_insert']:,} |",
        f"| (f) archiver, most memory, MiB | {f['archiver_peak_mib']} |",
        f"| (f) ClickHouse us a row; bytes a message on disk | {f['clickhouse_us_per_row']}; {f['bytes_per_message']} |",
    ]
    for readers, pages in f["pages"].items():
        ms = " / ".join(map(str, pages["ms"].values()))
        what = f"(f) pages of 50 out of {f['rows_in_archive']:,} rows, {readers} at once: pages/s; p50/p95/p99 ms"
        lines.append(f"| {what} | {pages['pages_per_second']}; {ms} |")
    return lines


def _parts(figures: dict[str, float]) -> str:
    return ", ".join(f"{part} {figure}" for part, figure in figures.items())


def _cores() -> list[str]:
    return [
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("processor")
    ]


if __name__ == "__main__":
    main()
