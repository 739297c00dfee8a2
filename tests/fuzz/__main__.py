"""Coverage-guided fuzzing with Atheris (libFuzzer).

    python -m tests.fuzz TARGET SECONDS

It begins with tests/fuzz/corpus/TARGET, keeps what it finds in .local/fuzz/TARGET, and ends with 1
and the input that breaks a promise in .local/fuzz. Put such an input into the corpus with its mend:
tests/fuzz/test_corpus.py plays the corpus in `make test`.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway", "schemas", "wsproto"]):
    from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
KEPT = Path(__file__).parents[2] / ".local" / "fuzz"
_MAX_BYTES = 4096
"""Of an input; longer ones find little more, and slowly."""


def main(target: str, seconds: str) -> None:
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={_MAX_BYTES}",
        f"-dict={CORPUS / 'words.dict'}",
        f"-artifact_prefix={KEPT}/{target}-",
        "-verbosity=0",
        "-print_final_stats=1",
        "-timeout=5",
    ]
    atheris.Setup(
        [sys.argv[0], *arguments, str(kept), str(CORPUS / target)],
        TARGETS[target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:3])
