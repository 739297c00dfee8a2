"""Each command in the documents is one that exists, and a test runs it, or a list says why not."""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from ops.cli import COMMANDS, main
from ops.local.home import Home
from ops.local.parts import Kind, Layout
from tests.harness.command_line import parse
from tests.harness.documents import ROOT, in_blocks, in_sentences

PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "bench/*.md", "clients/**/*.md")
    for path in ROOT.glob(pattern)
)
"""Not the CHANGELOG and the decisions, which say what was."""
_STANDS_FOR = {"N": "24", "S": "1", "SEQ": "1", "STAGE": "sequencer", "counts": "presence"}
"""What a page writes for something of the reader's, and what the command may get in its place."""

NOT_RUN = {
    "make bench": "half an hour on an idle machine; tests/unit/test_bench.py has its parts",
    "make chaos": "runs all tests of kills: 25 minutes",
    "make clean": "deletes what git ignores",
    "make docs": "rewrites documents; unit tests compare these with the code",
    "make format": "rewrites the code",
    "make help": "prints the comments of the Makefile",
    "make lint": "all of the code; whoever lands a change runs it",
    "make run": "installs packages, then it is `messenger local up`, which each stack of a test is",
    "make site": "needs packages that tests do without; `make lint` runs it",
    "make test": "runs all tests, this one too",
    "messenger partition resume": "as `skip`, which tests/chaos/test_bad_input.py runs",
    "messenger topics acls": "as a local stack with SECURE=1 sets them (ops/local/parts.py)",
    "python -m bench": "see `make bench`",
    "python -m bench.cold_start": "kills whole stacks, for minutes",
    "python -m bench.pages": "fills ClickHouse for minutes",
    "python -m tests.browser.overview_pictures": "a stack of its own for two minutes",
    "python -m tests.browser.pictures": "draws pictures that people look at, of a new stack",
    "python -m tests.fuzz": "searches for minutes, in `make chaos`; make test plays its corpus",
    "python -m tests.golden": "writes tests/golden, which tests/unit/test_golden.py reads",
}


class Command(NamedTuple):
    """As it stands in a code block of a page, or, perhaps with less than it needs, in a
    sentence."""

    page: Path
    words: Sequence[str]
    whole: bool

    @property
    def name(self) -> str:
        """`make target`, `python -m module`, `messenger group command`."""
        program, *rest = self.words
        if program.endswith("python"):
            return f"python -m {rest[1]}"
        return " ".join([program.rpartition("/")[2], *_subcommands(main, rest)][:3])


def _subcommands(group: click.Command, words: Sequence[str]) -> Iterator[str]:
    """Of `messenger`; of `make`, the target."""
    if words and isinstance(group, click.Group):
        found = group.get_command(click.Context(group), words[0])
        yield words[0]
        if found is not None:
            yield from _subcommands(found, words[1:])


@cache
def documented() -> Sequence[Command]:
    found: list[Command] = []
    for page in PAGES:
        for whole, take in ((True, in_blocks), (False, in_sentences)):
            for words in take(page.read_text()):
                program = words[0].rpartition("/")[2]
                modules = program == "python" and words[1:2] == ["-m"]
                if words[1:2] == ["--settings"]:  # goes before the command
                    del words[1:3]
                if (modules or program in ("messenger", "make")) and words[1:]:
                    found.append(Command(page, words, whole))
    return found


def _of(program: str) -> list[Command]:
    return [one for one in documented() if one.name.startswith(f"{program} ")]


def test_there_are_commands_in_blocks_and_in_sentences() -> None:
    for program in ("messenger", "python", "make"):
        for whole in (True, False):
            assert len({one.name for one in _of(program) if one.whole is whole}) > 3, program


@pytest.mark.parametrize("one", _of("messenger"), ids=lambda one: f"{one.page.name} {one.name}")
def test_messenger_takes_the_arguments(one: Command) -> None:
    words = [_STANDS_FOR.get(word, word) for word in one.words[1:]]
    try:
        parse(main, words)
    except click.UsageError as error:
        unsaid = isinstance(error, click.exceptions.NoArgsIsHelpError) or "Missing" in str(error)
        if one.whole or not unsaid:
            raise


def test_modules_and_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for one in _of("make"):
        assert one.words[1] in targets, one
    for one in _of("python"):
        assert importlib.util.find_spec(one.words[2]), one


def test_a_test_runs_each_or_the_list_says_why_not(tmp_path: Path) -> None:
    """A test runs `messenger group command` if one file of tests has the words as arguments; the
    group may be what it imports."""
    tests = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    parts = Layout(Home(tmp_path), 8400, workers=1, gateways=1).parts()
    ours = [part.argv for part in parts if part.kind is not Kind.SERVICE]
    ours += [command for part in parts for command in (*part.before, *part.after)]
    started = [" ".join(command[3:]) for command in ours]
    quick = {one.name for one in documented() if one.page.name == "QUICKSTART.md" and one.whole}

    def run(name: str) -> bool:
        program, *words = name.split()
        if program == "make":
            return False
        if program == "python":
            module = words[1]
            used = (f"from {module} import", f"import {module}\n")
            return module == "pytest" or any(one in text for one in used for text in tests)
        if name in quick or any(line.startswith(" ".join(words)) for line in started):
            return True
        patterns = [rf'"{word}"|ops\.commands\.{word.replace("-", "_")} import' for word in words]
        return any(all(re.search(one, text) for one in patterns) for text in tests)

    names = {one.name for one in documented()}
    groups = {other.rpartition(" ")[0] for other in names}
    assert {name for name in names - groups if not run(name)} == set(NOT_RUN)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    explained = CliRunner().invoke(main, [command, "--help"])
    assert explained.exit_code == 0
    assert re.search(r"^ *Examples?:$", explained.output, re.MULTILINE), explained.output
