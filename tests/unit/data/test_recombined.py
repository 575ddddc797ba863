import numpy as np
import pytest

from quillread.data.recombined import LineCuts, RecombinedSource
from quillread.data.split import HeldSource
from quillread.errors import DataError
from quillread.types import Sample

HEIGHT, WIDTH = 32, 200
WORDS = ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"]
"""Word k is drawn at the grey level 10 k."""


class TwoWriters:
    """Four lines of two words each; each half of a line has a grey level of its own, on white rows."""

    name = "two writers"
    texts = ("aa bb", "cc dd", "ee ff", "gg hh")
    groups = ("one", "one", "two", "two")

    def __len__(self) -> int:
        return 4

    def text(self, index: int) -> str:
        return self.texts[index]

    def group(self, index: int) -> str:
        return self.groups[index]

    def aspect(self, index: int) -> float:
        return WIDTH / HEIGHT

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        image[12:18, :100] = 20 * index
        image[12:18, 100:] = 20 * index + 10
        return Sample(str(index), image, self.text(index), self.group(index))


CUTS = [LineCuts(i, text, ((2, 0.5),)) for i, text in enumerate(TwoWriters.texts)]


@pytest.fixture
def source() -> RecombinedSource:
    return RecombinedSource(TwoWriters(), CUTS, lines=40)


def test_a_line_has_the_words_of_one_writer(source):
    words = {"one": set(WORDS[:4]), "two": set(WORDS[4:])}
    for i in range(len(source)):
        assert set(source.text(i).split()) <= words[source.group(i)]
    assert {source.group(i) for i in range(len(source))} == {"one", "two"}


def test_words_keep_their_images(source):
    for i in range(10):
        image = source.sample(i, np.random.default_rng(i)).image
        row = image[30, :, 0]  # the middle, at twice the height
        runs = [int(value) for value, before in zip(row, [-1, *row], strict=False) if value != before and value < 200]
        assert runs == [10 * WORDS.index(word) for word in source.text(i).split()]


def test_texts_are_always_the_same(source):
    again = RecombinedSource(TwoWriters(), CUTS, lines=40)
    assert [again.text(i) for i in range(40)] == [source.text(i) for i in range(40)]


def test_gaps_differ_from_look_to_look(source):
    widths = {source.sample(0, np.random.default_rng(seed)).image.shape[1] for seed in range(5)}
    assert len(widths) > 1


def test_held_lines_look_the_same(source):
    before = source.sample(3, np.random.default_rng(1)).image
    source.lines_of = HeldSource(source.lines_of, source.needed)
    assert np.array_equal(source.sample(3, np.random.default_rng(1)).image, before)


def test_pieces_get_the_paper_of_the_first():
    class Darker(TwoWriters):
        def sample(self, index: int, rng: np.random.Generator) -> Sample:
            image = super().sample(index, rng).image
            return Sample(str(index), image - (image // 255) * np.uint8(40 * (index % 2)), self.text(index))

    source = RecombinedSource(Darker(), CUTS, lines=20)
    for i in range(20):
        top = source.sample(i, np.random.default_rng(i)).image[2]
        assert len(np.unique(top)) == 1


def test_cuts_of_other_lines_are_refused():
    with pytest.raises(DataError, match="row 1 belong to another line"):
        RecombinedSource(TwoWriters(), [LineCuts(1, "aa bb", ((2, 0.5),))], lines=3)


def test_too_few_words_are_refused():
    with pytest.raises(DataError, match="no writer has enough words"):
        RecombinedSource(TwoWriters(), CUTS[:1], lines=3)
