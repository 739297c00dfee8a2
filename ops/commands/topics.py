"""`messenger topics`: create or check the Kafka topics."""

import time
from typing import Annotated

import click
from msgspec import Meta, Struct

from connectors.environment import SettingsError
from connectors.kafka.acls import ROLES, acls
from connectors.kafka.admin import TooFewBrokers, TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.start_checks import check_topics
from connectors.kafka.wanted_topics import Flush, Replication, one_copy, wanted_topics
from ops.exits import FAILED, USAGE, exit_codes, fail
from ops.local.beside import settings_beside
from ops.local.parts import Layout

_SETTLE_SECONDS = 10.0


class TopicsSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md)."""

    kafka: str
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 4
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 8
    replication: Replication | None = None
    flush: Flush = "later"
    local: bool = False


@click.group()
def command() -> None:
    """Create or check the topics of schemas/topics in Kafka.

    Settings: MESSENGER_KAFKA; MESSENGER_PARTITIONS (4) of conversation topics, which can never be
    changed; MESSENGER_SLOTS (8), the most gateway nodes there can be; MESSENGER_REPLICATION (3),
    the brokers that keep each record; MESSENGER_FLUSH (later; always: a record is on disk before it
    is acknowledged); MESSENGER_LOCAL=1 (one copy is enough). Without MESSENGER_KAFKA they are those
    of the local stack.

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 messenger topics create
    """


@command.command()
@click.option("--wait", default=0.0, show_default=True, help="seconds to wait for Kafka to answer")
def create(wait: float) -> None:
    """Create what is missing, and set what a topic has less of than it must; safe to repeat.
    Example: messenger topics create"""
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError, TooFewBrokers)):
        settings = _settings()
        wanted = wanted_topics(settings)
        admin = TopicsAdmin(settings.kafka, wanted, timeout=5.0)
        until = time.monotonic() + wait
        while True:
            try:
                done = admin.create()
                break
            except KafkaUnreachable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
                admin = TopicsAdmin(settings.kafka, wanted, timeout=5.0)
        for line in done:
            click.echo(line)
        settled = time.monotonic() + _SETTLE_SECONDS
        while done and admin.check().problems and time.monotonic() < settled:
            time.sleep(0.1)  # the brokers tell each other of what has changed
        _check(settings)


@command.command()
def check() -> None:
    """Compare Kafka's topics with their files; exit code 1 if anything keeps processes from
    starting. Example: messenger topics check"""
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
        _check(_settings())


@command.command()
@click.option("--partitions", required=True, type=click.IntRange(1, 10_000), help="how many")
def reshape(partitions: int) -> None:
    """Refuse to change the number of partitions of a numbering. Example: messenger topics reshape
    --partitions 8"""
    fail(
        f"the number of partitions cannot be changed to {partitions}: conversations that another"
        " partition gets would be numbered from 1 again, on devices and in an archive that have"
        " other messages under these numbers; docs/OPERATIONS.md says how many to choose at the"
        " start, docs/decisions/0037-the-number-of-partitions-is-for-ever.md what a change would"
        " take",
        USAGE,
    )


@command.command("acls")
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="USER=ROLE[,ROLE…]",
    help="who plays which roles; by default each role has a user of its name",
)
@click.option("--apply", is_flag=True, help="set them; MESSENGER_KAFKA's user must be allowed to")
def acls_(users: tuple[str, ...], apply: bool) -> None:
    """Print what each user may do in Kafka, by the topics' writers and readers. Example: messenger
    topics acls --user worker=sequencer,cursors,presence,memberships,people --user
    gateway=gateway"""
    wanted = {}
    for user, _, roles in (one.partition("=") for one in users or [f"{r}={r}" for r in ROLES]):
        wanted[user] = acls(roles.split(","))
        if unknown := set(roles.split(",")) - set(ROLES):
            fail(f"no role {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}", USAGE)
        for acl in wanted[user]:
            click.echo(f"{user:<12} {acl.kind:<6} {acl.name:<20} {acl.operation}")
    if apply:
        with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
            settings = _settings()
            TopicsAdmin(settings.kafka, wanted_topics(settings)).allow(wanted)


def _settings() -> TopicsSettings:
    """Raises SettingsError."""
    return settings_beside(TopicsSettings, Layout.environment)[0]


def _check(settings: TopicsSettings) -> None:
    checked = check_topics(settings.kafka, wanted_topics(settings))
    for line in checked.topics:
        click.echo(line)
    loud = one_copy(wanted_topics(settings))
    for line in (*checked.notes, *([loud] if loud else ()), *checked.problems):
        click.echo(line, err=True)
    if checked.problems:
        raise SystemExit(FAILED)
    click.echo("topics are as schemas/topics says")
