"""The files of the chat page, and its service worker, which keeps one version of them whole."""

import base64
import hashlib
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "web"
_KEPT = (".css", ".html", ".js", ".svg", ".webmanifest")
_WORKER = "sw.js"


def service_worker() -> str:
    """The script of the service worker. It begins with the digest of each file, so that it changes
    when one of them does, and takes no file of another version."""
    kept = sorted(path for path in FOLDER.iterdir() if path.suffix in _KEPT)
    files = {path.name: _integrity(path.read_bytes()) for path in kept if path.name != _WORKER}
    return f"const FILES = {json.dumps(files)};\n{(FOLDER / _WORKER).read_text()}"


def _integrity(content: bytes) -> str:
    """As browsers compare it (Subresource Integrity)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()
