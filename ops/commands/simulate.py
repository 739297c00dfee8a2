"""`messenger simulate`: random histories of whole systems, on virtual time."""

import sys
from pathlib import Path

import click

from ops.exits import FAILED
from simulation.report import Report, run


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the first history.")
@click.option(
    "--hours",
    default=0.0,
    show_default=True,
    help="Go on with the next seeds until so many virtual hours have passed; 0: one history.",
)
@click.option("--steps", default=60, show_default=True, help="The most steps of a history.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what happened to this file: of all histories, or of the short one that fails.",
)
def command(seed: int, hours: float, steps: int, trace: Path | None) -> None:
    """Play random histories of a whole system in this process.

    Gateways, workers and devices are the real code; Kafka, Redis, ClickHouse and the network are
    in memory, and time is virtual. People talk, read, vanish and come back while processes are
    killed or paused, and outside systems fail. Then everything must drain, and every device must
    show what the log says.

    \b
    Example:
      messenger simulate --seed 7 --hours 1 --trace /tmp/trace

    The same seed always gives the same history, to the byte of the trace. A history that fails is
    made shorter: what is printed is the seed, what is wrong, and the steps that lead to it. The
    exit code is then 1.

    A line of the trace has the virtual second, the process that acts, and what it does. All starts
    at 0, the first step comes 3 s later plus its own wait, and second t is the time 1800000000000 +
    1000 t in ms that records, frames and log lines carry. The last lines say what is wrong.
    """
    if trace is None:
        report = run(seed, hours, most_steps=steps)
    else:
        with trace.open("w") as file:
            report = run(seed, hours, most_steps=steps, trace=file)
    click.echo(report.text())
    _tell_failure(report, trace)


def _tell_failure(report: Report, trace: Path | None) -> None:
    failure = report.failure
    if failure is None:
        return
    click.echo(failure.text())
    if trace is not None:
        trace.write_text(failure.trace)
        click.echo(f"trace of these steps: {trace}")
    sys.exit(FAILED)
