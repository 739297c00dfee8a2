"""The stages that a worker may run: how each is built from the outside systems."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.archiver import content
from agents.archiver.stage import archiver_stages
from agents.cursors.stage import GROUP as CURSORS
from agents.cursors.stage import cursors_stage
from agents.memberships.partition import MembershipsIO
from agents.memberships.stage import GROUP as MEMBERSHIPS
from agents.memberships.stage import memberships_stage
from agents.message_traces import traced_messages
from agents.notifier.partition import NotifierIO
from agents.notifier.stage import notifier_stage
from agents.people.stage import GROUP as PEOPLE
from agents.people.stage import people_stage
from agents.presence.stage import GROUP as PRESENCE
from agents.presence.stage import presence_stage
from agents.route_lookups import RouteLookups
from agents.rules.webhook import WAITS_SECONDS, keys_of
from agents.sequencer.io import SequencerIO
from agents.sequencer.snapshot_writer import SnapshotPolicy
from agents.sequencer.stage import GROUP as SEQUENCER
from agents.sequencer.stage import sequencer_stage
from agents.settings import WorkerSettings
from agents.webhook.partition import WebhookIO
from agents.webhook.stage import AT_ONCE, webhook_stage
from connectors.clickhouse.ports import Archive
from connectors.environment import SettingsError
from connectors.kafka.ports import Kafka, Producer
from connectors.redis.owners import Owners
from connectors.redis.routes import Routes
from connectors.redis.watchers import Watchers
from connectors.traces import Traces
from connectors.webhook import Endpoint
from schemas import topics
from streams.slot_sender import SlotSender
from streams.stage import Shared, StageSpec
from streams.table_partition import Table, TableIO
from streams.tables.cursors import CursorTable
from streams.tables.memberships import MembershipTable
from streams.tables.people import PeopleTable
from streams.tables.presence import PresenceTable
from streams.tables.rocks import Disk
from streams.tables.sequences import SequenceTable, table_folder


class WorkerPorts(NamedTuple):
    """What a stage may be built from: the outside systems as a worker process sees them. `owners`
    are a stage's, by its name; `archive` and `endpoint` make clients, and raise SettingsError;
    `snapshots` says when the sequencer writes them. `traces`: None if nothing is traced."""

    settings: WorkerSettings
    kafka: Kafka
    producer: Producer
    sender: SlotSender
    owners: Callable[[str], Owners]
    routes: Routes
    watchers: Watchers
    archive: Callable[[], Archive]
    disk: Disk
    shared: Shared
    snapshots: SnapshotPolicy
    endpoint: Callable[[], Endpoint]
    traces: Traces | None = None


Build = Callable[[WorkerPorts], Sequence[StageSpec[Any]]]


def build_cursors(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The cursors."""
    io = _table_io(ports, CURSORS, CursorTable, topics.CURSORS)
    return [cursors_stage(io, ports.routes, ports.settings.partitions)]


def build_sequencer(
    ports: WorkerPorts, kind: type[SequencerIO] = SequencerIO
) -> Sequence[StageSpec[Any]]:
    """The sequencer; `kind` is what its partitions see of the outside."""
    folder = Path(ports.settings.state_dir)
    io = kind(
        ports.kafka,
        ports.sender,
        SEQUENCER,
        lambda partition: SequenceTable(table_folder(folder, partition), ports.disk),
        ports.routes,
        ports.owners(SEQUENCER),
        ports.settings.web_address,
        ports.settings.partitions,
    )
    return [sequencer_stage(io, ports.settings.partitions, ports.snapshots)]


def build_presence(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """Presence."""
    io = _table_io(ports, PRESENCE, PresenceTable, topics.PRESENCE)
    partitions, slots = ports.settings.partitions, ports.settings.slots
    return [presence_stage(io, ports.routes, ports.watchers, partitions, slots)]


def build_people(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The people."""
    io = _table_io(ports, PEOPLE, PeopleTable, topics.PEOPLE)
    return [people_stage(io, ports.routes, ports.watchers, ports.settings.partitions)]


def _table_io(
    ports: WorkerPorts, group: str, table: Callable[[Path, Disk], Table], changelog: str
) -> TableIO[Table]:
    """What a stage with a table in RocksDB and a changelog in Kafka sees of the outside."""
    folder = Path(ports.settings.state_dir)
    return TableIO(
        ports.kafka,
        ports.producer,
        ports.sender,
        ports.owners(group),
        lambda partition: table(folder / f"{group}-{partition}", ports.disk),
        group,
        changelog,
        ports.settings.web_address,
    )


def build_memberships(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The memberships."""
    folder = Path(ports.settings.state_dir)
    io = MembershipsIO(
        ports.kafka,
        ports.owners(MEMBERSHIPS),
        ports.settings.partitions,
        lambda partition: MembershipTable(folder / f"memberships-{partition}", ports.disk),
        ports.settings.web_address,
    )
    return [memberships_stage(io)]


def build_archiver(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The archiver. Raises SettingsError, KafkaUnreachable."""
    inputs, partitions = ports.shared.inputs, ports.settings.partitions
    messages = traced_messages(ports.traces) if ports.traces else content.MESSAGES
    contents = (messages, content.CURSORS)
    return archiver_stages(ports.kafka, ports.archive(), inputs, partitions, contents)


def build_notifier(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The notifier."""
    lookups, text = RouteLookups(ports.routes), ports.settings.notification_text
    io = NotifierIO(ports.kafka, ports.producer, lookups, text)
    return [notifier_stage(io, ports.settings.partitions)]


def build_webhook(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    """The webhook. Raises SettingsError."""
    try:
        keys = keys_of(ports.settings.webhook_secret)
    except ValueError as error:
        raise SettingsError(f"MESSENGER_WEBHOOK_SECRET: {error}") from None
    endpoint = ports.endpoint()
    io = WebhookIO(
        ports.kafka,
        ports.producer,
        endpoint.call,
        keys,
        WAITS_SECONDS,
        ports.shared.random,
        asyncio.Semaphore(AT_ONCE),
    )
    return [webhook_stage(io, ports.settings.partitions, endpoint.close)]


BUILDERS: Mapping[str, Build] = {
    "sequencer": build_sequencer,
    "cursors": build_cursors,
    "presence": build_presence,
    "memberships": build_memberships,
    "people": build_people,
    "archiver": build_archiver,
    "notifier": build_notifier,
    "webhook": build_webhook,
}
"""What a stage's name on the command line stands for."""
