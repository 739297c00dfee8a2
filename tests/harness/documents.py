"""The code in the documents: what a test takes from a page, and runs on its stack."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.harness.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4,}\S.*\n(?:\n(?= {4}))*)+")
_INLINE = re.compile(r"`([^`]+)`")
_SHELL = ("", "sh", "bash", "console")
_ENDS = {"|", "||", "&", "&&", ";", ";;", "(", ")", "\n"}
_SETS = re.compile(r"\w+=")


class Block(NamedTuple):
    """`language` is that of a fenced block; an indented one has none."""

    language: str
    code: str


def blocks(text: str) -> Iterator[Block]:
    for _, language, code in _FENCED.findall(text):
        yield Block(language, code)
    for code in _INDENTED.findall(_FENCED.sub("", text)):
        yield Block("", code)


def section(page: str, title: str) -> str:
    """The part of a page below a heading."""
    return (ROOT / page).read_text().partition(f"## {title}")[2].partition("\n## ")[0]


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, also those in `$(…)`, without what sets variables."""
    script = re.sub(r"\\\n\s*", " ", script)
    script = re.sub(r'"?\$\(([^()]*)\)"?', r"( \1 ) value", script)
    for line in script.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        words.commenters = "#"
        command: list[str] = []
        for word in [*words, "\n"]:
            if word in _ENDS:
                if command:
                    yield command
                command = []
            elif command or not _SETS.match(word):
                command.append(word)


def in_blocks(text: str) -> Iterator[list[str]]:
    """The commands of a page's code blocks; blocks of other things than commands give nonsense."""
    for block in blocks(text):
        if block.language in _SHELL:
            for paragraph in block.code.split("\n\n"):
                try:
                    yield from commands(paragraph)
                except ValueError:  # a drawing, or what a program has said
                    if re.search(r"^ *(\.venv/bin/)?(messenger|python|make) ", paragraph, re.M):
                        raise


def in_sentences(text: str) -> Iterator[list[str]]:
    """What stands between backticks. `a|b` becomes two, brackets are left out."""
    for code in _INLINE.findall(_FENCED.sub("", text)):
        words = re.sub(r"[\[\]]|…", "", code).split()
        if words and words[0].rpartition("/")[2] in {"messenger", "python", "make"}:
            try:
                words = shlex.split(" ".join(words))
            except ValueError:
                continue
            several = next((word for word in words if "|" in word), "")
            for one in several.split("|"):
                yield [one if word == several else word for word in words]


def run(stack: Stack, script: str) -> str:
    """What a script of a page says on this stack, whose folder and ports replace `make run`'s."""
    script = script.replace(".local/stack", str(stack.home))
    script = re.sub(
        r"127\.0\.0\.1:84(\d\d)", lambda port: f"127.0.0.1:{stack.base_port + int(port[1])}", script
    )
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, **stack.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
