import cv2
import numpy as np
import pytest

from quillread.errors import ConfigError, ImageError
from quillread.images.crop import CropConfig, crop_line
from quillread.types import Line, Polygon

PAPER = (235, 225, 200)
INK = (30, 25, 60)
PLAIN = CropConfig(margin=0)


def blank_page(height: int = 400, width: int = 700) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def noise_page() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (400, 700, 3), np.uint8)


def line_along(baseline: np.ndarray, above: float = 40, below: float = 15) -> Line:
    """A line whose polygon follows the baseline at fixed distances above and below (measured upright)."""
    top = [(x, y - above) for x, y in baseline]
    bottom = [(x, y + below) for x, y in baseline[::-1]]
    return Line(tuple(map(tuple, baseline)), Polygon((*top, *bottom)))


def straight(x0: float = 60, x1: float = 640, y0: float = 200, y1: float = 200) -> np.ndarray:
    return np.array([(x0, y0), (x1, y1)])


def wave(amplitude: float = 20) -> np.ndarray:
    x = np.linspace(60, 640, 30)
    return np.column_stack((x, 200 + amplitude * np.sin(x / 90)))


def mark(page: np.ndarray, centres: np.ndarray) -> None:
    """Draw dots whose centres of mass are `centres`."""
    for x, y in np.round((centres - 0.5) * 16).astype(int).tolist():
        cv2.circle(page, (x, y), 4 * 16, INK, -1, cv2.LINE_AA, 4)


def find_marks(image: np.ndarray) -> np.ndarray:
    darkness = 255.0 - image.mean(axis=2)
    darkness[darkness < 60] = 0
    count, labels = cv2.connectedComponents((darkness > 0).astype(np.uint8))
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    weights = [np.where(labels == i, darkness, 0) for i in range(1, count)]
    return np.array([((xs * w).sum() / w.sum(), (ys * w).sum() / w.sum()) for w in weights])


@pytest.mark.parametrize(
    "baseline",
    [straight(), straight(y0=150, y1=260), straight(y0=203, y1=180), wave(), straight(x0=640, x1=60)],
    ids=["level", "falling", "rising", "curved", "upside down"],
)
def test_marks_on_a_crop_map_back_to_the_page(baseline):
    page = blank_page()
    spots = np.column_stack((np.linspace(80, 620, 9), np.zeros(9)))
    spots[:, 1] = np.interp(spots[:, 0], *baseline[baseline[:, 0].argsort()].T) + [0, -20, 5] * 3
    mark(page, spots)
    line = line_along(baseline, above=35 if baseline[0, 0] < baseline[-1, 0] else 30, below=30)
    crop, to_page = crop_line(page, line)
    found = to_page.back_points(find_marks(crop))
    assert len(found) == 9
    distances = np.linalg.norm(found[:, None] - spots, axis=2)
    assert distances.min(axis=0).max() < 0.5
    assert distances.min(axis=1).max() < 0.5


@pytest.mark.parametrize("baseline", [straight(y0=150, y1=260), wave()], ids=["tilted", "curved"])
def test_writing_on_a_bent_baseline_becomes_level(baseline):
    page = blank_page()
    cv2.polylines(page, [baseline.round().astype(np.int32)], False, INK, 5)
    crop, _ = crop_line(page, line_along(baseline))
    ink = crop.mean(axis=2) < 130
    rows = [np.flatnonzero(column).mean() for column in ink.T if column.any()]
    assert np.ptp(rows[20:-20]) < 2.5


def test_level_line_is_a_plain_slice():
    page = noise_page()
    crop, to_page = crop_line(page, line_along(straight()), PLAIN)
    x, y = map(int, to_page.back(0, 0))
    height, width = crop.shape[:2]
    assert (width, height) == (582, 57)  # the polygon is 580 x 55, and one pixel around it is always kept
    assert np.array_equal(crop[1:-1, 1:-1], page[y + 1 : y + height - 1, x + 1 : x + width - 1])


def test_slightly_uneven_baseline_is_still_a_plain_slice():
    page = noise_page()
    baseline = np.array([(60, 200), (250, 201), (400, 199), (640, 200)])
    crop, to_page = crop_line(page, line_along(baseline))
    x, y = map(int, to_page.back(0, 0))
    assert np.array_equal(crop[10:40, 10:500], page[y + 10 : y + 40, x + 10 : x + 500])


@pytest.mark.parametrize("baseline", [straight(), wave()], ids=["level", "curved"])
def test_neighbouring_ink_outside_the_polygon_becomes_paper(baseline):
    page = blank_page()
    page[:, 300:320] = INK
    line = Line(
        tuple(map(tuple, baseline)),
        Polygon(
            (
                *((x, y - (8 if 200 < x < 420 else 40)) for x, y in baseline),
                *((x, y + 15) for x, y in baseline[::-1]),
            )
        ),
    )
    if len(baseline) == 2:
        line = Line(
            line.baseline,
            Polygon(((60, 160), (200, 160), (200, 192), (420, 192), (420, 160), (640, 160), (640, 215), (60, 215))),
        )
    crop, _ = crop_line(page, line)
    assert np.abs(crop[:18].astype(int) - PAPER).max() <= 3


def test_paper_is_matched_where_the_light_falls_off():
    page = blank_page()
    light = np.linspace(1, 0.5, 700)[None, :, None]
    page = (page * light).astype(np.uint8)
    triangles = Polygon(((60, 215), (60, 160), (200, 190), (500, 190), (640, 160), (640, 215)))
    crop, to_page = crop_line(page, Line(tuple(map(tuple, straight())), triangles), PLAIN)
    x = int(to_page.back(0, 0)[0])
    outside = crop[4, 100:480].astype(int)
    assert np.abs(outside - page[164, x + 100 : x + 480]).max() <= 12


def test_dark_paper_with_light_writing_is_filled_dark():
    page = np.full((400, 700, 3), 40, np.uint8)
    page[180:200, 100:600:8] = 240
    triangles = Polygon(((60, 215), (60, 160), (200, 190), (500, 190), (640, 160), (640, 215)))
    crop, _ = crop_line(page, Line(tuple(map(tuple, straight())), triangles))
    assert crop[4, 350].tolist() == [40, 40, 40]


def test_lone_spike_does_not_make_the_crop_tall():
    x = np.arange(60.0, 641.0, 20)
    top = [(a, 20.0 if a == 300 else 160.0) for a in x]
    line = Line(tuple(map(tuple, straight())), Polygon((*top, (640, 215), (60, 215))))
    assert crop_line(blank_page(), line)[0].shape[0] < 95


def test_a_single_ascender_is_kept():
    x = np.arange(60.0, 641.0, 10)
    top = [(a, 162.0 if 300 <= a <= 310 else 178.0) for a in x]
    line = Line(tuple(map(tuple, straight())), Polygon((*top, (640, 215), (60, 215))))
    _, to_page = crop_line(blank_page(), line)
    assert to_page.back(0, 0)[1] <= 162


def test_vertical_line_is_laid_flat():
    page = blank_page(700, 400)
    mark(page, np.array([(200.5, 100.5)]))
    line = Line(
        ((205, 640), (205, 60)),  # written upwards
        Polygon(((180, 640), (180, 60), (215, 60), (215, 640))),
    )
    crop, to_page = crop_line(page, line)
    assert crop.shape[1] > 570
    assert crop.shape[0] < 50
    assert to_page.back_points(find_marks(crop))[0] == pytest.approx((200.5, 100.5), abs=0.5)


def test_polygon_that_leaves_the_page_is_cut_at_its_border():
    line = line_along(np.array([(-50, 20), (300, 20)]))
    crop, to_page = crop_line(blank_page(), line)
    assert to_page.back(0, 0) == (0, 0)
    assert crop.shape[1] < 310


def test_page_is_left_untouched():
    page = noise_page()
    before = page.copy()
    crop, _ = crop_line(page, line_along(straight()))
    crop[:] = 0
    assert np.array_equal(page, before)


def test_line_longer_than_opencv_allows_is_cropped():
    page = np.full((90, 40_000, 3), 200, np.uint8)
    crop, _ = crop_line(page, line_along(np.array([(10, 40), (39_900, 60)]), above=20, below=10))
    assert crop.shape[1] > 39_800


@pytest.mark.parametrize(
    ("baseline", "polygon", "message"),
    [
        (((5, 5), (5, 5)), ((0, 0), (9, 0), (9, 9)), "baseline without length"),
        (((5, 5),), ((0, 0), (9, 0), (9, 9)), "baseline without length"),
        ((), ((0, 0), (9, 0), (9, 9)), "baseline without length"),
        (((5, 5), (90, 5)), ((900, 0), (990, 0), (990, 9)), "no area on the page of 700 x 400"),
        (((5, 5), (90, 5)), ((0, 0), (90, 0)), "no area on the page"),
        (((5, 5), (90, 5)), (), "no area on the page"),
        (((40, 40), (45, 40), (40, 40)), ((0, 0), (90, 0), (90, 60), (0, 60)), "turns back on itself"),
        (((0, 5), (5001, 5)), ((0, 0), (90, 0), (90, 60)), "a baseline of 5,001 pixels on a page of 700 x 400"),
        (((0, 5), (9, 5)), ((0, 0), (90, 0), (90, 60)) * 200, "an outline of"),
        (((5, 5), (float("nan"), 5)), ((0, 0), (9, 0), (9, 9)), "not numbers"),
    ],
)
def test_degenerate_line_is_refused(baseline, polygon, message):
    with pytest.raises(ImageError, match=message):
        crop_line(blank_page(), Line(baseline, Polygon(polygon)))


def test_grey_page_is_refused():
    with pytest.raises(ImageError, match=r"\(H, W, 3\)"):
        crop_line(np.zeros((400, 700), np.uint8), line_along(straight()))


@pytest.mark.parametrize("setting", ["margin", "level", "reach", "outline"])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match=f"crop.{setting}"):
        CropConfig(**{setting: -1})
