"""A ClickHouse server out of `chdb-core`: the engine of clickhouse-local, told to listen. Only the
local stack uses it.

    python -m ops.local.clickhouse_server FOLDER

`_chdb.query` is private to chdb-core; its version is pinned and
tests/contract/test_clickhouse_server.py is its smoke test. It has no call that serves: the query
reads a pipe that nobody writes to until SIGTERM or SIGINT. Exit code 0 after those, else 1.
"""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

_CONFIG = Path(__file__).resolve().parents[1] / "clickhouse"
_STOPS = {signal.SIGTERM, signal.SIGINT}


def serve(folder: Path) -> int:
    """Serve ops/clickhouse/*.xml with its data in `folder`, until told to stop. The exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in _CONFIG.glob("*.xml"):
        shutil.copy(file, folder)
    pipe = folder / "until-told-to-stop"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    os.nice(
        5
    )  # on one machine with all the rest: who reads history does not make others wait for their messages
    # before the import: the engine's threads start with it, and a signal that reaches one of them
    # kills
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    from chdb import _chdb

    query: Any = vars(_chdb)["query"]
    os.chdir(folder)  # the engine reads ./config.xml; so would the import, which has no password
    stopping = threading.Event()

    def wait_for_signal() -> None:
        signal.sigwait(_STOPS)
        stopping.set()
        with pipe.open("w") as end:
            end.write("\n")

    listen = "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP"
    threading.Thread(target=wait_for_signal, daemon=True).start()
    try:
        result = query(
            f"{listen}; SELECT * FROM file('{pipe}', LineAsString)",
            "TabSeparated",
            path=str(folder / "data"),
        )
        error = result.error_message() if result.has_error() else ""
    except Exception as failure:
        error = str(failure)
    if not stopping.is_set():
        print(f"clickhouse: {error[:1000] or 'the engine ended by itself'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]).resolve()))
