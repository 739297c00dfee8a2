"""What a local stack with SECURE=1 has beside the ordinary one: certificates, a user of each
service for each kind of process, and their passwords. All of it is in files that only their owner
reads."""

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from connectors.kafka.address import MECHANISM
from ops.local.brokers import addresses
from ops.local.home import Home
from ops.local.secret_file import write_secret

if TYPE_CHECKING:
    from ops.local.certificates import Certificates

REDIS_PORT = 10
"""After the stack's base port."""
KAFKA_ROLES = {
    "gateway": ("gateway",),
    "worker": ("sequencer", "cursors", "presence", "memberships", "people", "notifier"),
    "archiver": ("archiver",),
    "webhook": ("webhook",),
}
"""Kafka's users, and the roles that each plays. Besides there is `admin`, who may do everything.
The stack has no webhook: an operator begins one beside it."""

_READ = "+get +mget +hget +hgetall +zrangebyscore +getrange"
_WRITE = "+set +del +unlink +getex +hset +hdel +zadd +expire +pexpire +append +setrange"
_FLEET = "~fleet +hset +hdel +hgetall"
_SCRIPTS = "+eval +evalsha +time +info +ping +hello +auth +select"
REDIS_USERS = {
    "gateway": "~routes:* ~slot:* ~watchers:* ~node:* ~recent:* ~fleet ~remembers %R~owner:* "
    f"{_READ} {_WRITE} {_SCRIPTS}",
    "worker": "~routes:* ~owner:* ~fleet ~remembers ~slot:* %R~watchers:* "
    f"{_READ} {_WRITE} {_SCRIPTS}",
    "archiver": f"{_FLEET} {_SCRIPTS}",
    "webhook": f"{_FLEET} {_SCRIPTS}",
    "admin": f"%R~* {_READ} +scan {_SCRIPTS}",
}
"""Redis' users, with the keys and commands that each may use. A gateway may not claim a partition;
`admin` changes nothing. (To Redis' mind a script
writes its keys: a worker only reads `slot:*`.)"""


class Security(NamedTuple):
    """Of the stack in `home`."""

    home: Home

    def _certificates(self) -> "Certificates":
        # takes long to import, and most stacks have none
        from ops.local.certificates import certificates

        return certificates(self.home.folder / "tls")

    @property
    def authority(self) -> Path:
        """The PEM file of who signed its certificates."""
        return self._certificates().authority

    def password(self, service: str, user: str) -> str:
        return self.home.once(f"{service}-{user}", lambda: secrets.token_hex(16))

    def token(self, name: str) -> str:
        """The token "status" or "messages"."""
        return self.home.once(f"{name}-token", lambda: secrets.token_hex(32))

    def kafka(self, user: str, servers: str) -> str:
        """MESSENGER_KAFKA of a user."""
        return f"kafkas://{user}:{self.password('kafka', user)}@{servers}?ca={self.authority}"

    def redis(self, user: str, port: int) -> str:
        """MESSENGER_REDIS of a user."""
        login = f"{user}:{self.password('redis', user)}"
        return f"rediss://{login}@127.0.0.1:{port}/0?ssl_ca_certs={self.authority}"

    def gateway(self) -> dict[str, str]:
        """Settings of a gateway."""
        files = self._certificates()
        return {
            "MESSENGER_TLS_CERTIFICATE": str(files.certificate),
            "MESSENGER_TLS_KEY": str(files.key),
            "MESSENGER_WORKER_CA": str(files.authority),
        }

    def worker(self) -> dict[str, str]:
        """Settings of a worker's pages."""
        files = self._certificates()
        return {
            "MESSENGER_WEB_CERTIFICATE": str(files.certificate),
            "MESSENGER_WEB_KEY": str(files.key),
        }

    def pages(self) -> dict[str, str]:
        """Settings of whoever has pages, or asks for those of workers."""
        return {
            "MESSENGER_STATUS_TOKEN": self.token("status"),
            "MESSENGER_MESSAGES_TOKEN": self.token("messages"),
        }

    def clickhouse(self) -> dict[str, str]:
        """What ops/local/clickhouse_server.py is told."""
        files = self._certificates()
        return {
            "MESSENGER_CLICKHOUSE_CERTIFICATE": str(files.certificate),
            "MESSENGER_CLICKHOUSE_KEY": str(files.key),
        }

    def redis_options(self, port: int) -> list[str]:
        """Of redis-server, which listens with TLS only. Without a login one may ping."""
        files = self._certificates()
        acl = self.home.folder / "redis-users.acl"
        lines = ["user default on nopass -@all +ping"]
        for user, may in REDIS_USERS.items():
            known = hashlib.sha256(self.password("redis", user).encode()).hexdigest()
            lines.append(f"user {user} on #{known} -@all {may}")
        write_secret(acl, "\n".join([*lines, ""]).encode())
        tls = {"cert": files.certificate, "key": files.key, "ca-cert": files.authority}
        return [
            *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
            *(word for name, file in tls.items() for word in (f"--tls-{name}-file", str(file))),
            *("--aclfile", str(acl)),
        ]

    def kafka_properties(self) -> str:
        """What a broker has instead of plain text. Brokers and controllers are `admin`."""
        files = self._certificates()
        login = f'required username="admin" password="{self.password("kafka", "admin")}"'
        known = f'user_admin="{self.password("kafka", "admin")}"'
        module = "org.apache.kafka.common.security"
        scram = "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config"
        plain = "listener.name.controller.plain.sasl.jaas.config"
        return f"""\
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_SSL
inter.broker.listener.name=SASL_SSL
sasl.mechanism.inter.broker.protocol={MECHANISM}
sasl.mechanism.controller.protocol=PLAIN
listener.name.sasl_ssl.sasl.enabled.mechanisms={MECHANISM}
listener.name.controller.sasl.enabled.mechanisms=PLAIN
{scram}={module}.scram.ScramLoginModule {login};
{plain}={module}.plain.PlainLoginModule {login} {known};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
ssl.keystore.type=PEM
ssl.keystore.location={files.both}
ssl.truststore.type=PEM
ssl.truststore.location={files.authority}
"""

    def kafka_users(self) -> list[str]:
        """Arguments with which Kafka's data is made: its users."""
        return [
            word
            for user in ("admin", *KAFKA_ROLES)
            for word in (
                "--add-scram",
                f"{MECHANISM}=[name={user},password={self.password('kafka', user)}]",
            )
        ]


def acl_arguments() -> list[str]:
    """Of `messenger topics acls`."""
    return [
        word
        for user, roles in KAFKA_ROLES.items()
        for word in ("--user", f"{user}={','.join(roles)}")
    ]


def kafka_address(home: Home, base_port: int) -> str:
    """MESSENGER_KAFKA of an operator of a local stack."""
    servers = addresses(base_port, home.brokers(None))
    return Security(home).kafka("admin", servers) if home.secure(False) else servers


def redis_address(home: Home, base_port: int) -> str:
    """MESSENGER_REDIS of an operator of a local stack."""
    port = base_port + REDIS_PORT
    secure = home.secure(False)
    return Security(home).redis("admin", port) if secure else f"redis://127.0.0.1:{port}/0"
