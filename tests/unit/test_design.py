"""The documents against the code: what they cite exists, and the way of a message is the code's."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "bench/*.md") for path in ROOT.glob(pattern)
)
MAX_STEPS = 12

_PATH = re.compile(
    r"(?<![\w./:~-])((?:[\w-]+/)+[\w.-]+\.(?:py|md|js|json|lua|sql|sh|toml|xml|yaml))"
)
_EXAMPLE = re.compile(r"NAME|\bcounts\b|test_counts_")
"""Names that stand for the reader's own, in CONTRIBUTING.md."""
_FOLDER = re.compile(r"`([a-z]\w*(?:/[\w-]+)*)/?`")
_SYMBOL = re.compile(r"`([\w/.-]+\.py):(\w+(?:\.\w+)*)`")
_TEST = re.compile(r"\b(test_\w+)\b(?!\.py|/)")
_NAME = re.compile(r"`([A-Z][A-Za-z]*[a-z]\w*(?:\.\w+)*)`")
_LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
_STEP = re.compile(r"^\| (\d+) \| `([\w/.-]+\.py):([\w.]+)` \|", re.MULTILINE)


class Function(NamedTuple):
    """A function of a module, `name` with its class."""

    path: str
    name: str


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


@cache
def definitions(path: str) -> dict[str, ast.AST]:
    """Dotted name → node of everything that a module defines: functions, classes, constants."""
    found: dict[str, ast.AST] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[prefix + node.name] = node
                walk(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            found[prefix + name.id] = node

    walk(_tree(path).body, "")
    return found


@cache
def known_tests() -> frozenset[str]:
    """Names of all test functions and test modules."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names.add(path.stem)
        names.update(re.findall(r"def (test_\w+)", path.read_text()))
    return frozenset(names)


@cache
def source_words() -> frozenset[str]:
    """Every word of the code and of its data files."""
    words: set[str] = set()
    for folder in ("agents", "bench", "clients", "connectors", "gateway", "ops", "schemas"):
        for path in (ROOT / folder).rglob("*.*"):
            if path.suffix in {".py", ".js", ".lua", ".yaml", ".sql"}:
                words.update(re.findall(r"\w+", path.read_text()))
    for folder in ("simulation", "streams", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            words.update(re.findall(r"\w+", path.read_text()))
    return frozenset(words)


def mentions(function: Function) -> set[str]:
    """Names that a function mentions, itself or by functions of its module that it mentions."""
    defined = definitions(function.path)
    by_last: dict[str, list[str]] = {}
    for name, node in defined.items():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            by_last.setdefault(name.rpartition(".")[2], []).append(name)
    seen: set[str] = set()
    mentioned: set[str] = set()
    waiting = [function.name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(defined[name]):
            if isinstance(node, ast.Attribute | ast.Name):
                word = node.attr if isinstance(node, ast.Attribute) else node.id
                mentioned.add(word)
                waiting += by_last.get(word, [])
    return mentioned


def cited_paths(text: str) -> Iterator[str]:
    yield from (path for path in _PATH.findall(text) if not _EXAMPLE.search(path))
    for folder in _FOLDER.findall(text):
        if "/" in folder and (ROOT / folder.split("/")[0]).is_dir():
            yield folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_cites_exists(document: Path) -> None:
    text = document.read_text()
    missing = [path for path in cited_paths(text) if not (ROOT / path).exists()]
    missing += [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    missing += [
        f"{path}:{symbol}"
        for path, symbol in _SYMBOL.findall(text)
        if (ROOT / path).exists() and symbol not in definitions(path)
    ]
    missing += [
        name
        for name in _TEST.findall(text)
        if name not in known_tests() and not _EXAMPLE.search(name)
    ]
    missing += [
        name for name in _NAME.findall(text) if not source_words().issuperset(name.split("."))
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_wraps_at_100(document: Path) -> None:
    """But for tables and frames, which cannot be wrapped, and what the benchmark writes."""
    if document.is_relative_to(ROOT / "bench/results"):
        return
    lines = document.read_text().splitlines()
    assert not [line for line in lines if len(line) > 100 and line.strip()[0] not in "|→←┌│└"]


class Step(NamedTuple):
    """A row of the table: the function, and the rest of the row."""

    function: Function
    rest: str


def steps() -> list[Step]:
    """The way of a message, by docs/DESIGN.md."""
    section = (ROOT / "docs/DESIGN.md").read_text().partition("## The way of a message")[2]
    found: list[Step] = []
    for line in section.partition("\n## ")[0].splitlines():
        step = _STEP.match(line)
        if step is not None:
            assert int(step[1]) == len(found) + 1
            found.append(Step(Function(step[2], step[3]), line[step.end() :]))
    return found


def test_the_way_of_a_message_has_at_most_twelve_functions_which_exist() -> None:
    way = steps()
    assert 2 <= len(way) <= MAX_STEPS
    for step in way:
        node = definitions(step.function.path).get(step.function.name)
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef), step.function


def test_each_function_on_the_way_leads_to_the_next() -> None:
    """By a call or a callback, maybe through functions that the row names. `back to step N`: that
    function goes on. `the event NAME`: both use it: one sets it, the other waits for it. `Faust
    event`: Faust calls the function that the row names. `topic`: a constant of
    schemas/topics.py."""
    way = steps()
    for step, following in pairwise(way):
        back = re.search(r"back to step (\d+)", step.rest)
        chain = [way[int(back[1]) - 1].function if back else step.function]
        if "Faust event" in step.rest:
            chain = []
        chain += [Function(path, name) for path, name in _SYMBOL.findall(step.rest)]
        topic = re.search(r"topic `([A-Z_]+)`", step.rest)
        woken = re.search(r"the event `(\w+)`", step.rest)
        for one, other in pairwise(chain):
            assert other.name.rpartition(".")[2] in mentions(one), f"{one} leads to {other}"
        last, target = chain[-1], following.function
        if topic is not None:
            assert re.search(rf"\b{topic[1]}\b", (ROOT / last.path).read_text()), step
        elif woken is not None:
            assert woken[1] in mentions(last) & mentions(target), f"{last} wakes {target}"
        else:
            assert target.name.rpartition(".")[2] in mentions(last), f"{last} leads to {target}"


def test_the_glossary_has_every_symbol_of_the_rules() -> None:
    glossary = (ROOT / "docs/GLOSSARY.md").read_text()
    assert all(f"| {symbol} |" in glossary for symbol in ("r", "t", "L", "d"))


def test_every_rule_has_its_place() -> None:
    rules = (ROOT / "docs/RULES.md").read_text()
    assert re.findall(r"^## R(\d+)", rules, re.MULTILINE) == [str(n) for n in range(1, 19)]
    for section in re.split(r"^## ", rules, flags=re.MULTILINE)[1:]:
        text = " ".join(section.split())
        for part in ("**Why.**", "**Held by**", "**Shown by**"):
            assert part in text, section.splitlines()[0]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("docs/decisions/[0-9]*.md")), ids=lambda p: p.name
)
def test_a_decision_says_what_was_chosen_and_fits_a_screen(path: Path) -> None:
    text = path.read_text()
    for part in ("**Context.**", "**Choice.**", "**Measured", "**Consequences.**"):
        assert part in text
    assert text.count("\n") <= 70
