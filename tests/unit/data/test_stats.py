import json

import cv2
import numpy as np

from quillread.config import dump
from quillread.data.source import Row, RowSource
from quillread.data.stats import Spread, measure_source, stats_text


def png(width, height):
    return cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def measure(*rows):
    return measure_source(RowSource("lines", rows), "lines (train)")


def test_lines_groups_and_characters_are_counted():
    stats = measure(Row("a", png(8, 8), "abba", "ann"), Row("b", png(8, 8), "a", "ann"), Row("c", png(8, 8), "c", "bo"))
    assert (stats.lines, stats.groups, stats.characters) == (3, 2, 6)


def test_most_frequent_character_comes_first():
    stats = measure(Row("a", png(8, 8), "cabba"))
    assert list(stats.character_counts.items()) == [("a", 2), ("b", 2), ("c", 1)]


def test_images_are_measured_in_pixels():
    stats = measure(Row("a", png(40, 10), "a"), Row("b", png(20, 20), "b"))
    assert (stats.width.min, stats.width.max) == (20, 40)
    assert (stats.height.median, stats.aspect.max) == (15, 4)


def test_spread_gives_the_percentiles():
    assert Spread.of(range(101)) == Spread(0, 5, 50, 95, 100)


def test_unreadable_image_is_counted_and_its_text_measured():
    stats = measure(Row("a", b"no image", "word"), Row("b", png(8, 8), "a"))
    assert (stats.unreadable, stats.characters) == (1, 5)


def test_source_without_groups_or_images_has_no_spread_of_them():
    stats = measure(Row("a", b"no image", "word"))
    assert stats.lines_per_group is None and stats.width is None


def test_stats_are_plain_data_for_json():
    assert json.loads(json.dumps(dump(measure(Row("a", png(8, 8), "é")))))["character_counts"] == {"é": 1}


def test_text_counts_the_groups():
    text = stats_text(measure(Row("a", png(8, 8), "a", "ann"), Row("b", png(8, 8), "b", "bo")))
    assert "2 lines, 2 groups" in text


def test_text_names_the_space_and_unprintable_characters():
    text = stats_text(measure(Row("a", png(8, 8), "a b\x07")))
    assert "space" in text and "0007" in text


def test_text_leaves_out_what_was_not_measured():
    text = stats_text(measure(Row("a", b"no image", "word")))
    assert "width" not in text and "1 unreadable images" in text
