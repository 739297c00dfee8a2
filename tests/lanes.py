"""Runs the layers of the tests, three at a time, and prints what a layer says when it has ended.

    python -m tests.lanes test     # what `make test` runs
    python -m tests.lanes chaos    # what `make chaos` runs

Each lane takes the next layer that nobody has begun. Most tests on real services wait for
something: two lanes kept 2 cores busy for a third of their time. What a layer says is kept in
.local/tests, too. Exit code 0 if all pass, 1 if a layer fails, 130 after Ctrl-C or SIGTERM, which
end all lanes with everything that they have started.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ops.local.process import die_with_parent

LANES = 3
"""Two left 2 cores idle for most of the time; the tests bear a busy machine."""
FAILED, INTERRUPTED = 1, 130
_ROOT = Path(__file__).parents[1]
_END_SECONDS = 60.0
"""How long a layer may take to end its services after Ctrl-C."""
_CACHED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Else some hundred processes would compile all our modules each, 0.3 CPU-seconds a worker."""


class Layer(NamedTuple):
    """`arguments` of pytest; `environment` is added to this process's."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = MappingProxyType({})


def _folders(*names: str) -> list[str]:
    return [f"tests/{name}" for name in names]


def _asked(name: str, default: str) -> dict[str, str]:
    """A variable of the environment, or its default."""
    return {name: os.environ.get(name, default)}


TEST = [
    Layer("without services", _folders("unit", "property", "simulation", "sdk", "stages", "fuzz")),
    Layer("integration", [*_folders("integration"), "-m", "not stack and not spare"]),
    Layer("chaos", [*_folders("chaos"), "-m", "not soak"]),
    Layer("browser", _folders("browser")),
    Layer("integration, first shared stack", [*_folders("integration"), "-m", "stack"]),
    Layer("contract", _folders("contract")),
    Layer("integration, second shared stack", [*_folders("integration"), "-m", "spare"]),
]
"""The long ones first, so that the lanes end together."""
_KILLS = sorted(str(path.relative_to(_ROOT)) for path in _ROOT.glob("tests/chaos/test_*.py"))
_HALF = len(_KILLS) // 2
_ROUNDS = _asked("MESSENGER_CHAOS_ROUNDS", "1")
CHAOS = [
    Layer("chaos, first half", _KILLS[:_HALF], _ROUNDS),
    Layer(
        "property",
        [*_folders("property"), "--timeout=1800"],
        _asked("MESSENGER_HYPOTHESIS", "thorough"),
    ),
    Layer("simulation", _folders("simulation"), _asked("MESSENGER_SIMULATION_HOURS", "10")),
    Layer("fuzz", _folders("fuzz"), _asked("MESSENGER_FUZZ_SECONDS", "60")),
    Layer("chaos, second half", _KILLS[_HALF:], _ROUNDS),
]
PLANS = {"test": TEST, "chaos": CHAOS}


class Lanes:
    """`outputs` is the folder that keeps what the layers say; so many `lanes` run."""

    def __init__(self, layers: Sequence[Layer], outputs: Path, lanes: int) -> None:
        self._lanes = lanes
        self._waiting = list(layers)
        self._outputs = outputs
        self._running: set[asyncio.subprocess.Process] = set()
        self._interrupted = False
        self._failed: list[str] = []

    async def run(self) -> int:
        """The exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupt)
        self._outputs.mkdir(parents=True, exist_ok=True)
        await asyncio.gather(*(self._lane() for _ in range(self._lanes)))
        if self._interrupted:
            return INTERRUPTED
        if self._failed:
            _say(f"failed: {', '.join(self._failed)}")
        return FAILED if self._failed else 0

    async def _lane(self) -> None:
        while self._waiting and not self._interrupted:
            await self._play(self._waiting.pop(0))

    async def _play(self, layer: Layer) -> None:
        began = time.monotonic()
        _say(f"{layer.name} begins")
        output = self._outputs / f"{layer.name.replace(', ', '-').replace(' ', '-')}.log"
        with output.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                "--durations=10",
                *layer.arguments,
                cwd=_ROOT,
                env={**os.environ, **_CACHED, **layer.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process only, which passes it on
                preexec_fn=die_with_parent,
            )
        self._running.add(process)
        if self._interrupted:
            process.send_signal(signal.SIGINT)
        code = await process.wait()
        self._running.discard(process)
        if code:
            self._failed.append(layer.name)
        sys.stdout.write(output.read_text(errors="replace"))
        _say(f"{layer.name} {'fails' if code else 'passes'} after {time.monotonic() - began:.0f} s")

    def _interrupt(self) -> None:
        """Layers end as after Ctrl-C; those that do not, by force; at once when asked again."""
        loop = asyncio.get_running_loop()
        delay = 0.0 if self._interrupted else _END_SECONDS
        self._interrupted = True
        for process in self._running:
            if delay:
                process.send_signal(signal.SIGINT)
            loop.call_later(delay, _kill, process)


def _kill(process: asyncio.subprocess.Process) -> None:
    """With whatever it has started in its session; services end with the process that they are
    of."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _say(text: str) -> None:
    print(f"=== {time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(Lanes(PLANS[sys.argv[1]], _ROOT / ".local" / "tests", LANES).run()))
