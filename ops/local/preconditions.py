"""What must hold before a local stack starts: nobody runs it, nothing is left of an earlier run,
and its ports are free."""

import socket

from ops.local.home import Home
from ops.local.parts import Part
from ops.local.process import end, is_running


class CannotStart(Exception):
    """The stack does not come up; the text names the part, the reason and its log."""


class PortTaken(CannotStart):
    """Another process listens where a part should."""


def refuse_if_running(home: Home) -> None:
    """Raises CannotStart if a supervisor runs this home."""
    state = home.read_state()
    if is_running(state.get("pid"), state.get("started")):
        raise CannotStart(
            f"a stack is already running in {home.folder} (pid {state['pid']}); `messenger local "
            "down` ends it"
        )


def end_leftovers(home: Home) -> None:
    """End parts that outlived a killed supervisor."""
    for part in reversed(home.read_state().get("parts", {}).values()):
        if part["pid"] is not None and part["started"] is not None:
            end(part["pid"], part["started"], grace=4.0)


def check_port(part: Part) -> None:
    """Raises PortTaken if another process listens where the part should."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", part.port))
        except OSError:
            raise PortTaken(
                f"port {part.port} for {part.name} is in use; choose another with --base-port or "
                "MESSENGER_BASE_PORT"
            ) from None
