import numpy as np
from unit.train.finder.made_pages import BarSource

from quillread.train.finder.page_looks import PageDataConfig, PageDataset, warp
from quillread.train.finder.page_samples import PageSample, TargetLine
from quillread.train.finder.page_synthesis import make_page

CONFIG = PageDataConfig(side=128, real=0.5)


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
