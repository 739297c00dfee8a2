"""ops/kubernetes: what Kubernetes' own schema takes, and what our processes take.

There is no cluster where the tests run; this is what can be known without one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import msgspec
import pytest
import yaml

from agents.settings import WorkerSettings
from agents.start_checks import require_tokens
from connectors.environment import load
from gateway.settings import GatewaySettings
from ops.archive.settings import ArchiveSettings
from ops.cli import main
from ops.commands.topics import TopicsSettings
from ops.size import Demand
from tests.harness.command_line import parse

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "ops/kubernetes/prepare", ROOT / "ops/kubernetes/run"]
SETTINGS: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
    "topics": TopicsSettings,
    "archive": ArchiveSettings,
}
_SECRET = "secret-of-32-characters-at-least"
_CONTENTS = {
    "kafka": "kafkas://user:password@kafka:9093?ca=/secrets/ca.pem",
    "redis": "rediss://user:password@redis:6379",
    "clickhouse": "https://gateway:password@clickhouse:8443",
    "clickhouse-admin": "https://admin:password@clickhouse:8443",
}
"""Of files of secrets; all others hold a secret."""


class Manifest(NamedTuple):
    file: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.content['kind']} {self.content['metadata']['name']}"

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.content["spec"]["template"]["spec"]
        return pod


def manifests() -> Iterator[Manifest]:
    for folder in FOLDERS:
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
            for content in yaml.safe_load_all((folder / name).read_text()):
                yield Manifest(folder / name, content)


ALL = list(manifests())
OURS = [one for one in ALL if "template" in one.content.get("spec", {})]
VARIABLES = next(one.content["data"] for one in ALL if one.name == "ConfigMap messenger")


def settings(one: Manifest, folder: Path) -> Any:
    """As the process gets them, with secrets in `folder`."""
    (container,) = one.pod["containers"]
    environment = dict(VARIABLES)
    for variable in container["env"]:
        value = variable.get("value", "10.0.0.7").replace("$(POD_IP)", "10.0.0.7")
        if value.startswith("/secrets/"):
            file = folder / value.removeprefix("/secrets/")
            file.write_text(_CONTENTS.get(file.name, f"{_SECRET}-{file.name}"))
            value = str(file)
        environment[variable["name"]] = value
    return load(SETTINGS[container["args"][0]], environment)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_kubernetes_takes_it(one: Manifest) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(one.content, version, strict=True)
    wrong = one.content | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_every_file_is_named() -> None:
    there = {file for folder in FOLDERS for file in folder.glob("*.yaml")}
    assert {one.file for one in ALL} == {one for one in there if one.name != "kustomization.yaml"}


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.name)
def test_our_processes_take_their_arguments_and_settings(one: Manifest, tmp_path: Path) -> None:
    (container,) = one.pod["containers"]
    parse(main, container["args"])
    kind = SETTINGS[container["args"][0]]
    told = {variable["name"].removeprefix("MESSENGER_") for variable in container["env"]}
    fields = {field.upper() for field in kind.__struct_fields__}
    assert {name.removesuffix("_FILE") for name in told - {"POD_IP"}} <= fields
    taken = settings(one, tmp_path)
    port = None
    if isinstance(taken, GatewaySettings):
        port, address = taken.http_port, taken.http_host
        assert taken.url == "http://10.0.0.7:8400"
    elif isinstance(taken, WorkerSettings):
        port, address = taken.web_port, taken.web_bind
        assert taken.web_host == "10.0.0.7"
        require_tokens(taken)
    if port is not None:
        assert address == "0.0.0.0"
        ((name, number),) = [(p["name"], p["containerPort"]) for p in container["ports"]]
        assert number == port
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == name


def test_each_setting_for_all_is_one_of_some_process() -> None:
    known = {field.upper() for kind in SETTINGS.values() for field in kind.__struct_fields__}
    assert {name.removeprefix("MESSENGER_") for name in VARIABLES} <= known


def test_a_gateway_has_the_time_that_its_drain_takes_and_a_slot_for_one_more(
    tmp_path: Path,
) -> None:
    (gateway,) = [one for one in OURS if one.name == "Deployment gateway"]
    (container,) = gateway.pod["containers"]
    taken = settings(gateway, tmp_path)
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert waits + taken.drain_seconds + 5 <= gateway.pod["terminationGracePeriodSeconds"]
    spec = gateway.content["spec"]
    assert spec["replicas"] + spec["strategy"]["rollingUpdate"]["maxSurge"] <= taken.slots


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.name)
def test_a_process_has_no_rights_that_it_does_not_need(one: Manifest) -> None:
    (container,) = one.pod["containers"]
    assert one.pod["automountServiceAccountToken"] is False
    assert one.pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    if container["args"][0] in ("gateway", "worker"):  # a core each, as full as the sizing plans
        assert container["resources"]["requests"]["cpu"] == f"{Demand(0, 0).busy * 1000:.0f}m"


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.name)
def test_labels_and_volumes_fit_together(one: Manifest) -> None:
    (container,) = one.pod["containers"]
    spec = one.content["spec"]
    labels = spec["template"]["metadata"]["labels"]
    if "selector" in spec:
        assert spec["selector"]["matchLabels"] == labels
        selected = [other for other in ALL if other.name.endswith(f" {labels['app']}")]
        kinds = {other.content["kind"] for other in selected}
        assert kinds >= {"Service", "PodDisruptionBudget", one.content["kind"]}
        for other in selected:
            if other.content["kind"] == "PodDisruptionBudget":
                assert other.content["spec"]["selector"]["matchLabels"] == labels
            elif other.content["kind"] == "Service":
                assert other.content["spec"]["selector"] == labels
                (port,) = container["ports"]
                (served,) = other.content["spec"]["ports"]
                assert served["port"] == port["containerPort"]
    volumes = {volume["name"] for volume in one.pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_operations_names_every_file_of_every_secret() -> None:
    page = (ROOT / "docs/OPERATIONS.md").read_text().partition("\n## On Kubernetes\n")[2]
    for one in OURS:
        (container,) = one.pod["containers"]
        (secret,) = [volume for volume in one.pod["volumes"] if "secret" in volume]
        row = next(
            line
            for line in page.splitlines()
            if line.strip().startswith(f"| `{secret['secret']['secretName']}` |")
        )
        for variable in container["env"]:
            file = variable.get("value", "")
            if file.startswith("/secrets/"):
                assert f"`{file.removeprefix('/secrets/')}`" in row, (one.name, file)
