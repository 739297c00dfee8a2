"""The settings of a command, and all there are."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from msgspec import Struct

from connectors.environment import load

_Settings = TypeVar("_Settings", bound=Struct)


def settings_of(
    kind: type[_Settings], unset: Mapping[str, str] = MappingProxyType({})
) -> _Settings:
    """From MESSENGER_... and the settings file; `unset` has variables for what the environment does
    not say. Raises SettingsError."""
    said = {name: value for name, value in os.environ.items() if value}
    others = {name: value for name, value in unset.items() if f"{name}_FILE" not in said}
    return load(
        kind,
        {**others, **said},
        lambda: [name for one in kinds() for name in one.__struct_fields__],
    )


def kinds() -> dict[type[Struct], str]:
    """The settings of each process, and its command."""
    # imported here: a process needs those of others only if its settings file has their keys
    from agents.settings import WorkerSettings
    from gateway.settings import GatewaySettings
    from ops.archive.settings import ArchiveSettings
    from ops.commands.audit import AuditSettings
    from ops.commands.doctor import DoctorSettings
    from ops.commands.report import ReportSettings
    from ops.commands.snapshot import SnapshotSettings
    from ops.commands.topics import TopicsSettings
    from ops.where import OperatorSettings

    return {
        GatewaySettings: "gateway",
        WorkerSettings: "worker",
        TopicsSettings: "topics",
        ArchiveSettings: "archive",
        SnapshotSettings: "snapshot",
        OperatorSettings: "partition, status, dead-letters",
        DoctorSettings: "doctor",
        AuditSettings: "audit",
        ReportSettings: "report",
    }
