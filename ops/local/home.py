"""The folder of one local stack: its data, logs, secret, and who runs it."""

import json
import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from connectors.environment import SettingsError

DEFAULT_HOME = ".local/stack"
DEFAULT_BASE_PORT = 8400
DEFAULT_PARTITIONS = 1
"""On one machine each partition more splits the same messages into more and smaller batches."""
SHARED_PARTITIONS = 4
"""For several workers. So many had every stack that was begun when there was no choice."""
DEFAULT_BROKERS = 1


class Home:
    """Everything below one folder; several stacks run side by side in several homes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self._state = self.folder / "stack.json"

    def create(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)

    def once(self, name: str, make: Any) -> str:
        """A text made once and kept, readable by its owner only."""
        file = self.folder / name
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as handle:
                handle.write(make())
        return file.read_text()

    def token_secret(self) -> str:
        return self.once("token-secret", lambda: secrets.token_hex(32))

    def operator_secret(self) -> str:
        return self.once("operator-secret", lambda: secrets.token_hex(32))

    def clickhouse_password(self, user: str) -> str:
        return self.once(f"clickhouse-{user}", lambda: secrets.token_hex(16))

    def cluster_id(self) -> str:
        # begins with a letter: one with '-' would be taken for an option by Kafka's own tools
        return self.once(
            "cluster-id",
            lambda: urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("="),
        )

    def partitions(self, wanted: int | None, usual: int = DEFAULT_PARTITIONS) -> int:
        """How many partitions its topics have: as many as when it was begun, else `wanted`, else
        `usual`.

        Raises SettingsError if `wanted` is another number than it was begun with.
        """
        kept = self._begun_with("partitions", SHARED_PARTITIONS)
        if wanted is not None and kept not in (None, wanted):
            raise SettingsError(
                f"the stack in {self.folder} has {kept} partitions for ever, not {wanted}; another "
                "number needs another MESSENGER_HOME"
            )
        return kept or wanted or usual

    def brokers(self, wanted: int | None) -> int:
        """How many brokers its Kafka has: as many as when it was begun, else `wanted`, else one.

        Raises SettingsError if `wanted` is another number than it was begun with.
        """
        kept = self._begun_with("brokers", DEFAULT_BROKERS)
        if wanted is not None and kept not in (None, wanted):
            raise SettingsError(
                f"the stack in {self.folder} was begun with BROKERS={kept} and keeps that number, "
                f"not {wanted}; another number needs another MESSENGER_HOME"
            )
        return kept or wanted or DEFAULT_BROKERS

    def begin_with(
        self, partitions: int | None, brokers: int | None, usual: int = DEFAULT_PARTITIONS
    ) -> tuple[int, int]:
        """Both, and keep them from now on."""
        counts = self.partitions(partitions, usual), self.brokers(brokers)
        self.once("partitions", lambda: str(counts[0]))
        self.once("brokers", lambda: str(counts[1]))
        return counts

    def secure(self, wanted: bool) -> bool:
        """Whether it was begun with SECURE=1, which holds for ever. Raises SettingsError if it was
        begun without, and is `wanted`."""
        tls = self.folder / "tls"
        if wanted and not tls.exists():
            if (self.folder / "partitions").exists():
                raise SettingsError(
                    f"the stack in {self.folder} was begun without SECURE=1; begin another in"
                    " another MESSENGER_HOME"
                )
            tls.mkdir(mode=0o700)
        return tls.exists()

    def _begun_with(self, name: str, before: int) -> int | None:
        """A number that it was begun with; `before` there was a choice; None if it is new."""
        if (self.folder / name).exists():
            return int((self.folder / name).read_text())
        return before if (self.folder / "kafka" / "data").exists() else None

    def read_state(self) -> dict[str, Any]:
        """What the last supervisor wrote; empty if there was none."""
        try:
            state: dict[str, Any] = json.loads(self._state.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def base_port(self, wanted: int | None) -> int:
        """Where the stack of this home listens: where it was started, else `wanted`, which is
        MESSENGER_BASE_PORT if that is set.

        Raises SettingsError if the two differ, or if neither is known: the caller would ask another
        stack.
        """
        started: int | None = self.read_state().get("base_port")
        if started is not None and wanted not in (None, started):
            raise SettingsError(
                f"MESSENGER_BASE_PORT is {wanted}, but the stack in {self.folder} listens from "
                f"{started} on"
            )
        port = started or wanted
        if port is None:
            raise SettingsError(f"no local stack runs in {self.folder}; MESSENGER_HOME names it")
        return port

    def write_state(self, state: dict[str, Any]) -> None:
        temporary = self._state.with_suffix(".tmp")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(self._state)

    def log_of(self, part: str) -> Path:
        return self.logs / f"{part}.log"
