from pathlib import Path

import numpy as np
import pytest
from unit.train.finder.made_pages import make_pages

from quillread.errors import DataError
from quillread.train.finder.page_samples import PageSample, TargetLine, draw_targets, load_pages


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
