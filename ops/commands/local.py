"""`messenger local`: the whole system on this machine."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from connectors.environment import SettingsError
from ops.exits import FAILED, USAGE, fail
from ops.local.brokers import COUNTS
from ops.local.health import look
from ops.local.home import (
    DEFAULT_BASE_PORT,
    DEFAULT_HOME,
    DEFAULT_PARTITIONS,
    SHARED_PARTITIONS,
    Home,
)
from ops.local.parts import (
    MAX_ARCHIVERS,
    MAX_CURSORS,
    MAX_GATEWAYS,
    MAX_PRESENCE,
    MAX_WORKERS,
    Layout,
)
from ops.local.preconditions import CannotStart, PortTaken, end_leftovers
from ops.local.process import end, is_running
from ops.local.supervisor import Supervisor
from ops.local.tools import MissingTool

_DOWN_SECONDS = 15.0

home_option = click.option(
    "--home",
    envvar="MESSENGER_HOME",
    default=DEFAULT_HOME,
    show_default=True,
    type=click.Path(path_type=Path),
    help="folder of its data and logs (MESSENGER_HOME)",
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _counts(up: _Command) -> _Command:
    """Options that say how many of a part there are, each a field of Layout."""

    def count(
        name: str, least: int, most: int, default: int | None, words: str
    ) -> Callable[[_Command], _Command]:
        return click.option(
            f"--{name}",
            envvar=name.upper(),
            default=default,
            show_default=default is not None,
            type=click.IntRange(least, most),
            help=words,
        )

    options = [
        count("workers", 0, MAX_WORKERS, 1, "workers, with all stages but the archiver"),
        count("gateways", 0, MAX_GATEWAYS, 1, "gateway nodes"),
        count("archivers", 0, MAX_ARCHIVERS, 1, "archivers"),
        count("cursors", 0, MAX_CURSORS, None, "workers of their own for the cursors"),
        count("presence", 0, MAX_PRESENCE, None, "workers of their own for presence"),
        count(
            "partitions",
            1,
            1000,
            None,
            "of a new stack's topics, for ever  [1; 4 for several workers]",
        ),
    ]
    options.append(
        click.option(
            "--brokers",
            envvar="BROKERS",
            default=None,
            type=click.Choice(list(map(str, COUNTS))),
            callback=lambda context, option, chosen: chosen and int(chosen),
            help="of a new stack's Kafka, for ever  [1]; with 3, one may be away",
        )
    )
    for option in reversed(options):
        up = option(up)
    return up


@click.group()
def command() -> None:
    """Run the whole system on this machine: Kafka, Redis, ClickHouse, workers, archivers, gateways.

    \b
    Example:
      messenger local up --home /tmp/one --base-port 9000
      messenger local status --home /tmp/one
    """


@command.command()
@home_option
@click.option(
    "--base-port",
    envvar="MESSENGER_BASE_PORT",
    default=DEFAULT_BASE_PORT,
    show_default=True,
    type=click.IntRange(1024, 65000),
    help="gateways from here, Kafka +8 (and +26, +29), Redis +10, ClickHouse +11, monitors from "
    "+13 (MESSENGER_BASE_PORT)",
)
@_counts
@click.option("--no-archive", is_flag=True, help="without ClickHouse and archivers")
@click.option("--secure", envvar="SECURE", is_flag=True, help="TLS and logins between all parts")
@click.option("--detach", is_flag=True, help="return when everything is ready; `down` ends it")
def up(
    home: Path, base_port: int, no_archive: bool, secure: bool, detach: bool, **counts: int | None
) -> None:
    """Start everything; Ctrl-C ends it. A second start keeps all messages.

    \b
    Example:
      GATEWAYS=2 messenger local up
    """
    place = Home(home)
    try:
        place.create()
        workers = counts["workers"] or 0
        secure = place.secure(secure)
        usual = DEFAULT_PARTITIONS if workers <= 1 else SHARED_PARTITIONS
        partitions, brokers = place.begin_with(counts["partitions"], counts["brokers"], usual)
        counts |= {"partitions": partitions, "brokers": brokers}
    except OSError as error:
        fail(f"MESSENGER_HOME: {error}", USAGE)
    except SettingsError as error:
        fail(str(error), USAGE)
    if workers > partitions:
        _say(f"{place.folder} has {partitions} partition(s): more workers have nothing to do")
    if no_archive:
        counts["archivers"] = None
    if detach:
        _detach(place, base_port, counts, secure)
        return
    try:
        layout = Layout(place, base_port, **counts, secure=secure)  # type: ignore[arg-type]
        asyncio.run(Supervisor(layout, _say).run(lambda: _show(place)))
    except PortTaken as error:
        fail(str(error), USAGE)
    except (CannotStart, MissingTool) as error:
        fail(str(error))


@command.command()
@home_option
def down(home: Path) -> None:
    """End a stack and whatever it left behind. Example: messenger local down"""
    place = Home(home)
    state = place.read_state()
    if is_running(state.get("pid"), state.get("started")):
        end(state["pid"], state["started"], _DOWN_SECONDS)
    end_leftovers(place)
    if place.folder.exists():
        place.write_state({})


@command.command()
@home_option
@click.option(
    "--json", "as_json", is_flag=True, help="part -> pid, state, problem, port, restarts, log"
)
def status(home: Path, as_json: bool) -> None:
    """Show each part; exit code 0 only when every one is healthy. Example: messenger local status
    --json"""
    place = Home(home)
    state = place.read_state()
    parts: dict[str, Any] = state.get("parts", {})
    alive = is_running(state.get("pid"), state.get("started"))
    asyncio.run(look(parts))
    if as_json:
        click.echo(
            json.dumps(
                {
                    name: {
                        key: part[key]
                        for key in ("pid", "state", "problem", "port", "restarts", "log", "address")
                    }
                    for name, part in parts.items()
                }
            )
        )
    elif not alive:
        click.echo(f"no stack runs in {place.folder}")
    else:
        _table(parts)
    if not alive or not parts or any(part["state"] != "running" for part in parts.values()):
        raise SystemExit(FAILED)


@command.command()
@home_option
@click.argument("part", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on as the log grows")
def logs(home: Path, part: str | None, follow: bool) -> None:
    """Print the log of one PART, or the last lines of all. Example: messenger local logs kafka
    -f"""
    place = Home(home)
    files = [place.log_of(part)] if part else sorted(place.logs.glob("*.log"))
    if not files or not all(file.exists() for file in files):
        fail(f"no log of {part or 'any part'} in {place.logs}")
    lines = ["-n", "+1"] if part else ["-n", "20"]
    sys.exit(subprocess.call(["tail", *lines, *(["-F"] if follow else []), *map(str, files)]))


def _detach(place: Home, base_port: int, counts: Mapping[str, int | None], secure: bool) -> None:
    output = place.logs / "supervisor.log"
    arguments = ["--home", str(place.folder), "--base-port", str(base_port)]
    for name, count in counts.items():
        arguments += [] if count is None else [f"--{name}", str(count)]
    arguments += ["--secure"] if secure else []
    arguments += ["--no-archive"] if counts["archivers"] is None else []
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops", "local", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while process.poll() is None:
        if b"Ctrl-C" in output.read_bytes():
            click.echo(output.read_text(), nl=False)
            return
        time.sleep(0.1)
    fail(output.read_text().strip().removeprefix("messenger: "), process.returncode)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(place: Home) -> None:
    click.echo("")
    parts = place.read_state()["parts"]
    first = "(chat page)", "(overview page)"
    pages = {kind: {n: p for n, p in parts.items() if kind in p["address"]} for kind in first}
    _table({**pages[first[0]], **pages[first[1]], **parts})
    click.echo(f"logs           {place.logs}")
    click.echo(
        "\nLOCAL MODE: anybody who reaches these ports logs in as anybody, without a password. "
        "Ctrl-C ends everything."
    )
    sys.stdout.flush()


def _table(parts: dict[str, Any]) -> None:
    for name, part in parts.items():
        restarts = f"  ({part['restarts']} restarts)" if part["restarts"] else ""
        click.echo(f"{name:<14} {part['state']:<10} {part['address']}{restarts}")
        if part.get("problem"):
            click.echo(f"{'':<14} {part['problem']}")
