"""Each example of the SDK says how it is used."""

import runpy
import sys
from pathlib import Path

import pytest

_EXAMPLES = Path(__file__).resolve().parents[2] / "clients" / "python" / "examples"


@pytest.mark.parametrize("example", sorted(_EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_help(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [example.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(example), run_name="__main__")
    assert ended.value.code == 0
    assert "--token" in capsys.readouterr().out
