"""The parts of a local stack."""

import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from ops.local.brokers import Broker, addresses, brokers, kafka_properties
from ops.local.deaths import broker_died, worker_died
from ops.local.home import Home
from ops.local.kafka import format_data, serve
from ops.local.secret_file import write_secret
from ops.local.security import REDIS_PORT, Security, acl_arguments
from ops.local.tools import MissingTool, find_tool

MAX_GATEWAYS = 8
MAX_WORKERS = 8
MAX_ARCHIVERS = 2
MAX_CURSORS = 1
MAX_PRESENCE = 1
_REDIS, _CLICKHOUSE = REDIS_PORT, 11
_ARCHIVERS, _CURSORS, _WORKERS, _PRESENCE = 13, 15, 16, 28
_HUNG_SECONDS = 20.0


class Kind(Enum):
    """What depends on what: ours need services; gateways go before the workers that answer them."""

    SERVICE = 1
    STAGE = 2
    GATEWAY = 3


class Part(NamedTuple):
    """`check` says how health is asked: ("kafka" | "redis" | "http", port, path). `before` are
    commands run before each start, `after` when it has become healthy for the first time. What does
    not answer for `hung` seconds is killed and started again. `follows` names the parts that
    must be healthy before it begins. `died` tells Kafka that the process has ended, and returns how
    many seconds the next one may wait; that is not started before."""

    kind: Kind
    name: str
    argv: list[str]
    environment: dict[str, str]
    port: int
    check: tuple[str, int, str]
    grace: float
    before: list[list[str]]
    after: list[list[str]]
    address: str
    hung: float | None = None
    follows: Sequence[str] = ()
    died: Callable[[], Awaitable[float]] | None = None


class Layout(NamedTuple):
    """What a stack consists of and where it listens."""

    home: Home
    base_port: int
    workers: int
    gateways: int
    archivers: int | None = 1
    """None: without an archive, and without ClickHouse."""
    cursors: int | None = None
    """Workers that run only this stage. None: the `workers` run it, too."""
    presence: int | None = None
    """The same."""
    partitions: int = 4
    brokers: int = 1
    """Of Kafka: 1 or 3."""
    secure: bool = False
    """Everybody logs in, by TLS; a process may do what it needs (ops/local/security.py)."""

    @property
    def security(self) -> Security | None:
        return Security(self.home) if self.secure else None

    def kafka(self, user: str = "admin") -> str:
        """MESSENGER_KAFKA of a user."""
        servers = addresses(self.base_port, self.brokers)
        return self.security.kafka(user, servers) if self.security else servers

    def redis(self, user: str = "admin") -> str:
        """MESSENGER_REDIS of a user."""
        port = self.base_port + _REDIS
        return self.security.redis(user, port) if self.security else f"redis://127.0.0.1:{port}/0"

    @property
    def _scheme(self) -> str:
        return "https" if self.secure else "http"

    def _check(self, kind: str, port: int, path: str = "") -> tuple[str, int, str]:
        return f"{kind}s" if self.secure else kind, port, path

    def clickhouse(self, user: str) -> str:
        """The address of ClickHouse for a user of ops/clickhouse/users.xml."""
        return clickhouse_url(self.home, self.base_port, user)

    def environment(self, user: str = "admin") -> dict[str, str]:
        """What every process of ours in the stack is told; its user of Kafka and Redis."""
        return {
            "MESSENGER_KAFKA": self.kafka(user),
            "MESSENGER_REDIS": self.redis(user),
            "MESSENGER_PARTITIONS": str(self.partitions),
            "MESSENGER_REPLICATION": str(self.brokers),
            "MESSENGER_LOCAL": "1",
            "MESSENGER_START_SECONDS": "120",
        }

    def worker_environment(self, user: str) -> dict[str, str]:
        """What every worker is told, but for its folder and its port."""
        pages = {**self.security.pages(), **self.security.worker()} if self.security else {}
        return {**self.environment(user), **pages}

    def parts(self) -> list[Part]:
        """All parts. Raises MissingTool."""
        messenger = [sys.executable, "-m", "ops"]
        ours = self.environment("gateway")
        if self.security is not None:
            pages = self.security.pages()
            ours |= {**self.security.gateway(), **pages}
        reading = (
            {} if self.archivers is None else {"MESSENGER_CLICKHOUSE": self.clickhouse("gateway")}
        )
        after = [[*messenger, "topics", "create", "--wait", "120"]]
        if self.secure:
            after.append([*messenger, "topics", "acls", *acl_arguments(), "--apply"])
        parts = self._kafka(after)
        parts.append(self._redis())
        together = ["sequencer"]
        together += ["cursors"] if self.cursors is None else []
        together += ["presence"] if self.presence is None else []
        together += ["memberships", "people"]
        parts += self._workers("worker", together, self.workers, _WORKERS)
        parts += self._workers("cursors", ["cursors"], self.cursors or 0, _CURSORS)
        parts += self._workers("presence", ["presence"], self.presence or 0, _PRESENCE)
        if self.archivers is not None:
            # on a small machine it would keep the others from being there sooner
            talking = [part.name for part in parts]
            parts.append(self._clickhouse([[*messenger, "archive", "migrate"]], talking))
        archiving = {"MESSENGER_CLICKHOUSE": self.clickhouse("archiver")}
        archivers = self.archivers or 0
        parts += self._workers(
            "archiver", ["archiver"], archivers, _ARCHIVERS, archiving, ["clickhouse"]
        )
        for number in range(1, self.gateways + 1):
            port = self.base_port + number - 1
            parts.append(
                Part(
                    Kind.GATEWAY,
                    f"gateway-{number}",
                    [*messenger, "gateway"],
                    {
                        **ours,
                        **reading,
                        "MESSENGER_TOKEN_SECRET": self.home.token_secret(),
                        "MESSENGER_HTTP_PORT": str(port),
                        "MESSENGER_OPERATOR_SECRET": self.home.operator_secret(),
                        "MESSENGER_DRAIN_SECONDS": _DRAIN_SECONDS,
                    },
                    port,
                    self._check("http", port, "/health"),
                    2.5,
                    [],
                    [],
                    f"{self._scheme}://127.0.0.1:{port}/ (chat page)",
                )
            )
        return parts

    def _workers(
        self,
        name: str,
        stages: Sequence[str],
        count: int,
        first_port: int,
        more: Mapping[str, str] = MappingProxyType({}),
        follows: Sequence[str] = (),
    ) -> list[Part]:
        """`count` workers, each with all of these stages."""
        parts = []
        for number in range(1, count + 1):
            port = self.base_port + first_port + number - 1
            state = self.home.folder / f"{name}-{number}"
            parts.append(
                Part(
                    Kind.STAGE,
                    f"{name}-{number}",
                    [sys.executable, "-m", "ops", "worker", *stages],
                    {
                        **self.worker_environment("archiver" if name == "archiver" else "worker"),
                        **more,
                        "MESSENGER_STATE_DIR": str(state),
                        "MESSENGER_WEB_PORT": str(port),
                    },
                    port,
                    self._check("http", port, "/health/"),
                    5.0,
                    [],
                    [],
                    f"{self._scheme}://127.0.0.1:{port}/ (overview page)",
                    follows=follows,
                    died=partial(worker_died, self.kafka(), state, port, stages),
                )
            )
        return parts

    def _kafka(self, after: list[list[str]]) -> list[Part]:
        """Its brokers; the first of them runs `after`."""
        cluster = brokers(self.home.folder, self.base_port, self.brokers)
        return [
            self._broker(broker, cluster, after if broker is cluster[0] else [])
            for broker in cluster
        ]

    def _broker(self, broker: Broker, cluster: Sequence[Broker], after: list[list[str]]) -> Part:
        broker.folder.mkdir(parents=True, exist_ok=True)
        properties = broker.folder / "server.properties"
        security = self.security.kafka_properties() if self.security else ""
        users = self.security.kafka_users() if self.security else ()
        write_secret(properties, kafka_properties(broker, cluster, security).encode())
        make = format_data(properties, self.home.cluster_id(), users)
        return Part(
            Kind.SERVICE,
            broker.name,
            serve(properties, alone=len(cluster) == 1),
            self.environment(),
            broker.port,
            self._check("kafka", broker.port),
            4.0,
            # a broker that has lost its disk begins anew, and gets all from the others
            [["sh", "-c", 'test -e "$0" || exec "$@"', str(broker.formatted), *make]],
            after,
            broker.address,
            died=partial(broker_died, self.kafka(), broker, cluster),
        )

    def _redis(self) -> Part:
        server = find_tool("redis-server", " (Debian: redis-server)")
        folder = self.home.folder / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        port = self.base_port + _REDIS
        options = [
            *("--bind", "127.0.0.1"),
            *(self.security.redis_options(port) if self.security else ("--port", str(port))),
            *("--dir", str(folder), "--appendonly", "yes"),
        ]
        options += ["--maxmemory-policy", "noeviction"]
        options += ["--save", "", "--hz", "1"]  # its appended file is enough; it wakes less often
        return Part(
            Kind.SERVICE,
            "redis",
            [server, *options],
            {},
            port,
            self._check("redis", port),
            1.5,
            [],
            [],
            f"{'rediss' if self.secure else 'redis'}://127.0.0.1:{port}/0",
        )

    def _clickhouse(self, after: list[list[str]], follows: Sequence[str]) -> Part:
        if importlib.util.find_spec("chdb") is None:
            raise MissingTool(
                'chdb-core is not installed: pip install -e ".[local]" -c constraints.txt, '
                "or start --no-archive"
            )
        folder = self.home.folder / "clickhouse"
        port = self.base_port + _CLICKHOUSE
        return Part(
            Kind.SERVICE,
            "clickhouse",
            [sys.executable, "-m", "ops.local.clickhouse_server", str(folder)],
            {
                **clickhouse_environment(self.home, port),
                **(self.security.clickhouse() if self.security else {}),
                "MESSENGER_CLICKHOUSE_ADMIN": self.clickhouse("admin"),
            },
            port,
            self._check("http", port, "/ping"),
            5.0,
            [],
            after,
            f"{self._scheme}://127.0.0.1:{port}/ (users and passwords: "
            f"{self.home.folder}/clickhouse-*; docs/ARCHIVE.md)",
            hung=_HUNG_SECONDS,
            follows=follows,
        )


def usual_ports(base_port: int) -> dict[str, int]:
    """part → its port, of a stack with one of each."""
    offsets = {"gateway-1": 0, "kafka": 8, "redis": _REDIS, "clickhouse": _CLICKHOUSE}
    offsets |= {"archiver-1": _ARCHIVERS, "worker-1": _WORKERS}
    return {part: base_port + offset for part, offset in offsets.items()}


CLICKHOUSE_USERS = ("admin", "archiver", "gateway", "analyst")
"""Of ops/clickhouse/users.xml."""


def clickhouse_environment(home: Home, port: int) -> dict[str, str]:
    """What ops/clickhouse/*.xml ask of the environment."""
    passwords = {
        f"MESSENGER_CLICKHOUSE_{user.upper()}_PASSWORD": home.clickhouse_password(user)
        for user in CLICKHOUSE_USERS
    }
    return {
        **passwords,
        "MESSENGER_CLICKHOUSE_ADMIN_FROM": "127.0.0.1",
        "MESSENGER_CLICKHOUSE_HOST": "127.0.0.1",
        "MESSENGER_CLICKHOUSE_PORT": str(port),
        "MESSENGER_CLICKHOUSE_BACKUPS": os.environ.get(
            "MESSENGER_CLICKHOUSE_BACKUPS", str(home.folder / "backups")
        ),
        "MESSENGER_CLICKHOUSE_COLD": os.environ.get(
            "MESSENGER_CLICKHOUSE_COLD", f"{home.folder.resolve()}/clickhouse-cold/"
        ),
    }


def clickhouse_url(home: Home, base_port: int, user: str) -> str:
    """The address of a local stack's ClickHouse for one of its users."""
    login = f"{user}:{home.clickhouse_password(user)}@127.0.0.1:{base_port + _CLICKHOUSE}"
    secure = home.secure(False)
    return f"https://{login}?ca={Security(home).authority}" if secure else f"http://{login}"


_DRAIN_SECONDS = "0.5"
"""Ctrl-C ends everything within 10 s; there are few sessions on one machine."""
