"""docker-compose.yml and the Dockerfile say the same as the local stack: parts, commands, settings,
ports, Kafka's properties.

There is no Docker where the tests run; this is what can be known without it.
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agents.settings import WorkerSettings
from agents.start_checks import require_tokens
from connectors.environment import PREFIX, load
from gateway.settings import GatewaySettings
from ops.archive.settings import ArchiveSettings
from ops.cli import main
from ops.commands.topics import TopicsSettings
from ops.local.brokers import Broker, kafka_properties
from ops.local.home import Home
from ops.local.parts import Kind, Layout
from tests.harness.command_line import parse

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load(
    re.sub(
        r"\$\{(\w+):(?:-(.*?)|\?.*?)\}",
        lambda one: one[1] * 3 if one[2] is None else one[2],  # each a secret of its own
        (ROOT / "docker-compose.yml").read_text(),
    )
)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
    "topics": TopicsSettings,
    "archive": ArchiveSettings,
}
"""Of our commands, by their first word."""


_OF_NAMES_AND_PLACES = {
    "controller.quorum.voters",
    "listeners",
    "advertised.listeners",
    "log.dirs",
}


def _properties(broker: Broker, cluster: Sequence[Broker]) -> dict[str, str]:
    lines = kafka_properties(broker, cluster).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_there_is_a_service_for_each_part_of_the_local_stack_with_its_command_and_port(
    tmp_path: Path,
) -> None:
    for part in Layout(Home(tmp_path), 8400, workers=1, gateways=1).parts():
        service = SERVICES[part.name.removesuffix("-1")]
        if part.kind is not Kind.SERVICE:
            assert service["command"] == part.argv[3:]
        if part.name not in ("kafka", "redis"):  # those are nobody's business outside
            assert [port.split(":")[1] for port in service["ports"]] == [str(part.port)]


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_commands_and_settings_that_are_taken_and_listen_where_they_should(
    name: str,
) -> None:
    service = OURS[name]
    parse(main, service["command"])
    kind, environment = SETTINGS[service["command"][0]], service["environment"]
    assert {variable.removeprefix(PREFIX).lower() for variable in environment} <= {
        *kind.__struct_fields__,
        # every process of ours is told these
        *("redis", "slots", "partitions", "replication", "flush"),
    }
    settings = load(kind, environment)
    listens = None
    if isinstance(settings, GatewaySettings):
        listens = settings.http_host, settings.http_port
    elif isinstance(settings, WorkerSettings):
        listens = settings.web_bind, settings.web_port
        require_tokens(settings)
    if listens is not None:
        host, port = listens
        assert host == "0.0.0.0"
        assert [published.split(":")[2] for published in service["ports"]] == [str(port)]
        assert f"127.0.0.1:{port}/" in service["healthcheck"]["test"]


def test_there_is_no_secret_in_the_file_and_nobody_logs_in_by_name() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    pages = ("MESSENGER_STATUS_TOKEN", "MESSENGER_MESSAGES_TOKEN")
    for name in ("MESSENGER_TOKEN_SECRET", "MESSENGER_OPERATOR_SECRET", *pages):
        told = re.findall(rf"(?:{name}|&\w+)[: ] *(\$\{{{name}.*)", text)
        assert told
        assert all(re.fullmatch(rf"\$\{{{name}:\?.*openssl rand -hex 32\}}", one) for one in told)
    assert "MESSENGER_LOCAL" not in text
    for name, service in OURS.items():
        settings = load(SETTINGS[service["command"][0]], service["environment"])
        assert not getattr(settings, "local", False), name


def test_gateways_reach_the_workers_that_they_ask_by_their_services_names() -> None:
    asked = [name for name in OURS if OURS[name]["command"][0] == "worker" and name != "archiver"]
    assert [load(WorkerSettings, OURS[name]["environment"]).web_host for name in asked] == asked


def test_addresses_and_passwords_are_those_of_the_other_services() -> None:
    clickhouse = SERVICES["clickhouse"]["environment"]
    for service in OURS.values():
        for variable, value in service["environment"].items():
            for host in re.findall(r"(?:^|[/@])([a-z]+):\d+", value):
                assert host in SERVICES, f"{variable}={value}"
            for user, password in re.findall(r"//(\w+):([^@]+)@clickhouse", value):
                assert password == clickhouse[f"MESSENGER_CLICKHOUSE_{user.upper()}_PASSWORD"]


def test_what_is_waited_for_says_when_it_is_there_and_what_is_mounted_exists() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert (
                condition["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
            ), (name, other)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (
                (ROOT / source).is_file()
                if source.startswith(".")
                else source in COMPOSE["volumes"]
            ), volume


def test_kafka_has_the_local_stacks_properties_and_clickhouse_what_its_files_ask_for() -> None:
    broker = Broker("kafka", 1, 9092, 9093, Path("/"))
    local = _properties(broker, [broker])
    theirs = {
        key.removeprefix("KAFKA_").replace("_", ".").lower(): value
        for key, value in SERVICES["kafka"]["environment"].items()
    }
    small = {
        "num.network.threads",
        "num.io.threads",
        "background.threads",
        "group.coordinator.threads",
        "share.coordinator.threads",
        "group.coordinator.rebalance.protocols",
        "metadata.max.idle.interval.ms",
        "replica.high.watermark.checkpoint.interval.ms",
        "metric.reporters",
        "log.cleaner.dedupe.buffer.size",
        "offsets.topic.num.partitions",
    }
    assert {key: local[key] for key in local.keys() - _OF_NAMES_AND_PLACES - small} == {
        key: value
        for key, value in theirs.items()
        if key not in _OF_NAMES_AND_PLACES | {"listener.security.protocol.map"}
    }
    asked = {
        name
        for file in (ROOT / "ops/clickhouse").glob("*.xml")
        for name in re.findall(r'from_env="(\w+)"', file.read_text())
    }
    assert asked <= SERVICES["clickhouse"]["environment"].keys()


class _Loader(yaml.SafeLoader):
    """Knows Compose's `!override`: the list replaces that of the file before."""


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("!override", _sequence)


def test_the_file_with_three_brokers_says_the_same_as_a_local_stack_of_three() -> None:
    more: dict[str, Any] = yaml.load(
        (ROOT / "docker-compose.brokers.yml").read_text(), Loader=_Loader
    )
    names = ["kafka", "kafka-2", "kafka-3"]
    cluster = [Broker(name, n, 9092, 9093, Path("/")) for n, name in enumerate(names, 1)]
    alone = _properties(cluster[0], cluster[:1])
    for broker in cluster:
        service = more["services"][broker.name]
        theirs = {**SERVICES["kafka"]["environment"], **service["environment"]}
        local = _properties(broker, cluster)
        for key in (key for key in local if local[key] != alone.get(key)):
            if key not in _OF_NAMES_AND_PLACES:
                assert theirs[f"KAFKA_{key.replace('.', '_').upper()}"] == local[key], key
        assert theirs["KAFKA_NODE_ID"] == str(broker.number)
        assert f"//{broker.name}:9092" in theirs["KAFKA_ADVERTISED_LISTENERS"]
        voters = ",".join(f"{one.number}@{one.name}:9093" for one in cluster)
        assert theirs["KAFKA_CONTROLLER_QUORUM_VOTERS"] == voters
        if broker is not cluster[0]:
            assert service["extends"] == {"file": "docker-compose.yml", "service": "kafka"}
            (volume,) = service["volumes"]
            assert volume.split(":")[0] in more["volumes"]
    asking = {name for name, one in OURS.items() if one["command"][0] != "archive"}
    assert asking == more["services"].keys() - set(names)
    for name in asking:
        environment = more["services"][name]["environment"]
        assert environment["MESSENGER_KAFKA"] == ",".join(f"{name}:9092" for name in names)
        assert environment["MESSENGER_REPLICATION"] == "3"


def test_the_image_holds_every_package() -> None:
    copied = {
        line.split()[1]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
    }
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        settings["package-dir"].get(package, package).split("/")[0].split(".")[0]
        for package in settings["packages"]
    }
    assert folders <= copied


def test_services_have_no_rights_and_no_memory_that_they_do_not_need() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "clickhouse":  # its image starts as root, and gives that up
            assert service["cap_drop"] == ["ALL"], name
        if name not in ("clickhouse", "kafka"):  # their images write their settings at the start
            assert (service["read_only"], service["tmpfs"]) == (True, ["/tmp"]), name


def test_redis_asks_for_the_password_that_its_clients_have_and_a_node_says_where_it_is() -> None:
    password = SERVICES["redis"]["environment"]["REDISCLI_AUTH"]
    assert '--requirepass "$$REDISCLI_AUTH"' in SERVICES["redis"]["command"][-1]
    for name in OURS:
        assert f":{password}@redis" in OURS[name]["environment"]["MESSENGER_REDIS"], name
    (port,) = SERVICES["gateway"]["ports"]
    url = OURS["gateway"]["environment"]["MESSENGER_PUBLIC_URL"]
    assert url.endswith(f":{port.split(':')[1]}")
