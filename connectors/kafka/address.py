"""Where Kafka is, and who we are there: MESSENGER_KAFKA as what each client wants of it."""

import ssl
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from connectors.environment import SettingsError

_SECURE = "kafkas://"
MECHANISM = "SCRAM-SHA-512"


class KafkaAddress(NamedTuple):
    """`servers` is host:port[,…]. With a user, clients log in by SCRAM over TLS; `authority` is the
    PEM file of who signed the brokers' certificates, that of the machine if empty."""

    servers: str
    user: str = ""
    password: str = ""
    authority: str = ""

    @classmethod
    def parse(cls, text: str) -> "KafkaAddress":
        """host:port[,…], or kafkas://user:password@host:port[,…][?ca=FILE]. Raises SettingsError,
        whose text has no password in it."""
        if "://" not in text:
            return cls(text)
        login, found, rest = text.removeprefix(_SECURE).rpartition("@")
        user, _, password = login.partition(":")
        servers, _, query = rest.partition("?")
        options = parse_qs(query)
        if not (text.startswith(_SECURE) and found and user and password and servers):
            raise SettingsError(
                "MESSENGER_KAFKA: neither host:9092 nor an address like "
                "kafkas://user:password@host:9093?ca=FILE"
            )
        if unknown := options.keys() - {"ca"}:
            raise SettingsError(f"MESSENGER_KAFKA: unknown: {', '.join(sorted(unknown))}")
        return cls(servers, unquote(user), unquote(password), options.get("ca", [""])[0])

    def librdkafka(self) -> dict[str, Any]:
        """How a client of confluent-kafka finds the brokers, and logs in."""
        if not self.user:
            return {"bootstrap.servers": self.servers}
        return {
            "bootstrap.servers": self.servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": self.user,
            "sasl.password": self.password,
            **({"ssl.ca.location": self.authority} if self.authority else {}),
        }

    def aiokafka(self) -> dict[str, Any]:
        """The same for a client of aiokafka."""
        if not self.user:
            return {"bootstrap_servers": self.servers}
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
            "ssl_context": ssl.create_default_context(cafile=self.authority or None),
        }
