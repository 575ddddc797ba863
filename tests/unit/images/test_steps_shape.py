from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import line_image

from quillread.errors import ConfigError
from quillread.images.read import open_document
from quillread.images.steps_shape import UNMOVED, DeskewConfig, DeslantConfig, deskew, deslant

DATA = Path(__file__).parents[2] / "data"
PRINT = line_image("The quick brown fox jumps over the lazy dog, twice", 64)
UPRIGHT = line_image("HIT THE LITTLE BELL ILLEGIBLY", 64)


@pytest.fixture(scope="module")
def writing():
    with open_document(DATA / "line.jpg") as document:
        return document.page(0)


def tilt(image, degrees):
    """Turn a line by an angle, positive if it falls to the right, on paper that is high enough."""
    height, width = image.shape[:2]
    room = int(abs(np.tan(np.radians(degrees))) * width / 2) + 4
    image = cv2.copyMakeBorder(image, room, room, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2 + room), -degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height + 2 * room), borderValue=(255, 255, 255))


def lean(image, degrees):
    """Slant a line by an angle, positive if its tops lean to the right, on paper that is wide enough."""
    height, width = image.shape[:2]
    slope = np.tan(np.radians(degrees))
    room = int(abs(slope) * height) + 4
    matrix = np.array([[1, -slope, room + slope * height / 2], [0, 1, 0]])
    return cv2.warpAffine(image, matrix, (width + 2 * room, height), borderValue=(255, 255, 255))


def angle_of(to_source, x, y):
    """Degrees by which what lies along (x, y) in the result fell to the right in its source."""
    (x0, y0), (x1, y1) = to_source.back_points([(0, 0), (x, y)])
    return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


def mark(image, x, y):
    """Put a red dot on a line."""
    marked = image.copy()
    cv2.circle(marked, (x, y), 3, (255, 0, 0), -1)
    return marked


def find_mark(image):
    """Find the middle of the red dot."""
    rows, columns = np.nonzero(image[..., 0].astype(int) - image[..., 1] > 128)
    return columns.mean() + 0.5, rows.mean() + 0.5


@pytest.mark.parametrize("degrees", [-6.0, -2.5, -1.0, 1.0, 3.0, 5.0])
def test_deskew_finds_the_angle_of_print(degrees):
    _, to_source = deskew(tilt(PRINT, degrees), DeskewConfig())
    assert angle_of(to_source, 1, 0) == pytest.approx(degrees, abs=0.3)


@pytest.mark.parametrize("degrees", [-4.0, -1.5, 2.0, 4.0])
def test_deskew_finds_the_angle_of_handwriting(writing, degrees):
    _, to_source = deskew(tilt(writing, degrees), DeskewConfig())
    assert angle_of(to_source, 1, 0) == pytest.approx(degrees, abs=0.4)


def test_deskew_gives_back_a_level_line(writing):
    level, _ = deskew(tilt(writing, 3.0), DeskewConfig())
    _, again = deskew(level, DeskewConfig(min_angle=0.0))
    assert angle_of(again, 1, 0) == pytest.approx(0.0, abs=0.3)


def test_deskew_takes_the_paper_away_that_a_tilted_line_needs(writing):
    tilted = tilt(writing, 3.0)
    level, _ = deskew(tilted, DeskewConfig())
    assert level.shape[0] < tilted.shape[0] - 20
    assert abs(level.shape[1] - tilted.shape[1]) <= 4


@pytest.mark.parametrize("image", ["print", "writing"])
def test_a_level_line_is_not_turned(image, writing):
    line = PRINT if image == "print" else writing
    assert deskew(line, DeskewConfig()) == (line, UNMOVED)


def test_one_word_is_not_turned():
    word = tilt(line_image("by", 64), 5.0)
    assert deskew(word, DeskewConfig()) == (word, UNMOVED)


def test_a_line_that_is_steeper_than_the_bound_is_not_turned():
    steep = tilt(PRINT, 9.0)
    assert deskew(steep, DeskewConfig(max_angle=3.0))[1] is UNMOVED


@pytest.mark.parametrize("degrees", [-25.0, 10.0, 20.0, 40.0])
def test_deslant_finds_the_slant_of_upright_print(degrees):
    _, to_source = deslant(lean(UPRIGHT, degrees), DeslantConfig())
    assert angle_of(to_source, 0, -1) + 90 == pytest.approx(degrees, abs=2.0)


@pytest.mark.parametrize("degrees", [-20.0, 15.0])
def test_deslant_of_slanted_handwriting_adds_its_own_slant(writing, degrees):
    slopes = [
        np.tan(np.radians(angle_of(deslant(image, DeslantConfig(min_angle=0))[1], 0, -1) + 90))
        for image in (writing, lean(writing, degrees))
    ]
    assert np.degrees(np.arctan(slopes[1] - slopes[0])) == pytest.approx(degrees, abs=4.0)


def test_deslant_gives_back_upright_writing(writing):
    upright, _ = deslant(lean(writing, 30.0), DeslantConfig())
    _, again = deslant(upright, DeslantConfig(min_angle=0.0))
    assert angle_of(again, 0, -1) == pytest.approx(-90.0, abs=3.0)


def test_upright_writing_is_not_sheared():
    assert deslant(UPRIGHT, DeslantConfig()) == (UPRIGHT, UNMOVED)


def test_deslant_keeps_the_height_and_about_the_width(writing):
    slanted = lean(writing, 30.0)
    upright, _ = deslant(slanted, DeslantConfig())
    assert upright.shape[0] == slanted.shape[0]
    assert abs(upright.shape[1] - slanted.shape[1]) < slanted.shape[0]


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize(
    ("step", "config", "bend"),
    [(deskew, DeskewConfig(), lambda image: tilt(image, 3)), (deslant, DeslantConfig(), lambda image: lean(image, 25))],
    ids=["deskew", "deslant"],
)
def test_the_map_leads_back_to_the_same_ink(step, config, bend, scale):
    large = cv2.resize(PRINT, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    bent = mark(bend(large), 200, large.shape[0] // 2)
    result, to_source = step(bent, config)
    assert to_source is not UNMOVED
    assert to_source.back(*find_mark(result)) == pytest.approx(find_mark(bent), abs=0.5)


@pytest.mark.parametrize(
    ("step", "config", "bend"),
    [(deskew, DeskewConfig(), lambda image: tilt(image, 4)), (deslant, DeslantConfig(), lambda image: lean(image, 30))],
    ids=["deskew", "deslant"],
)
def test_no_ink_is_cut_off_a_tight_crop(step, config, bend):
    bent = bend(PRINT)
    ink = np.argwhere(bent[..., 0] < 128)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    tight = np.ascontiguousarray(bent[top:bottom, left:right])
    result, _ = step(tight, config)
    dark = [float((255.0 - image[..., 0]).sum()) for image in (tight, result)]
    assert dark[1] == pytest.approx(dark[0], rel=0.01)


@pytest.mark.parametrize("step", [deskew, deslant])
def test_new_corners_have_the_colour_of_the_paper(step):
    config = DeskewConfig() if step is deskew else DeslantConfig()
    bent = lean(tilt(PRINT, 4), 30)
    tinted = np.where(bent > 128, np.array([230, 210, 170]), 20).astype(np.uint8)
    result, _ = step(tinted, config)
    assert result[0, 0].tolist() == result[-1, -1].tolist() == [230, 210, 170]


@pytest.mark.parametrize(
    ("config", "least", "most"),
    [(DeskewConfig, 0.4, 31.0), (DeskewConfig, 5.0, 5.0), (DeslantConfig, -1.0, 40.0), (DeslantConfig, 3.0, 80.0)],
)
def test_angles_out_of_range_are_refused(config, least, most):
    with pytest.raises(ConfigError, match="min_angle must be below max_angle"):
        config(min_angle=least, max_angle=most)


def test_an_aspect_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"deskew\.min_aspect must be at least 1"):
        DeskewConfig(min_aspect=0.5)
