"""ejabberd, a messenger that many use: Debian's package, run for one benchmark in a temporary
folder, beside no service of the system.

Its configuration is the cheapest that does what Messenger does. It has no limits and no TLS, and
its caches have room for all. Users log in with a JWT (HS256), as ours do. Of its modules only those
run that keep what a user missed (mod_offline), archive each message for both users (mod_mam in
Mnesia), acknowledge (mod_stream_mgmt), and show a user's messages on the user's other devices
(mod_carboncopy). The log has warnings only. The Erlang VM waits in the kernel (`+sbwt none`): by
default its idle threads spin, which takes the cores from the generator and from the VM itself. The
VM listens for its tools without epmd (ejabberd's ERL_DIST_PORT), so that it is the only process
that counts.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jwt

from bench.processes import cpu_seconds
from bench.threads import Threads
from ops.local.process import die_with_parent

DOMAIN = "localhost"
_INSTALL = "apt-get install --no-install-recommends ejabberd (or ops/setup.sh bench)"
_STARTS_SECONDS = 60.0
_TOKEN_SECONDS = 24 * 3600
_CONFIG = """
hosts: ["{domain}"]
loglevel: warning
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    backlog: 1024
    max_stanza_size: infinity
    shaper: none
    access: all
auth_method: [jwt]
jwt_key: "{key}"
acme: {{auto: false}}
max_fsm_queue: 1000000
cache_size: 1000000
modules:
  mod_carboncopy: {{}}
  mod_offline: {{access_max_user_messages: all}}
  mod_stream_mgmt: {{max_ack_queue: infinity}}
"""
_ARCHIVE = "  mod_mam: {db_type: mnesia, default: always, assume_mam_usage: true}\n"


class NotInstalled(Exception):
    """ejabberd is not on this machine; the text says how to install it."""


class Ejabberd(NamedTuple):
    """A running ejabberd."""

    version: str
    address: tuple[str, int]
    secret: str
    pid: int

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_seconds(self.pid)

    def threads(self) -> Threads:
        return Threads({"ejabberd": self.pid}, {})

    def requests(self) -> Counter[str]:
        """None: it has no Kafka."""
        return Counter()

    def token(self, user: str) -> str:
        """What `user` logs in with."""
        claims = {"jid": f"{user}@{DOMAIN}", "exp": int(time.time()) + _TOKEN_SECONDS}
        return jwt.encode(claims, self.secret, algorithm="HS256")


def configuration(port: int, folder: Path, secret: str, archive: bool) -> dict[str, str]:
    """The files in `folder` that it needs: name → text."""
    key = urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    return {
        "ejabberd.yml": _CONFIG.format(domain=DOMAIN, port=port, key=folder / "key.jwk")
        + (_ARCHIVE if archive else ""),
        "key.jwk": json.dumps({"kty": "oct", "k": key}),
    }


@contextmanager
def ejabberd(archive: bool = True) -> Iterator[Ejabberd]:
    """A fresh one, which ends with the benchmark, also if that is killed. Raises NotInstalled."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.app"))
    if not found:
        raise NotInstalled(f"ejabberd is not installed: {_INSTALL}")
    code = found[0].parents[1]
    with tempfile.TemporaryDirectory(prefix="messenger-bench-") as name:
        folder, secret = Path(name), secrets.token_hex(32)
        port, tools = _free_ports(2)
        for file, text in configuration(port, folder, secret, archive).items():
            (folder / file).write_text(text)
        command = [
            *("erl", "-noinput", "-sname", f"bench@{DOMAIN}"),
            *("+K", "true", "+P", "250000"),
            *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
            *("-start_epmd", "false", "-erl_epmd_port", str(tools)),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *("-mnesia", "dir", f'"{folder}/mnesia"', "-s", "ejabberd"),
        ]
        environment = {
            **os.environ,
            "HOME": name,  # for the VM's cookie
            "ERL_LIBS": str(code.parent),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": f"{folder}/ejabberd.yml",
            "EJABBERD_LOG_PATH": f"{folder}/ejabberd.log",
        }
        with (folder / "console.log").open("wb") as console:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=console,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),
            )
        try:
            _wait_for(server, port, folder / "console.log")
            version = code.name.removeprefix("ejabberd-")
            yield Ejabberd(version, ("127.0.0.1", port), secret, server.pid)
        finally:
            server.kill()  # its data go, too
            server.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _wait_for(server: subprocess.Popen[bytes], port: int, console: Path) -> None:
    until = time.monotonic() + _STARTS_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if server.poll() is not None or time.monotonic() > until:
                said = console.read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"ejabberd did not start:\n{said}") from None
            time.sleep(0.1)
        else:
            return
