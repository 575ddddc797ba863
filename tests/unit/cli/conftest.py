from pathlib import Path

import pytest
from fakes import bar_line, bar_recognizer, png


@pytest.fixture
def bar_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model name stand for a recogniser of bars."""
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three lines and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("one", "a bad cab"), ("two", "dead"), ("blank", "")):
        (tmp_path / f"{name}.png").write_bytes(png(bar_line(text)))
    (tmp_path / "bad.png").write_text("no image", encoding="utf-8")
    return tmp_path
