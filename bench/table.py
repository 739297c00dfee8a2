"""bench/results/latest.md: the results of a run as one table of Markdown."""

from typing import Any

LOOPS = ((1, 1), (1, 8), (3, 1), (3, 8))
"""The closed loops of (b): devices of each user, and messages that each user keeps in flight."""
RATES = (200, 2_000)
"""The Poisson arrivals of (c), messages/s."""
WINDOWS = (1, 8)
"""The closed loops of (g): messages that each user keeps in flight."""

_PERCENTILES = "p50/p95/p99 ms"


def make_table(results: dict[str, Any]) -> str:
    """The page for the results of `python -m bench` (latest.json)."""
    lines = [
        f"# Measured {results['when']} (UTC), commit {results['commit']}",
        "",
        f"{results['machine']}. `{results['command']}`. {results['sent']}",
        "",
        "| what | figure |",
        "|---|---|",
        _row(
            "yardstick, per CPU-second, before / after: million additions, "
            "thousand messages decoded and found",
            " / ".join(", ".join(map(str, figures)) for figures in results["yardstick"]),
        ),
        *_sequencer(results["a_sequencer"]),
        *(line for devices, window in LOOPS for line in _sockets(results, devices, window)),
        *(line for rate in RATES for line in _poisson(results[f"c_poisson_{rate}"], rate)),
        *_connections(results["d_idle"], results["e_come_back"]),
        *_archive(results["f_archive"]),
        *(line for window in WINDOWS for line in _receipts(results, window)),
        *_presence(results["h_presence"]),
        *_storm(results["i_storm"]),
        *_history(results["j_history"]),
        *_user_partitions(results["k_user_partitions"]),
    ]
    return "\n".join(lines) + "\n"


def _sequencer(a: dict[str, Any]) -> list[str]:
    return [
        _row(
            f"(a) sequencer, messages per worker-CPU-second (runs: {a['of_runs']})",
            f"{a['messages_per_worker_cpu_second']:,}",
        ),
        _row(
            "(a) messages/s; per Faust event",
            f"{a['messages_per_second']:,}; {a['messages_per_event']}",
        ),
    ]


def _sockets(results: dict[str, Any], devices: int, window: int) -> list[str]:
    b = results[f"b_sockets_devices_{devices}_window_{window}"]
    of = f"(b) {devices} device{'s' if devices > 1 else ''} each, window {window}"
    return [
        _row(f"{of}, 100 pairs: messages/s", f"{b['messages_per_second']:,}"),
        _row(f"{of}: messages per server-CPU-second", _per_cpu(b)),
        _row(f"{of}: shown after {_PERCENTILES}", _slashed(b["shown_ms"])),
        _row(f"{of}: lost / twice / out of order", _slashed(b["verdict"])),
    ]


def _poisson(c: dict[str, Any], rate: int) -> list[str]:
    return [
        _row(
            f"(c) Poisson {rate}/s, {hop.replace('_', ' ')}, {_PERCENTILES} "
            f"(median of {c['runs']} runs)",
            _slashed(ms),
        )
        for hop, ms in c["ms"].items()
    ]


def _connections(d: dict[str, Any], e: dict[str, Any]) -> list[str]:
    return [
        _row(
            f"(d) {d['connections']:,} connections: logins/s",
            f"{d['logins_per_second']:,} ({_parts(d['us_per_login'])} us a login)",
        ),
        _row(
            "(d) KiB of the gateway a connection; CPU % when idle",
            f"{d['gateway_kib_per_connection']}; {_parts(d['idle_cpu_percent'])}",
        ),
        _row("(d) bytes of Redis a connection", d["redis_bytes_per_connection"]),
        _row(
            f"(e) {e['devices']:,} devices come back, {e['missed']} messages each: devices/s",
            f"{e['devices_per_second']:,}",
        ),
        _row(f"(e) from connecting to the last message, {_PERCENTILES}", _slashed(e["ms"])),
        _row("(e) us a device", _parts(e["us_per_device"])),
    ]


def _archive(f: dict[str, Any]) -> list[str]:
    pages = f"(f) pages of 50 out of {f['rows_in_archive']:,} rows"
    return [
        _row(
            f"(f) archiver, {f['messages']:,} messages: rows per archiver-CPU-second",
            f"{f['rows_per_archiver_cpu_second']:,}",
        ),
        _row(
            "(f) rows/s caught up; rows an insert",
            f"{f['rows_per_second']:,}; {f['rows_per_insert']:,}",
        ),
        _row("(f) archiver, most memory, MiB", f["archiver_peak_mib"]),
        _row(
            "(f) ClickHouse us a row; bytes a message on disk",
            f"{f['clickhouse_us_per_row']}; {f['bytes_per_message']}",
        ),
        *(
            _row(
                f"{pages}, {readers} at once: pages/s; {_PERCENTILES}",
                f"{read['pages_per_second']}; {_slashed(read['ms'])}",
            )
            for readers, read in f["pages"].items()
        ),
    ]


def _receipts(results: dict[str, Any], window: int) -> list[str]:
    g = results[f"g_receipts_window_{window}"]
    return [
        _row(
            f"(g) 3 devices each, receipts on, window {window}: messages/s; marks/s",
            f"{g['messages_per_second']:,}; {g['marks_per_second']:,}",
        ),
        _row(f"(g) receipts, window {window}: messages per server-CPU-second", _per_cpu(g)),
        _row(f"(g) receipts, window {window}: lost / twice / out of order", _slashed(g["verdict"])),
    ]


def _presence(h: dict[str, Any]) -> list[str]:
    return [
        _row(
            f"(h) presence: watcher knows {change} after {_PERCENTILES}",
            _slashed(h[f"{change}_ms"]),
        )
        for change in ("online", "offline")
    ]


def _storm(i: dict[str, Any]) -> list[str]:
    phases = {
        "before": "before they come back",
        "meanwhile": "while they come back",
        "when_all_go": "when all go at once",
    }
    return [
        _row(
            f"(i) {i['devices']:,} devices lose their node: all back after s; "
            "turned away on the way",
            f"{i['seconds']}; {i['turned_away']:,}",
        ),
        *(
            _row(
                f"(i) others, {phase}: shown after {_PERCENTILES}",
                _slashed(i[f"others_{name}_ms"]),
            )
            for name, phase in phases.items()
        ),
    ]


def _history(j: dict[str, Any]) -> list[str]:
    return [
        _row(f"(j) {name.removesuffix('_ms').replace('_', ' ')}, {_PERCENTILES}", _slashed(ms))
        for name, ms in j.items()
        if name.endswith("_ms")
    ]


def _user_partitions(k: dict[str, Any]) -> list[str]:
    syncs = []
    for kind, sync in k["a_sync"].items():
        us = {name[len("us_of_") :]: sync[name] for name in sync if name.startswith("us_of_")}
        syncs.append(
            _row(
                f"(k) a sync, {k['workers']} workers, {kind.replace('_', ' ')}: questions; "
                "partitions looked at; CPU us",
                f"{sync['questions']}; {sync['partitions_looked_at']}; {_parts(us)}",
            )
        )
    us = {
        name.removeprefix("us_").replace("_", " "): value
        for name, value in k["a_batch"].items()
        if name != "users"
    }
    return [
        *syncs,
        _row("(k) bytes of Redis a user who is known", k["redis_bytes_a_user"]),
        _row(f"(k) lookup of the routes of {k['a_batch']['users']} users, us of Redis", _parts(us)),
    ]


def _row(what: str, figure: object) -> str:
    return f"| {what} | {figure} |"


def _per_cpu(loop: dict[str, Any]) -> str:
    rate = loop["messages_per_server_cpu_second"]
    return f"{rate:,} ({_parts(loop['us_per_message'])} us a message)"


def _slashed(figures: dict[str, Any]) -> str:
    return " / ".join(map(str, figures.values()))


def _parts(figures: dict[str, Any]) -> str:
    return ", ".join(f"{part} {figure}" for part, figure in figures.items())
