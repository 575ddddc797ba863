import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from quillread.decode.hypothesis import Emission, Hypothesis, in_language, report_word, word_runs
from quillread.images.fit import CanvasConfig
from quillread.images.geometry import AffineMap
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr import engine
from quillread.recognize.trocr.engine import Part, cut_line, join_parts
from quillread.types import UInt8Image

CANVAS = CanvasConfig(64, 256)
LINE = np.full((40, 1000, 3), 255, np.uint8)


@pytest.fixture
def two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image holds two rows, one above the other."""

    def split_in_half(image: UInt8Image) -> list[tuple[UInt8Image, AffineMap]]:
        half = image.shape[0] // 2
        return [(image[:half], AffineMap.shift(0, 0)), (image[half:], AffineMap.shift(0, half))]

    monkeypatch.setattr(engine, "split_rows", split_in_half)


def reading(text: str, start: float, log_probability: float, *others: tuple[str, float]) -> Hypothesis:
    """Characters 10 pixels wide from `start`."""
    emissions = (Emission(c, 0.9, start + 10 * i, start + 10 * i + 10) for i, c in enumerate(text))
    return Hypothesis(text, tuple(emissions), log_probability, others)


def at(x: float, width: int = 500) -> Part:
    return Part(LINE[:, :width], AffineMap.shift(x, 0.0))


def test_a_line_is_one_part_unless_asked_for():
    (part,) = cut_line(LINE, GenerateConfig(), CANVAS)
    assert part.image is LINE and part.back.back(7.0, 3.0) == (7.0, 3.0)


def test_a_long_line_is_cut_until_its_parts_are_squashed_less():
    # The canvas is 4 times as wide as it is high, the line 25 times.
    found = cut_line(LINE, GenerateConfig(split_long=2.0), CANVAS)
    assert len(found) == 4
    assert all(part.image.shape[1] <= 2 * 4 * 40 for part in found)


def test_the_parts_of_a_long_line_know_where_they_were():
    found = cut_line(LINE, GenerateConfig(split_long=2.0), CANVAS)
    starts = np.cumsum([0, *(part.image.shape[1] for part in found)])[:-1]
    assert [part.back.back(0.0, 0.0)[0] for part in found] == starts.tolist()


@pytest.mark.parametrize("rows", ["ignore", "flag"])
def test_a_crop_with_two_rows_is_read_as_one_unless_it_is_to_be_split(two_rows: None, rows: Literal["ignore", "flag"]):
    assert len(cut_line(LINE, GenerateConfig(rows=rows), CANVAS)) == 1


def test_a_crop_with_two_rows_is_split(two_rows: None):
    first, second = cut_line(LINE, GenerateConfig(rows="split"), CANVAS)
    assert first.image.shape == second.image.shape == (20, 1000, 3)
    assert second.back.back(0.0, 0.0) == (0.0, 20.0)


def test_rows_that_are_long_are_cut_too(two_rows: None):
    found = cut_line(LINE, GenerateConfig(rows="split", split_long=10.0), CANVAS)
    assert [part.back.back(0.0, 0.0)[1] for part in found] == [0.0, 0.0, 20.0, 20.0]


def test_one_part_is_the_line_itself():
    one = reading(" a b ", 5.0, -1.0, ("c", -2.0))
    assert join_parts([at(0.0)], [one], 1) == one


def test_parts_are_joined_with_a_space():
    joined = join_parts([at(0.0), at(500.0)], [reading("ab ", 0.0, -1.0), reading(" cd", 0.0, -2.0)], 0)
    assert joined.text == "ab cd"
    assert "".join(e.text for e in joined.emissions) == joined.text


def test_positions_are_those_of_the_line():
    joined = join_parts([at(0.0), at(500.0)], [reading("a", 20.0, -1.0), reading("b", 30.0, -2.0)], 0)
    assert [(e.start, e.stop) for e in joined.emissions] == [(20.0, 30.0), (30.0, 530.0), (530.0, 540.0)]


def test_the_space_between_two_rows_is_at_the_end_of_the_first():
    joined = join_parts([at(0.0), at(0.0)], [reading("ab", 400.0, -1.0), reading("cd", 0.0, -2.0)], 0)
    assert (joined.emissions[2].start, joined.emissions[2].stop) == (420.0, 420.0)


def test_a_line_is_as_probable_as_its_parts_together():
    joined = join_parts([at(0.0), at(500.0)], [reading("a", 0.0, -1.0), reading("b", 0.0, -2.5)], 0)
    assert joined.log_probability == -3.5


def test_a_part_without_writing_leaves_no_space():
    empty = Hypothesis("", (), -0.5)
    joined = join_parts([at(0.0)] * 3, [empty, reading("a", 0.0, -1.0), empty], 0)
    assert (joined.text, joined.log_probability) == ("a", -2.0)


def test_alternatives_of_a_line_are_the_likeliest_of_its_parts():
    first, second = reading("a", 0.0, -1.0, ("A", -2.0), ("@", -9.0)), reading("b", 0.0, -1.0, ("B", -1.5))
    joined = join_parts([at(0.0), at(500.0)], [first, second], 3)
    assert joined.alternatives == (("a B", -2.5), ("A b", -3.0), ("A B", -3.5))


def compared(hypothesis: Hypothesis, *shares: float) -> Hypothesis:
    return replace(hypothesis, share=shares[0], alternative_shares=shares[1:])


def test_shares_of_a_line_are_those_of_its_parts_together():
    first = compared(reading("a", 0.0, -1.0, ("A", -2.0)), 0.5, 0.25)
    second = compared(reading("b", 0.0, -1.0, ("B", -1.5)), 0.25, 0.75)
    joined = join_parts([at(0.0), at(500.0)], [first, second], 3)
    assert (joined.text, joined.share) == ("a b", 0.125)
    assert joined.alternatives == (("a B", -2.5), ("A B", -3.5), ("A b", -3.0))  # the best shares first
    assert joined.alternative_shares == (0.375, 0.1875, 0.0625)


def test_a_part_that_was_not_compared_leaves_the_shares_of_the_others():
    first = compared(reading("a", 0.0, -1.0, ("A", -2.0)), 0.5, 0.25)
    joined = join_parts([at(0.0), at(500.0)], [first, reading("b", 0.0, -1.0)], 3)
    assert (joined.share, joined.alternative_shares) == (0.5, (0.25,))
    plain = join_parts([at(0.0), at(500.0)], [reading("a", 0.0, -1.0, ("A", -2.0)), reading("b", 0.0, -1.0)], 3)
    assert (plain.share, plain.alternative_shares) == (None, ())


def test_alternatives_of_a_line_differ_from_it_and_from_each_other():
    first = reading("a", 0.0, -1.0, (" a", -1.5), ("A", -2.0), ("A ", -3.0))
    joined = join_parts([at(0.0), at(500.0)], [first, reading("b", 0.0, -1.0)], 3)
    assert joined.alternatives == (("A b", -3.0),)
    assert math.isclose(joined.log_probability, -2.0)


def test_a_joined_line_is_as_unsure_as_its_parts_by_their_length():
    parts = [
        replace(reading("abc", 0.0, -1.0), share=0.5, nats=0.2),
        replace(reading("d", 0.0, -1.0), share=0.5, nats=0.6),
    ]
    assert join_parts([at(0.0), at(500.0)], parts, 0).nats == pytest.approx(0.3)
    assert join_parts([at(0.0), at(500.0)], [reading("a", 0.0, -1.0), reading("b", 0.0, -1.0)], 0).nats is None


def test_words_of_a_joined_line_are_as_sure_as_in_their_part():
    good, bad = (
        in_language(replace(reading(text, 0.0, -1.0), share=share), nats)
        for text, share, nats in (("ab", 0.95, 0.03), ("cd", 0.3, 1.5))
    )
    joined = join_parts([at(0.0)] * 3, [good, bad, reading("12", 0.0, -1.0)], 0)
    reports = [report_word(run) for run in word_runs(joined.emissions)]
    assert [(r.line, r.nats) for r in reports] == [(0.95, 0.03), (0.3, 1.5), (None, None)]
