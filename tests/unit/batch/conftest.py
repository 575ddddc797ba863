import pytest
from fakes import bar_recognizer


@pytest.fixture
def bar_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model name stand for a recogniser of bars."""
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
