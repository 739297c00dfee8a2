"""`messenger topics`: create or check the Kafka topics."""

import os
import time
from typing import Annotated

import click
from msgspec import Meta, Struct

from connectors.environment import SettingsError, load
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable
from ops.exits import FAILED, exit_codes

_SETTLE_SECONDS = 10.0


class TopicsSettings(Struct, frozen=True):
    """MESSENGER_KAFKA, MESSENGER_PARTITIONS, MESSENGER_SLOTS."""

    kafka: str
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 4
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 8


@click.group()
def command() -> None:
    """Create or check the topics of schemas/topics in Kafka.

    Settings: MESSENGER_KAFKA; MESSENGER_PARTITIONS (4) of conversation topics, which can never be
    changed; MESSENGER_SLOTS (8), the most gateway nodes there can be.

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 messenger topics create
    """


@command.command()
@click.option(
    "--replication",
    default=1,
    show_default=True,
    help="replicas of each partition; 3 in production",
)
@click.option("--wait", default=0.0, show_default=True, help="seconds to wait for Kafka to answer")
def create(replication: int, wait: float) -> None:
    """Create what is missing; safe to repeat. Example: messenger topics create --replication 3"""
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
        settings = load(TopicsSettings, os.environ)
        until = time.monotonic() + wait
        while True:
            admin = TopicsAdmin(settings.kafka, settings.partitions, settings.slots, timeout=5.0)
            try:
                created = admin.create(replication)
                break
            except KafkaUnreachable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        for name in created:
            click.echo(f"created {name}")
        settled = time.monotonic() + _SETTLE_SECONDS
        while created and admin.check() and time.monotonic() < settled:
            time.sleep(0.1)  # the brokers tell each other of new topics
        _check(admin)


@command.command()
def check() -> None:
    """Compare Kafka's topics with their files; exit code 1 if anything differs. Example: messenger
    topics check"""
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
        settings = load(TopicsSettings, os.environ)
        _check(TopicsAdmin(settings.kafka, settings.partitions, settings.slots))


def _check(admin: TopicsAdmin) -> None:
    problems = admin.check()
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(FAILED)
    click.echo("topics are as schemas/topics says")
