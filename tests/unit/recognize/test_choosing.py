from collections.abc import Sequence

import numpy as np
import pytest
from fakes import bar_info

from quillread.models.catalog import CANDIDATES, describe
from quillread.recognize.choosing import FIRST_LINES, ChoosingReader
from quillread.types import ErrorCurve, Transcript, UInt8Image

IMAGES = [np.full((10, 10 + i, 3), 255, np.uint8) for i in range(FIRST_LINES + 4)]


class Known:
    """Reads every line as the same, and counts the images it is given."""

    def __init__(self, text: str, expected_error: float | None, confidence: float = 0.5) -> None:
        self.info = bar_info(name=text)
        self._read = Transcript(text, confidence, expected_error=expected_error)
        self.seen: list[UInt8Image] = []

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        self.seen += images
        return [self._read] * len(images)


def test_the_model_that_expects_fewer_errors_reads_the_page():
    first, second = Known("first", 0.3, confidence=0.9), Known("other", 0.1, confidence=0.1)
    chosen = ChoosingReader({"one": first, "two": second}).choose(IMAGES)
    assert chosen.name == "two"
    assert [read.text for read in chosen.transcripts] == ["other"] * len(IMAGES)


def test_only_the_first_lines_are_read_twice():
    first, second = Known("first", 0.1), Known("other", 0.2)
    ChoosingReader({"one": first, "two": second}).choose(IMAGES)
    assert list(map(id, second.seen)) == list(map(id, IMAGES[:FIRST_LINES]))
    # The last of them is read once more, before those that follow it.
    assert list(map(id, first.seen)) == list(map(id, [*IMAGES[:FIRST_LINES], *IMAGES[FIRST_LINES - 1 :]]))


@pytest.mark.parametrize("count", [FIRST_LINES - 1, FIRST_LINES, FIRST_LINES + 1, FIRST_LINES + 4])
def test_a_page_is_read_as_by_the_chosen_model_alone(count: int):
    class AfterAnother(Known):
        """Reads how many lines stand before a line in one go, but for the first, that is to say whether any does."""

        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            return [Transcript("first" if i == 0 else "later", 0.5, expected_error=0.1) for i in range(len(images))]

    readers = {"one": AfterAnother("", None), "two": Known("other", 0.9)}
    alone = readers["one"].read(IMAGES[:count])
    assert ChoosingReader(readers).choose(IMAGES[:count]).transcripts == alone


def test_of_even_models_the_first_reads():
    readers = {"one": Known("first", 0.2), "two": Known("other", 0.2)}
    assert ChoosingReader(readers).choose(IMAGES[:1]).name == "one"


def test_long_lines_weigh_more_than_short_ones():
    class ByWidth(Known):
        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            return [self._read if len(i[0]) > 11 else Transcript("a", 0.5, expected_error=0.9) for i in images]

    readers = {"steady": ByWidth("a" * 40, 0.2), "sure of the long": ByWidth("a" * 40, 0.1)}
    assert ChoosingReader(readers).choose(IMAGES[:3]).name == "sure of the long"


def test_a_model_that_reads_less_has_no_advantage_of_it():
    readers = {"all": Known("a" * 40, 0.1), "little": Known("a" * 5, 0.2)}
    assert ChoosingReader(readers).choose(IMAGES).name == "all"


def test_a_model_that_reads_nothing_is_not_taken_for_sure():
    nothing = Known("", 0.009, confidence=0.06)  # as the built-in model reads blank paper
    assert ChoosingReader({"nothing": nothing, "all": Known("a" * 40, 0.1)}).choose(IMAGES[:1]).name == "all"


def test_rates_and_confidences_are_never_added_up():
    class Unfitted(Known):
        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            return [Transcript("a" * 40, 0.9, expected_error=None if i else 0.5) for i in range(len(images))]

    readers = {"fitted": Known("a" * 40, 0.3, confidence=0.5), "in part": Unfitted("", None)}
    assert ChoosingReader(readers).choose(IMAGES[:3]).name == "in part"


def test_without_expected_errors_confidence_decides():
    readers = {"one": Known("first", None, confidence=0.2), "two": Known("other", None, confidence=0.7)}
    assert ChoosingReader(readers).choose(IMAGES[:2]).name == "two"


@pytest.mark.parametrize("count", [0, 1, len(IMAGES)])
def test_every_line_has_a_transcript(count: int):
    reader = ChoosingReader({"one": Known("first", 0.2), "two": Known("other", 0.1)})
    assert len(reader.read(IMAGES[:count])) == count


def test_models_to_choose_among_have_curves_of_their_own():
    infos = [describe(name).info for name in CANDIDATES]
    for curves in ([info.error_curve for info in infos], [info.language.error_curve for info in infos]):
        assert ErrorCurve() not in curves
        assert len(set(curves)) == len(curves)
