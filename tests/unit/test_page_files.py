"""The service worker changes with the page's files."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from gateway.edge import page_files


def test_the_service_worker_names_every_file_that_the_page_loads_with_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "web"
    shutil.copytree(page_files.FOLDER, folder)
    monkeypatch.setattr(page_files, "FOLDER", folder)
    script = page_files.service_worker()
    files = json.loads(script.split(";\n", 1)[0].removeprefix("const FILES = "))
    for name in ("index.html", "style.css", "app.js", "worker.js", "icon.svg"):
        digest = hashlib.sha256((folder / name).read_bytes()).digest()
        assert files[name] == "sha256-" + base64.b64encode(digest).decode()
    assert "sw.js" not in files
    for path in folder.glob("*.js"):
        imported = re.findall(r'(?:from|import\() ?"\./([\w.-]+)"', path.read_text())
        assert set(imported) <= files.keys()
    (folder / "format.js").write_text("// another version")
    assert page_files.service_worker() != script
