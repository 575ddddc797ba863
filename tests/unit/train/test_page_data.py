from pathlib import Path

import numpy as np
import pytest
from unit.train.made_pages import make_pages

from quillread.errors import DataError
from quillread.train.page_data import PageDataConfig, PageDataset, SyntheticPages, load_pages, warp
from quillread.train.page_layout import lay_out
from quillread.train.page_synthesis import make_page
from quillread.train.page_targets import PageSample, TargetLine, draw_targets
from quillread.train.print_lines import print_text
from quillread.types import Sample

CONFIG = PageDataConfig(side=128, real=0.5)


class BarSource:
    """Lines that are rows of upright bars, standing on a baseline."""

    name = "bars"

    def __len__(self) -> int:
        return 3

    def text(self, index: int) -> str:
        return "some words"

    def group(self, index: int) -> str:
        return ""

    def aspect(self, index: int) -> float:
        return 5.0

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        image = np.full((48, 240, 3), 255, np.uint8)
        image[12:36, 4:-4:8] = image[12:36, 5:-4:8] = 0
        return Sample(str(index), image, "some words")


def test_maps_show_a_line_where_it_stands():
    line = TargetLine(np.array([(20.0, 60.0), (100.0, 60.0)]), 16)
    maps, known = draw_targets(PageSample(np.zeros((128, 128), np.uint8), [line]))
    baseline, body, end, printed = maps
    assert known.all()
    assert np.flatnonzero(baseline.any(axis=1)).tolist() == [29, 30, 31]
    assert np.flatnonzero(body[:, 30]).tolist()[0] == pytest.approx(22, abs=1)
    assert set(np.flatnonzero(end.any(axis=0)).tolist()) == {9, 10, 11, 49, 50, 51}
    assert not printed.any()


def test_print_is_marked_as_such():
    line = TargetLine(np.array([(20.0, 60.0), (100.0, 60.0)]), 16, printed=True)
    maps, _ = draw_targets(PageSample(np.zeros((128, 128), np.uint8), [line]))
    assert np.array_equal(maps[3], maps[1])


def test_real_pages_are_known_around_their_lines_only(tmp_path: Path):
    page = load_pages([make_pages(tmp_path / "pages")])[0]
    assert page.known is not None
    (x, y), _ = page.lines[0].baseline
    assert page.known[int(y), int(x) + 50]
    assert not page.known[-1, -1]
    assert len(page.lines) == 6


def test_bodies_are_bounded_by_the_line_distance(tmp_path: Path):
    bodies = [line.body for line in load_pages([make_pages(tmp_path / "pages")])[0].lines]
    assert bodies == pytest.approx([22] * 6)  # 0.42 of the polygons' rise is less than 0.22 of the distance of 100


def test_a_folder_without_pages_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no PAGE or ALTO file"):
        load_pages([tmp_path])


def test_synthetic_pages_hold_ink_above_their_baselines():
    rng = np.random.default_rng(2)
    pages = [make_page([BarSource()], rng) for _ in range(6)]
    assert sum(len(page.lines) for page in pages) > 30
    for page in pages:
        for line in (line for line in page.lines if not line.printed and line.body > 6):
            (x0, y0), (x1, _) = line.baseline.astype(int)
            above = page.grey[max(0, int(y0 - line.body)) : y0, x0:x1].astype(float)
            below = page.grey[y0 + 2 : int(y0 + 0.5 * line.body) + 3, x0:x1].astype(float)
            if above.size and below.size and above.mean() >= below.mean():
                break
        else:
            return
    pytest.fail("no page has all its ink above its baselines")


def test_a_synthetic_page_is_the_same_for_the_same_number():
    first, again = (SyntheticPages([BarSource()], 5, seed=4)[3] for _ in range(2))
    assert np.array_equal(first.grey, again.grey)
    assert [line.body for line in first.lines] == [line.body for line in again.lines]


@pytest.mark.parametrize("seed", range(40))
def test_blocks_lie_on_the_page(seed: int):
    layout = lay_out(1024, 700, np.random.default_rng(seed))
    for block in layout.blocks:
        assert 0 <= block.x0 < block.x1 <= 700
        assert 0 <= block.y0 <= 1024 and 0 <= block.y1 <= 1024


def test_printed_letters_stand_on_their_baseline():
    printed = print_text("xxx", face=0)
    rows = np.flatnonzero((printed.alpha > 0.5).any(axis=1))
    assert rows[-1] + 1 == pytest.approx(printed.foot, abs=1)
    assert rows[-1] + 1 - rows[0] == pytest.approx(printed.body, abs=2)


def test_a_warped_page_keeps_its_lines_on_their_ink():
    grey = np.full((600, 600), 230, np.uint8)
    grey[290:300, 100:500] = 0
    page = PageSample(grey, [TargetLine(np.array([(100.0, 300.0), (500.0, 300.0)]), 10)])
    config = PageDataConfig(side=640, scale=(1.0, 1.0))
    for seed in range(12):
        warped = warp(page, 1.0, config, np.random.default_rng(seed))
        points = warped.lines[0].baseline
        x, y = np.mean(points, axis=0)
        on, off = warped.grey[int(y) - 5, int(x)], warped.grey[int(y) + 8, int(x)]
        assert int(on) < int(off) - 50


def test_samples_are_the_same_for_the_same_number_and_go_on_where_a_run_stopped():
    page = make_page([BarSource()], np.random.default_rng(0))
    data = PageDataset([], [page], CONFIG, 10, seed=3)
    later = PageDataset([], [page], CONFIG, 10, seed=3, first=4)
    for first, second in ((data[5], data[5]), (data[5], later[1])):
        assert all(a.equal(b) for a, b in zip(first, second, strict=True))


def test_turned_samples_teach_the_turn_alone():
    page = make_page([BarSource()], np.random.default_rng(0))
    data = PageDataset([], [page], PageDataConfig(side=128, turned=1.0), 10, seed=3)
    for pixels, maps, known, turn in (data[i] for i in range(4)):
        assert pixels.shape == (1, 128, 128) and maps.shape == (4, 64, 64)
        assert turn > 0 and not known.any()
