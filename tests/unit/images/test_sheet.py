from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quillread.images.sheet import find_sheet, flatten_sheet
from quillread.types import UInt8Image

PAGE = Path(__file__).parents[2] / "data" / "page.jpg"
SIZE = (1200, 1500)
ANGLED = np.array([(300, 220), (900, 260), (1050, 1300), (150, 1250)], np.float32)
Corners = NDArray[np.float32]


def sheet() -> UInt8Image:
    """A sheet of writing with margins, 1400 wide and 1700 high."""
    paper = np.full((1700, 1400, 3), (238, 234, 224), np.uint8)
    writing = np.array(Image.open(PAGE).convert("RGB"))
    paper[150 : 150 + writing.shape[0], 110 : 110 + writing.shape[1]] = np.minimum(writing, (238, 234, 224))
    return paper


def desk(seed: int = 0) -> UInt8Image:
    """Dark wood, with its grain."""
    rng = np.random.default_rng(seed)
    grain = cv2.blur(rng.normal(0, 60, (SIZE[1], SIZE[0], 1)).astype(np.float32), (201, 3))[..., None]
    return np.clip(np.array((92, 66, 48)) + grain, 0, 255).astype(np.uint8)


def photograph(
    corners: Corners = ANGLED, paper: UInt8Image | None = None, onto: UInt8Image | None = None
) -> UInt8Image:
    """The sheet seen at an angle, lit from the left, with the noise of a camera."""
    paper = sheet() if paper is None else paper
    height, width = paper.shape[:2]
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners)
    result = (desk() if onto is None else onto).copy()
    warped = cv2.warpPerspective(paper, matrix, SIZE, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full(paper.shape[:2], 255, np.uint8), matrix, SIZE) > 127
    result[mask] = warped[mask]
    light = np.linspace(1.0, 0.7, SIZE[0])[None, :, None]
    noise = np.random.default_rng(1).normal(0, 4, result.shape)
    return np.clip(result * light + noise, 0, 255).astype(np.uint8)


VIEWS = {
    "from below": ANGLED,
    "from the left": np.array([(200, 250), (1000, 330), (1000, 1100), (200, 1280)], np.float32),
    "turned": np.array([(320, 180), (1020, 330), (930, 1340), (180, 1150)], np.float32),
}


@pytest.mark.parametrize("corners", VIEWS.values(), ids=VIEWS)
def test_the_corners_of_a_sheet_are_found(corners: Corners):
    found = find_sheet(photograph(corners))
    assert found is not None
    assert np.abs(found - corners).max() < 6  # of 1500 pixels


def test_a_sheet_is_laid_flat():
    paper = sheet()
    marks = np.array([(300, 1000), (1100, 1000), (300, 1500), (1100, 1500)])
    for x, y in marks.tolist():
        cv2.circle(paper, (x, y), 30, (200, 0, 0), -1)
    flat, _ = flatten_sheet(photograph(paper=paper))
    red = (flat[..., 0] > 100) & (flat[..., 1] < 80)
    _, _, _, centres = cv2.connectedComponentsWithStats(cv2.erode(red.astype(np.uint8), np.ones((5, 5), np.uint8)))
    found = centres[1:] / flat.shape[1::-1]
    assert found == pytest.approx(marks / (1400, 1700), abs=0.01)


def test_the_map_leads_back_to_the_photograph():
    flat, back = flatten_sheet(photograph())
    assert back is not None
    height, width = flat.shape[:2]
    corners = back.back_points([(0, 0), (width, 0), (width, height), (0, height)])
    assert np.abs(corners - ANGLED).max() < 6
    middle = cv2.perspectiveTransform(
        np.array([[(700.0, 850.0)]]),
        cv2.getPerspectiveTransform(np.array([(0, 0), (1400, 0), (1400, 1700), (0, 1700)], np.float32), ANGLED),
    )
    assert np.abs(back.back_points([(width / 2, height / 2)]) - middle).max() < 6


def test_pixels_come_from_where_the_map_says():
    photo = photograph()
    cv2.circle(photo, (600, 700), 8, (255, 0, 0), -1)
    flat, back = flatten_sheet(photo)
    assert back is not None
    ys, xs = np.nonzero((flat[..., 0] > 200) & (flat[..., 1] < 60))
    assert np.abs(back.back_points([(xs.mean() + 0.5, ys.mean() + 0.5)]) - (600.5, 700.5)).max() < 0.6


def is_left_alone(image: UInt8Image) -> bool:
    flat, back = flatten_sheet(image)
    assert (back is None) == (flat is image)
    return back is None


def test_a_flat_scan_is_left_alone():
    assert is_left_alone(sheet())
    assert is_left_alone(np.array(Image.open(PAGE).convert("RGB")))


def test_a_sheet_seen_from_right_above_is_left_alone():
    square = np.array([(200, 200), (1000, 205), (1002, 1302), (198, 1300)], np.float32)
    photo = photograph(square)
    assert find_sheet(photo) is not None
    assert is_left_alone(photo)


def test_a_sheet_that_the_picture_cuts_off_is_left_alone():
    assert is_left_alone(photograph(np.array([(300, -80), (900, -40), (1050, 1300), (150, 1250)], np.float32)))


def test_a_sheet_with_another_beside_it_is_left_alone():
    left = np.array([(60, 220), (560, 250), (540, 1300), (40, 1250)], np.float32)
    both = photograph(left, onto=photograph(np.array([(640, 230), (1140, 260), (1180, 1300), (640, 1250)], np.float32)))
    assert is_left_alone(both)


def test_a_sheet_on_a_bright_table_is_left_alone():
    assert is_left_alone(photograph(onto=np.full((SIZE[1], SIZE[0], 3), 215, np.uint8)))


def test_a_sheet_with_bent_edges_is_left_alone():
    photo = photograph(VIEWS["from the left"])
    rows, columns = np.indices(photo.shape[:2]).astype(np.float32)
    bent = cv2.remap(photo, columns, rows + 70 * np.sin(columns / 250, dtype=np.float32), cv2.INTER_LINEAR)
    assert is_left_alone(np.asarray(bent, np.uint8))


def test_a_torn_corner_is_left_alone():
    photo = photograph()
    cv2.fillConvexPoly(photo, np.array([(880, 240), (930, 560), (640, 200)], np.int32), (60, 45, 32))
    assert is_left_alone(photo)


@pytest.mark.parametrize("kind", ["desk", "blank", "black", "noise", "tiny"])
def test_a_picture_without_a_sheet_is_left_alone(kind: str):
    images = {
        "desk": desk(),
        "blank": np.full((900, 700, 3), 255, np.uint8),
        "black": np.zeros((900, 700, 3), np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (900, 700, 3), np.uint8),
        "tiny": np.zeros((3, 3, 3), np.uint8),
    }
    assert is_left_alone(images[kind])
