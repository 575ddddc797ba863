"""A short run of `make fuzz`; and that it finds what there is to find."""

from pathlib import Path
from typing import Any

import pytest
from fuzz import run, work
from fuzz.doors import DOORS, Door

from quillread.errors import DataError


@pytest.mark.slow
def test_damaged_files_are_read_or_refused():
    counts = run.fuzz(list(DOORS), first=0, count=10 * len(DOORS))
    assert counts.total() == 10 * len(DOORS)
    assert not counts["raised"] and not counts["lost"]
    assert counts["refused"] > len(DOORS)


@pytest.mark.parametrize(
    ("error", "what"), [(None, "read"), (DataError("empty"), "refused"), (KeyError("x"), "raised")], ids=str
)
def test_what_becomes_of_a_file_is_told(
    error: Exception | None, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def enter(path: Path) -> Any:
        if error:
            raise error

    monkeypatch.setitem(DOORS, "lexicon", Door("names.txt", lambda folder: [b"one"], enter))
    work._seeds.cache_clear()
    assert work.enter(tmp_path, work.Damaged("lexicon", 7))[0] == what
    work._seeds.cache_clear()


def test_the_same_number_gives_the_same_file(tmp_path: Path):
    first, again, other = (work.content_of(work.Damaged("csv", number), tmp_path) for number in (5, 5, 20))
    assert first == again != other
