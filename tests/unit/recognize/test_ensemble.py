from collections.abc import Sequence

import numpy as np
import pytest
from fakes import bar_info, line_image

from quillread.language.catalog import LanguageConfig
from quillread.recognize.ensemble import EnsembleReader, VaryingReader, variants
from quillread.recognize.load import load
from quillread.types import Character, Transcript, UInt8Image

IMAGES = [np.full((40, 100 + 10 * i, 3), 255, np.uint8) for i in range(3)]


class Says:
    """A reader that reads the same in every line."""

    def __init__(self, text: str) -> None:
        self.info = bar_info()
        self.text = text
        self.shapes: list[tuple[int, ...]] = []

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        self.shapes += [image.shape for image in images]
        characters = tuple(Character(c, 0.8, i, i + 1) for i, c in enumerate(self.text))
        return [Transcript(self.text, 0.5, (), characters) for _ in images]


def test_models_vote_line_by_line_in_order():
    reader = EnsembleReader([Says("cab"), Says("cub"), Says("cab")])
    assert [t.text for t in reader.read(IMAGES)] == ["cab"] * 3
    assert reader.read([]) == []


def test_the_first_model_decides_where_they_are_even_and_gives_its_facts():
    first, second = Says("cab"), Says("cub")
    reader = EnsembleReader([first, second])
    assert [reader.read(IMAGES[:1])[0].text for _ in range(4)] == ["cab"] * 4
    assert reader.info is first.info


def test_every_model_reads_every_line_once():
    models = [Says("cab"), Says("cub"), Says("cab")]
    EnsembleReader(models).read(IMAGES)
    assert [model.shapes for model in models] == [[image.shape for image in IMAGES]] * 3


def test_variants_of_a_line_are_read_and_the_line_itself_first():
    says = Says("cab")
    VaryingReader(says, variants(3)).read(IMAGES[:1])
    assert says.shapes == [(40, 100, 3), (40, 106, 3), (40, 106, 3)]


@pytest.mark.parametrize("language", [None, LanguageConfig(("en",))])
def test_the_built_in_model_reads_variants_and_places_what_it_reads(language):
    image = line_image("an old man in the house", 48)
    (read,) = load("builtin", threads=1, language=language, variants=3).read([image])
    assert len(read.characters) == len(read.text) > 10
    assert read.characters[0].x0 >= 0 and read.characters[-1].x1 <= image.shape[1]
