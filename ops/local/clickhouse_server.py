"""A ClickHouse server out of `chdb-core`: the engine of clickhouse-local, told to listen. Only the
local stack uses it.

    python -m ops.local.clickhouse_server FOLDER

`_chdb.query` is private to chdb-core. Its version is pinned, and
tests/contract/test_clickhouse_server.py is its smoke test. It has no call that serves: the query
waits until SIGTERM or SIGINT, when it is killed. Exit code 0 after those, else 1.

The engine runs that query as user `default`, without a password, and its function `file` reads any
file of the machine, whoever calls it. So HTTP lets nobody in who does not log in by a header, which
web pages cannot send (ops/clickhouse/config.xml), and no other port is open: the native protocol
has no such guard. With SECURE=1 there is TLS before it (ops/local/clickhouse_tls.py).
"""

import os
import shutil
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from ops.local.clickhouse_tls import put_before, word

_CONFIG = Path(__file__).resolve().parents[1] / "clickhouse"
_STOPS = {signal.SIGTERM, signal.SIGINT}
_WAIT = (
    "SELECT sleepEachRow(1) FROM system.numbers"
    " SETTINGS max_block_size = 1, interactive_delay = 60000000 FORMAT Null"
)
"""Its thread looks for the query's progress after so many microseconds; by default ten times a
second."""
_KILL_SECONDS = 2.0


def serve(folder: Path) -> int:
    """Serve ops/clickhouse/*.xml with its data in `folder`, until told to stop. The exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in _CONFIG.glob("*.xml"):
        shutil.copy(file, folder)
    # Before the import, with which the engine's threads start: a signal that reaches one kills.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        put_before(folder / "config.xml")
    except (ValueError, OSError) as failure:
        print(f"clickhouse: {failure}", file=sys.stderr)
        return 1
    os.nice(5)  # a reader of history must not make others wait for their messages
    from chdb import _chdb

    query: Any = vars(_chdb)["query"]
    os.chdir(folder)  # the engine reads ./config.xml; so would the import, which has no password
    stopping = threading.Event()

    def wait_for_signal() -> None:
        signal.sigwait(_STOPS)
        stopping.set()
        try:
            _kill_waiting_query()
        except OSError as error:  # its port is closed; what was acknowledged is on disk
            print(f"clickhouse: ending without a shutdown: {error}", file=sys.stderr)
            time.sleep(_KILL_SECONDS)
            os._exit(0)

    threading.Thread(target=wait_for_signal, daemon=True).start()
    try:
        # The format is the default of everybody's queries.
        serving = f"SYSTEM START LISTEN HTTP; {_WAIT}"
        result = query(serving, "TabSeparated", path=str(folder / "data"))
        error = result.error_message() if result.has_error() else ""
    except Exception as failure:
        error = str(failure)
    if not stopping.is_set():
        print(f"clickhouse: {error[:1000] or 'the engine ended by itself'}", file=sys.stderr)
        return 1
    return 0


def _kill_waiting_query() -> None:
    """Raises OSError."""
    query = f"KILL QUERY WHERE query LIKE '{_WAIT[:20]}%' ASYNC"
    login = {
        "X-ClickHouse-User": "admin",
        "X-ClickHouse-Key": os.environ["MESSENGER_CLICKHOUSE_ADMIN_PASSWORD"],
        **word(),
    }
    address = f"http://127.0.0.1:{os.environ['MESSENGER_CLICKHOUSE_PORT']}/"
    request = urllib.request.Request(address, query.encode(), login)
    urllib.request.urlopen(request, timeout=_KILL_SECONDS).close()


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]).resolve()))
