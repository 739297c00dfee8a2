"""`messenger worker`: run stages of the pipeline."""

import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from ops.exits import exit_codes
from ops.importing import importing

if TYPE_CHECKING:
    from ops.local.parts import Layout


@click.command()
@click.argument(
    "stages",
    nargs=-1,
    required=True,
    type=click.Choice(
        [
            *("sequencer", "cursors", "presence", "memberships", "people", "archiver"),
            *("notifier", "webhook"),
        ]
    ),
)
def command(stages: tuple[str, ...]) -> None:
    """Run STAGES in one process: the sequencer; the cursors, which keep what was received and read;
    presence; the memberships, which know in which partitions a user has conversations; the people,
    who know whom a user has blocked; the archiver, which brings every message, and when it was
    delivered and read, to ClickHouse; the notifier, which looks for messages whose recipients have
    no device connected, for the topic `notifications`; the webhook, which calls an endpoint of
    yours for each record of that.

    Settings: MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_STATE_DIR (this worker's own folder),
    MESSENGER_WEB_PORT (Faust monitor, 6066), MESSENGER_WEB_BIND (127.0.0.1: the monitor has no
    login), MESSENGER_PARTITIONS (4), MESSENGER_SLOTS (8), MESSENGER_REPLICATION (3),
    MESSENGER_FLUSH, MESSENGER_LOCAL=1 (one copy of each record is enough). The archiver:
    MESSENGER_CLICKHOUSE too (http://archiver:password@host:8123). Without MESSENGER_KAFKA and
    MESSENGER_REDIS the worker joins the local stack, and what is unset is as its workers have it.

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 MESSENGER_REDIS=redis://127.0.0.1:8410/0 \\
      MESSENGER_STATE_DIR=/var/lib/messenger \\
      messenger worker sequencer cursors presence memberships people
    """
    from agents.settings import WorkerSettings
    from connectors.environment import SettingsError
    from ops.local.beside import settings_beside
    from ops.logs import set_up_logging

    with exit_codes(usage=(SettingsError,)):
        settings, home = settings_beside(WorkerSettings, partial(told, stages=stages))
    if home is not None:
        click.echo(f"messenger: a worker of the local stack in {home.folder}", err=True)
    set_up_logging(logging.INFO, settings.log_format)

    # They take a second to import: who has forgotten a setting is told before.
    with importing():
        from agents.builders import BUILDERS
        from agents.worker import run
        from connectors.kafka.ports import KafkaUnreachable
        from connectors.kafka.start_checks import TopicsWrong

    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError, TopicsWrong)):
        sys.exit(run(settings, [BUILDERS[stage] for stage in dict.fromkeys(stages)]))


def told(layout: "Layout", stages: Sequence[str]) -> dict[str, str]:
    """What a worker of the local stack is told. Its folder is named after its port, which no other
    worker has."""
    others = [stage for stage in stages if stage in ("archiver", "webhook")]
    port = os.environ.get("MESSENGER_WEB_PORT") or "6066"
    archive = layout.clickhouse("archiver") if "archiver" in stages else ""
    return {
        **layout.worker_environment(others[0] if others else "worker"),
        "MESSENGER_CLICKHOUSE": archive,
        "MESSENGER_STATE_DIR": str(layout.home.folder / f"worker-at-{port}"),
    }
