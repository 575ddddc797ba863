from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import bar_line, bar_recognizer, png

from quillread.data.source import RewrittenSource, Row, RowSource, readable
from quillread.errors import DataError
from quillread.evaluate.report import measure, run_evaluation
from quillread.reader import Reader
from quillread.types import Sample


def bar_reader() -> Reader:
    """A reader of what `bar_line` drew; it needs no line finder."""
    return Reader(lines=True, recognizer=bar_recognizer())


class Lines:
    """A source of drawn lines, each said to hold its text."""

    name = "lines"

    def __init__(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> None:
        self._texts = texts
        self._ids = ids or [str(i) for i in range(len(texts))]

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, index: int) -> str:
        return self._texts[index]

    def aspect(self, index: int) -> float:
        return 10.0

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        text = self._texts[index]
        return Sample(self._ids[index], bar_line("".join(c for c in text if c in "abcde ")), text, f"g{index}")


def test_every_line_gives_a_row_in_order():
    texts = ["a bad cab", "dead", "", "fée"]
    rows = run_evaluation(bar_reader(), Lines(texts)).rows
    assert [(r.id, r.group, r.reference, r.text) for r in rows] == [
        ("0", "g0", "a bad cab", "a bad cab"),
        ("1", "g1", "dead", "dead"),
        ("2", "g2", "", ""),
        ("3", "g3", "fée", "e"),
    ]


def test_more_lines_than_are_held_at_a_time_are_all_read():
    texts = ["dead", "bead", "cab"] * 50
    rows = run_evaluation(bar_reader(), Lines(texts)).rows
    assert [row.text for row in rows] == texts


def test_confidences_are_probabilities():
    (row,) = run_evaluation(bar_reader(), Lines(["dead"])).rows
    assert 0 < row.confidence < 1


def test_progress_ends_with_all_lines():
    seen: list[tuple[int, int]] = []
    run_evaluation(bar_reader(), Lines(["dead"] * 70), lambda done, total: seen.append((done, total)))
    assert seen == [(64, 70), (70, 70)]


def test_time_is_given_for_a_line():
    assert run_evaluation(bar_reader(), Lines(["dead"])).seconds_per_line > 0


def test_images_can_be_asked_for_by_id():
    image_of = run_evaluation(bar_reader(), Lines(["dead", "bead"])).image_of
    assert np.array_equal(image_of("1"), bar_line("bead"))
    assert image_of("none") is None


def test_two_lines_of_one_id_are_refused():
    with pytest.raises(DataError, match="lines: two lines have the id 'x'"):
        run_evaluation(bar_reader(), Lines(["dead", "bead"], ids=["x", "x"]))


@pytest.mark.parametrize("changes", [(), (("a", "b"),)])
def test_two_lines_of_one_id_are_refused_before_any_is_read(changes, monkeypatch: pytest.MonkeyPatch):
    reader = bar_reader()
    monkeypatch.setattr(Reader, "read_lines", lambda *_: pytest.fail("a line is read"))
    source = RowSource("lines", [Row(name, png(bar_line("dead")), "dead") for name in ("x", "y", "x")])
    with pytest.raises(DataError, match="lines: two lines have the id 'x'"):
        run_evaluation(reader, RewrittenSource(source, changes) if changes else source)


def test_a_source_without_lines_is_refused():
    with pytest.raises(DataError, match="lines: holds no lines"):
        run_evaluation(bar_reader(), Lines([]))


class Damaged(Lines):
    """Lines of which those whose text is in capitals have no image."""

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        if self._texts[index].isupper():
            raise DataError(f"line {index}: cannot be decoded", hint="copy it again")
        return super().sample(index, rng)


def test_lines_without_a_readable_image_are_left_out_and_told():
    run = run_evaluation(bar_reader(), Damaged(["dead", "BAD", "cab"]))
    assert [row.text for row in run.rows] == ["dead", "cab"]
    assert run.faults == ["line 1: cannot be decoded"]
    assert np.array_equal(run.image_of("2"), bar_line("cab"))


def test_if_no_image_can_be_read_the_first_fault_is_the_error():
    with pytest.raises(DataError, match="line 0: cannot be decoded") as caught:
        run_evaluation(bar_reader(), Damaged(["BAD", "DEAD"]))
    assert caught.value.hint == "copy it again"


def test_readable_lines_come_with_their_numbers(caplog: pytest.LogCaptureFixture):
    found = list(readable(Damaged(["dead", "BAD", "cab"]), range(3)))
    assert [(index, sample.text) for index, sample in found] == [(0, "dead"), (2, "cab")]
    assert caplog.messages == ["line 1: cannot be decoded; the line is skipped"]


def test_if_nothing_is_readable_the_first_fault_is_the_error():
    with pytest.raises(DataError, match="line 0: cannot be decoded"):
        list(readable(Damaged(["BAD", "DEAD"]), range(2)))


# --- quillread.measure ------------------------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let every model be a recogniser of bars; tells how each was loaded."""
    asked: list[dict[str, Any]] = []

    def load(name: str, **how: Any) -> object:
        asked.append({"name": name, **how})
        return bar_recognizer()

    monkeypatch.setattr("quillread.recognize.load.load", load)
    return asked


def test_a_model_is_measured_without_a_language_unless_one_is_asked_for(loads: list[dict[str, Any]], tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(bar_line("a bad cab")))
    (tmp_path / "a.txt").write_text("a bad cat", encoding="utf-8")
    figures = measure(str(tmp_path))
    assert (figures["lines"], figures["cer"], figures["model"]) == (1, 1 / 9, "builtin")
    measure(str(tmp_path), lm="fr")
    assert [how["language"] and how["language"].names for how in loads] == [None, ("fr",)]


def test_measuring_without_data_is_an_error(loads: list[dict[str, Any]], tmp_path: Path):
    with pytest.raises(DataError, match=r"no image has a \.txt file"):
        measure(str(tmp_path))
