import numpy as np
import pytest
from unit.pages.page_maps import line, maps_of

from quillread.pages.marks import drop_cut, drop_print, find_marks, join_marks


def test_each_line_gives_a_mark_where_it_stands():
    marks = find_marks(maps_of([line(60, 500, 100), line(60, 400, 180)]))
    assert [float(np.median(mark.ys)) for mark in marks] == pytest.approx([50, 90], abs=1)
    assert [float(mark.xs[0]) for mark in marks] == pytest.approx([30, 30], abs=3)
    assert [float(mark.xs[-1]) for mark in marks] == pytest.approx([250, 200], abs=3)


def test_the_height_of_small_letters_is_measured():
    (mark,) = find_marks(maps_of([line(60, 500, 100, body=20)]))
    assert mark.body == pytest.approx(10, abs=1.5)


def test_lines_that_follow_one_another_are_kept_apart_by_the_bars_at_their_ends():
    maps = maps_of([line(20, 280, 100), line(320, 580, 100)])
    assert len(join_marks(find_marks(maps), maps[2], reach=4)) == 2


def test_a_gap_without_a_bar_is_bridged():
    maps = maps_of([line(60, 500, 100)])
    maps[:, :, 120:128] = 0
    assert len(find_marks(maps)) == 2
    (mark,) = join_marks(find_marks(maps), maps[2], reach=4)
    assert mark.xs[0] < 35 and mark.xs[-1] > 245


def test_a_wide_gap_is_not_bridged():
    maps = maps_of([line(60, 500, 100)])
    maps[:, :, 100:180] = 0
    assert len(join_marks(find_marks(maps), maps[2], reach=4)) == 2


def test_a_baseline_without_letters_above_is_no_line():
    maps = maps_of([line(60, 500, 100)])
    maps[1] = 0
    assert find_marks(maps) == []


def test_empty_maps_hold_no_marks():
    assert find_marks(np.zeros((4, 100, 100), np.float32)) == []


def test_print_beside_writing_is_left_out():
    marks = find_marks(maps_of([line(60, 500, 60, 10, printed=True), line(60, 500, 150), line(60, 500, 250)]))
    assert [mark.printed for mark in marks] == [True, False, False]
    assert [mark.printed for mark in drop_print(marks)] == [False, False]


def test_print_as_high_as_the_writing_is_kept():
    marks = find_marks(maps_of([line(60, 500, 60, 16, printed=True), line(60, 500, 150), line(60, 500, 250)]))
    assert len(drop_print(marks)) == 3


def test_print_alone_is_kept():
    marks = find_marks(maps_of([line(60, 500, y, 10, printed=True) for y in (60, 100, 140)]))
    assert len(drop_print(marks)) == 3


PAGE = [line(180, 560, y) for y in range(60, 400, 40)]


def test_the_cut_lines_of_a_facing_page_are_left_out():
    facing = [line(0, 120, y) for y in range(60, 400, 40)]
    marks = find_marks(maps_of(PAGE + facing))
    assert len(drop_cut(marks, width=304)) == len(PAGE)


def test_a_column_that_keeps_off_the_edge_is_kept():
    note = [line(30, 140, y) for y in range(60, 200, 40)]
    marks = find_marks(maps_of(PAGE + note))
    assert len(drop_cut(marks, width=304)) == len(PAGE + note)


def test_a_page_whose_own_lines_reach_the_edge_is_kept():
    wide = [line(0, 600, y) for y in range(60, 400, 40)]
    assert len(drop_cut(find_marks(maps_of(wide)), width=304)) == len(wide)


def test_two_lines_at_the_edge_may_be_a_note_that_begins_there():
    note = [line(0, 120, y) for y in (60, 100)]
    assert len(drop_cut(find_marks(maps_of(PAGE + note)), width=304)) == len(PAGE) + 2
