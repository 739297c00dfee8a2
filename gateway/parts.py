"""A node's parts, and how they are wired. It makes no adapters: these come in as `NodePorts`."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from connectors.clickhouse.ports import Archive
from connectors.dependency import Dependencies
from connectors.kafka.ports import Kafka, Producer
from connectors.redis.nodes import Nodes
from connectors.redis.owners import Owners
from connectors.redis.quotas import SharedQuotas
from connectors.redis.recent import RecentWindows
from connectors.redis.routes import Routes
from connectors.redis.watchers import Watchers
from connectors.traces import Traces
from gateway.change_gate import ChangeGate
from gateway.edge.expiries import Expiries
from gateway.edge.flood_gate import FloodGate
from gateway.edge.logins import Logins
from gateway.edge.tokens import TokenVerifier
from gateway.greeter import Greeter, NodeIdentity
from gateway.latency import DeliveryTimes
from gateway.message_traces import MessageTraces, Receive, TracedSubmitter
from gateway.node_urls import NodeUrls
from gateway.people.directory import Directory
from gateway.people.lists import PeopleLists
from gateway.people.mark_filter import MarkFilter
from gateway.people.people import People
from gateway.people.requests import Requests
from gateway.people.send_gate import SendGate
from gateway.people.stances import Stances
from gateway.presence.announcer import PresenceAnnouncer
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.presence.typing import TypingRelay
from gateway.push import Pusher
from gateway.queries.answers import QuestionAnswerer
from gateway.queries.conversations import ConversationQueries
from gateway.queries.devices import DeviceQueries
from gateway.queries.history import History
from gateway.queries.marks import MarkQueries
from gateway.queries.memberships import MembershipQueries
from gateway.queries.recent import RecentPages
from gateway.queries.user_status import UserStatusQueries
from gateway.queries.worker_client import WorkerClient
from gateway.queries.worker_transport import WorkerTransport
from gateway.quotas import Kind, Limit, Quotas
from gateway.receipt_gate import ReceiptGate
from gateway.receipts import Receipts
from gateway.registry import ConnectionRegistry
from gateway.resync import Resyncer
from gateway.revocations import Revocations
from gateway.route_writer import RouteWriter
from gateway.settings import GatewaySettings
from gateway.submit import PRODUCER, Submitter
from gateway.turn_writer import TurnWriter

STAGES = ("sequencer", "cursors", "presence", "memberships", "people")
"""The stages whose workers a node asks."""


class NodePorts(NamedTuple):
    """Everything outside a node. `owners`: stage → who owns its partitions. `now`: the time in ms.
    `dependencies` knows which outside systems cannot be reached. `tokens` verifies login tokens.
    `traces`: None if nothing is traced."""

    kafka: Kafka
    routes: Routes
    nodes: Nodes
    watchers: Watchers
    quotas: SharedQuotas
    owners: Mapping[str, Owners]
    recent: RecentWindows
    archive: Archive | None
    workers: WorkerTransport
    now: Callable[[], int]
    random: Random
    dependencies: Dependencies
    tokens: TokenVerifier
    traces: Traces | None = None


class Presence(NamedTuple):
    """The parts that know which users are here, which are watched, and which are writing."""

    announcer: PresenceAnnouncer
    subscriptions: PresenceSubscriptions
    typing: TypingRelay


class Queries(NamedTuple):
    """What is answered from the workers and the archive."""

    workers: Mapping[str, WorkerClient]
    recent: RecentPages
    history: History
    devices: DeviceQueries
    user_status: UserStatusQueries
    answerer: QuestionAnswerer


class NodeParts(NamedTuple):
    """They stand beside each other; the node starts and stops them."""

    producer: Producer
    registry: ConnectionRegistry
    resyncer: Resyncer
    routes: RouteWriter
    urls: NodeUrls
    submitter: Submitter
    receipts: Receipts
    receipt_gate: ReceiptGate
    change_gate: ChangeGate
    presence: Presence
    people: People
    queries: Queries
    greeter: Greeter
    writer: TurnWriter
    pusher: Pusher
    receive: Receive
    """The pusher's, with spans if messages are traced."""
    delivery_times: DeliveryTimes
    revocations: Revocations
    logins: Logins
    expiries: Expiries
    quotas: Quotas
    flood_gate: FloodGate


def make_parts(
    settings: GatewaySettings,
    ports: NodePorts,
    identity: NodeIdentity,
    url: str,
    announced_slot: Callable[[], int | None],
    slot_taken: Callable[[str], None],
) -> NodeParts:
    """`announced_slot` gives the node's slot while devices may come to `url`. `slot_taken` gets the
    id of a node that has taken the slot."""
    partitions = settings.partitions
    producer = ports.kafka.producer(PRODUCER)
    registry = ConnectionRegistry()
    writer = TurnWriter(registry.devices)
    resyncer = Resyncer(registry)
    urls = NodeUrls(ports.nodes, settings.slots, url, announced_slot)
    receipts = Receipts(producer, partitions)
    workers = {
        stage: WorkerClient(stage, partitions, ports.owners[stage], ports.workers)
        for stage in STAGES
    }
    stances = Stances(workers["people"])
    routes = RouteWriter(
        identity.node, ports.routes, registry, producer, stances.forget, settings.user_devices
    )
    memberships = MembershipQueries(workers["memberships"])
    conversations = ConversationQueries(workers["sequencer"], memberships)
    recent = RecentPages(ports.recent)
    history = History(conversations, ports.archive, recent)
    subscriptions = PresenceSubscriptions(
        workers["presence"], conversations, ports.watchers, stances
    )
    presence = Presence(
        PresenceAnnouncer(identity.node, partitions, producer),
        subscriptions,
        TypingRelay(ports.routes, producer, subscriptions),
    )
    traces = MessageTraces(ports.traces, identity.node) if ports.traces else None
    if traces is None:
        submitter = Submitter(producer, partitions, lambda: routes.slot)
    else:
        submitter = TracedSubmitter(producer, partitions, lambda: routes.slot, traces)
    lists = PeopleLists(ports.kafka, workers["people"])
    people = People(
        stances,
        SendGate(
            submitter,
            stances,
            Directory(workers["presence"]) if settings.policy == "known" else None,
            contacts=settings.policy == "contacts",
            requests=Requests(stances, lists) if settings.policy == "requests" else None,
        ),
        MarkFilter(stances, registry),
        lists,
        registry,
        subscriptions,
    )
    revocations = Revocations(ports.kafka, partitions, registry.revoked)
    devices = DeviceQueries(
        ports.routes, workers["cursors"], receipts, producer, settings.slots, revocations
    )
    queries = Queries(
        workers,
        recent,
        history,
        devices,
        UserStatusQueries(ports.routes, ports.nodes, settings.slots, devices, revocations.book),
        QuestionAnswerer(
            conversations,
            history,
            MarkQueries(workers["cursors"], stances),
            subscriptions,
            people.lists,
            settings.user_questions * _FREE,
        ),
    )
    greeter = Greeter(
        identity,
        registry,
        routes,
        presence.announcer,
        subscriptions,
        urls if settings.redirect else None,
        ports.now,
        settings.user_devices,
    )
    delivery_times = DeliveryTimes(ports.now)

    def resync() -> None:
        stances.forget_all()
        resyncer.request()

    pusher = Pusher(
        registry,
        presence.typing,
        people,
        recent,
        writer.write,
        resync,
        slot_taken,
        delivery_times.pushed,
    )
    return NodeParts(
        producer,
        registry,
        resyncer,
        routes,
        urls,
        submitter,
        receipts,
        ReceiptGate(receipts, conversations, registry),
        ChangeGate(history, settings.change_seconds, ports.now),
        presence,
        people,
        queries,
        greeter,
        writer,
        pusher,
        traces.around(pusher.receive) if traces else pusher.receive,
        delivery_times,
        revocations,
        Logins(ports.tokens, revocations, ports.now),
        Expiries(ports.now),
        Quotas(_limits(settings), ports.quotas, asyncio.get_running_loop().time),
        FloodGate(settings.frame_rate * _FREE, registry.devices),
    )


_FREE = 0.1
"""Of what a user may do for long: what is done at once. The rest takes turns."""
_BURST_SECONDS = 20.0
"""A bucket holds what it gets in this time: a device sends at once what was written offline."""


def _limits(settings: GatewaySettings) -> dict[Kind, Limit]:
    openings = settings.user_openings
    return {
        Kind.SENDS: Limit(settings.user_sends, settings.user_sends * _BURST_SECONDS),
        Kind.QUESTIONS: Limit(settings.user_questions, settings.user_questions * _BURST_SECONDS),
        Kind.OPENINGS: Limit(openings / 3600, openings),
    }
