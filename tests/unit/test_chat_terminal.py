"""`messenger chat` when its terminal goes away."""

import os

from ops.exits import FAILED
from tests.harness.ports import free_base_port
from tests.harness.terminal import terminal


async def test_it_ends_with_its_terminal() -> None:
    """Textual read at the end of its input again and again, for 37 % of a core."""
    url = f"http://127.0.0.1:{free_base_port()}"
    with terminal(os.environ, "chat", "alice", "--url", url, "--token", "t") as tty:
        await tty.until(lambda: "Connecting" in tty.text)
        tty.vanish()
        await tty.until(lambda: tty.process.poll() is not None)
        assert tty.process.returncode == FAILED
