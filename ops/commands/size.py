"""`messenger size`: how much of everything a system needs."""

import json
from pathlib import Path

import click

from ops.exits import USAGE, fail
from ops.size import Demand, costs_of, needs

_RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "latest.json"
_DEFAULT = Demand(0, 0)


@click.command()
@click.option("--users", required=True, type=click.IntRange(1), help="who have the messenger")
@click.option("--messages-per-day", required=True, type=click.IntRange(1), help="of all of them")
@click.option("--peak", default=_DEFAULT.peak, show_default=True, help="the peak, in means")
@click.option("--online", default=_DEFAULT.online, show_default=True, help="share that is online")
@click.option("--logins", default=_DEFAULT.logins, show_default=True, help="of a user, a day")
@click.option("--body", default=_DEFAULT.body, show_default=True, help="bytes of a message")
@click.option("--busy", default=_DEFAULT.busy, show_default=True, help="how full a core may be")
@click.option("--days", default=_DEFAULT.days, show_default=True, help="kept in the archive")
def command(
    users: int,
    messages_per_day: int,
    peak: float,
    online: float,
    logins: float,
    body: int,
    busy: float,
    days: int,
) -> None:
    """Say how many partitions, brokers, workers, gateways, how much Redis and ClickHouse a system
    needs, and what breaks first.

    It multiplies what bench/results/latest.json has measured on one small machine; measure on your
    own before you buy (`make bench`).

    \b
    Example:
      messenger size --users 1000000 --messages-per-day 40000000
    """
    if not _RESULTS.exists():
        fail(f"there is no {_RESULTS}; `make bench` writes it", USAGE)
    results = json.loads(_RESULTS.read_text())
    demand = Demand(users, messages_per_day, peak, online, logins, body, busy, days)
    for need in needs(demand, costs_of(results)):
        why = f"  ({need.why})" if need.why else ""
        click.echo(f"{need.part:<12} {need.how_many}{why}")
    click.echo(f"by the figures of {results['when']} on {results['machine']}")
