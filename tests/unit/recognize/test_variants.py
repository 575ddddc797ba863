import numpy as np
import pytest

from quillread.recognize.ensemble import MOST_VARIANTS, Variant, place_back, variants, vary
from quillread.types import Character, Polygon, Transcript, Word


def stroke() -> np.ndarray:
    """White paper with an upright black stroke in the middle."""
    image = np.full((40, 200, 3), 255, np.uint8)
    image[5:35, 98:102] = 0
    return image


def test_the_first_variant_is_the_image_itself():
    image = stroke()
    assert vary(image, variants(1)[0]) is image
    assert len(variants(MOST_VARIANTS)) == MOST_VARIANTS


@pytest.mark.parametrize("variant", variants(MOST_VARIANTS))
def test_all_ink_stays_and_the_height_too(variant: Variant):
    image = stroke()
    changed = vary(image, variant)
    assert changed.shape[0] == 40 and changed.dtype == np.uint8
    ink = (255 - changed.astype(int)).sum() / (255 - image.astype(int)).sum()
    assert ink == pytest.approx(variant.stretch, rel=0.05)


@pytest.mark.parametrize("shear", [0.15, -0.15])
def test_a_stroke_leans_as_much_as_is_said(shear: float):
    changed = vary(stroke(), Variant(shear, 1.0))
    top, bottom = (np.flatnonzero(changed[y, :, 0] < 128).mean() for y in (6, 33))
    assert top - bottom == pytest.approx(shear * 27, abs=1.0)


@pytest.mark.parametrize("variant", variants(MOST_VARIANTS))
def test_what_is_read_in_a_variant_is_placed_on_the_line_itself(variant: Variant):
    changed = vary(stroke(), variant)
    middle = float(np.flatnonzero(changed[20, :, 0] < 128).mean()) + 0.5
    top, bottom = (float(np.flatnonzero(changed[y, :, 0] < 128).mean()) + 0.5 for y in (6, 33))
    outline = Polygon(((top, 6.5), (top + 1e6, 6.5), (bottom, 33.5), (bottom - 1e6, 33.5)))
    read = Transcript("l", 0.9, (Word("l", 0.9, outline),), (Character("l", 0.9, middle - 2, middle + 2),))
    placed = place_back(read, variant, stroke().shape)
    (character,), (word,) = placed.characters, placed.words
    assert (character.x0 + character.x1) / 2 == pytest.approx(100, abs=0.6)
    xs = [x for x, _ in word.polygon.points]
    assert xs == pytest.approx([100, 200, 100, 0], abs=0.8)
    assert [y for _, y in word.polygon.points] == [6.5, 6.5, 33.5, 33.5]
