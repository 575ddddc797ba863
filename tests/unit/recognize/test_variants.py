import numpy as np
import pytest

from quillread.recognize.ensemble import MOST_VARIANTS, Variant, variants, vary


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
