"""A hook of MkDocs: the documents of this repository are the pages of the site."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_DOCUMENTS = ("*.md", "docs/**/*", "clients/**/*.md", "bench/**/*.md", "bench/results/*.svg")
_ITEM = re.compile(r"( *)([-*]|\d+\.)( +)(?=\S)")
_MARKDOWN_INDENT = 4


def on_config(config: MkDocsConfig) -> None:
    """The navigation names every decision, which the file need not."""
    decisions = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    names = [f"docs/decisions/{name}" for name in ("README.md", *decisions)]
    assert config.nav is not None
    config.nav[-1]["Contribute"].append({"Decisions": names})


def on_files(files: Files, config: MkDocsConfig) -> None:
    for pattern in _DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                name = str(path.relative_to(ROOT))
                files.append(File.generated(config, name, abs_src_path=str(path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """GitHub knows what belongs to an item of a list by where the item's text begins; Python's
    Markdown knows it by four blanks a level."""
    lines: list[str] = []
    begins: list[int] = []  # where the text of each open item begins
    fenced = loose = False
    for line in markdown.splitlines():
        indent = len(line) - len(line.lstrip())
        item = None if fenced else _ITEM.match(line)
        if line.strip() and not fenced:
            while begins and indent < begins[-1]:
                begins.pop()
        if item is not None and loose and lines[-1]:
            lines.append("")  # after a paragraph of its own, an item needs one
        loose = item is None and (loose or not line.strip())
        depth = len(begins)
        text = line[min(indent, begins[-1]) :] if begins else line
        lines.append(" " * _MARKDOWN_INDENT * depth + text if line.strip() else "")
        if item is not None and len(text) - len(text.lstrip()) < _MARKDOWN_INDENT:
            begins.append(item.end())
        fenced ^= line.lstrip().startswith("```")
    return "\n".join(lines)
