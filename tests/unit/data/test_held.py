import numpy as np
import pytest
from fakes import png

from quillread.data.source import Row, RowSource
from quillread.data.split import HeldSource
from quillread.errors import DataError

GREY = np.repeat(np.arange(60, dtype=np.uint8).reshape(6, 10, 1), 3, axis=2)
RED = np.zeros((6, 10, 3), np.uint8) + np.array([200, 10, 10], np.uint8)
RNG = np.random.default_rng(0)


@pytest.fixture
def rows() -> RowSource:
    return RowSource("rows", [Row("grey", png(GREY), "a", "x"), Row("red", png(RED), "b"), Row("bad", b"", "c")])


def test_held_lines_are_those_of_the_source(rows):
    held = HeldSource(rows, [0, 1])
    for i in range(2):
        assert np.array_equal(held.sample(i, RNG).image, rows.sample(i, RNG).image)
        assert (held.text(i), held.group(i), held.aspect(i)) == (rows.text(i), rows.group(i), rows.aspect(i))
    assert (len(held), held.name) == (3, "rows")


def test_a_held_image_cannot_be_spoiled(rows):
    held = HeldSource(rows, [0, 1])
    for i in range(2):
        held.sample(i, RNG).image[:] = 0
        assert held.sample(i, RNG).image.any()


def test_images_are_decoded_once(rows, monkeypatch):
    held = HeldSource(rows, [0])
    monkeypatch.setattr(rows, "sample", None)
    assert held.sample(0, RNG).text == "a"


def test_other_lines_are_decoded_when_asked_for(rows):
    assert np.array_equal(HeldSource(rows, [0]).sample(1, RNG).image, RED)


def test_an_image_that_cannot_be_read_is_named(rows):
    with pytest.raises(DataError, match="row 2"):
        HeldSource(rows, [0, 2])
