"""`messenger worker`: run stages of the pipeline."""

import logging
import os
import sys

import click

from ops.exits import exit_codes, fail


@click.command()
@click.argument("stages", nargs=-1, required=True, type=click.Choice(["sequencer"]))
def command(stages: tuple[str, ...]) -> None:
    """Run one or several STAGES in one process.

    Settings: MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_STATE_DIR (this worker's own folder), MESSENGER_WEB_PORT
    (Faust monitor, 6066), MESSENGER_WEB_BIND (127.0.0.1: the monitor has no login), MESSENGER_PARTITIONS (4),
    MESSENGER_SLOTS (8).

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 MESSENGER_REDIS=redis://127.0.0.1:8410/0 \\
      MESSENGER_STATE_DIR=/var/lib/messenger messenger worker sequencer
    """
    from agents.settings import WorkerSettings
    from agents.worker import build_sequencer, run
    from connectors.environment import SettingsError, load
    from connectors.kafka.topics import KafkaUnreachable, TopicsWrong
    from ops.logs import set_up_logging

    set_up_logging(logging.INFO)
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
        try:
            sys.exit(run(load(WorkerSettings, os.environ), [{"sequencer": build_sequencer}[stage] for stage in stages]))
        except TopicsWrong as error:
            fail(f"the topics are not as schemas/topics says:\n{error}")
