"""What a worker looks at before it starts, so that it can say in one line what is wrong."""

import re
import secrets
import socket
from pathlib import Path

from agents.settings import WorkerSettings
from connectors.environment import SettingsError


def require_folder(settings: WorkerSettings) -> None:
    """Raises SettingsError unless the state directory can be written to."""
    folder = Path(settings.state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"MESSENGER_STATE_DIR: {folder} cannot be written to: {error.strerror}"
        ) from None


def require_port(settings: WorkerSettings) -> None:
    """Raises SettingsError unless the monitor can listen on its port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.web_bind, settings.web_port))
        except OSError as error:
            raise SettingsError(
                f"MESSENGER_WEB_PORT: cannot listen on {settings.web_bind}:{settings.web_port}:"
                f" {error.strerror}"
            ) from None


def require_tokens(settings: WorkerSettings) -> None:
    """Raises SettingsError if other machines would read messages on the pages without a token."""
    if settings.local or settings.web_bind in ("127.0.0.1", "::1", "localhost"):
        return
    if not (settings.status_token and settings.messages_token):
        raise SettingsError(
            f"MESSENGER_WEB_BIND is {settings.web_bind}: set MESSENGER_STATUS_TOKEN and "
            "MESSENGER_MESSAGES_TOKEN, or others read messages on the worker's pages"
        )


def group_member(state: Path, web_port: int) -> str:
    """The name of the worker with this state directory and port in Kafka's groups, the same after
    each start. By it a group gives a worker that was killed its partitions back at once, and not
    when its old session is over (decision 39).

    It is kept in the state directory. A copy of that has another name on another machine, and
    beside the first worker, which has the port.
    """
    file = _member_file(state)
    if not file.exists():
        new = file.with_suffix(".new")
        new.write_text(secrets.token_hex(8))
        new.replace(file)
    return _member(file.read_text(), web_port)


def known_member(state: Path, web_port: int) -> str | None:
    """The same for whoever sees that the worker is dead, and tells its groups (decision 44). None
    if the worker had no name yet, or the disk that kept it is gone."""
    file = _member_file(state)
    return _member(file.read_text(), web_port) if file.exists() else None


def _member_file(state: Path) -> Path:
    return state / "member"


def _member(kept: str, web_port: int) -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100]  # what Kafka takes
    return f"{host}-{web_port}-{kept}"
