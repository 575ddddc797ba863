import json
from collections import Counter

import cv2
import numpy as np
import pytest
from fakes import line_image

from quillread.config import dump
from quillread.data.check import CtcLimits, Part, TokenLimits, check_sources, check_text
from quillread.data.source import Row, RowSource
from quillread.text.charset import Charset

LIMITS = CtcLimits(Charset("abcdefghijklmnopqrstuvwxyz "), columns=12.0)


def png(number, width=160, height=32):
    """An image that differs for each number."""
    image = np.full((height, width, 3), 255, np.uint8)
    image[: height // 2, : width // 2] = number
    return cv2.imencode(".png", image)[1].tobytes()


def part(*rows, split="train", data="csv:lines.csv"):
    return Part(data, split, RowSource(data, rows))


def check(*parts):
    return check_sources(parts, LIMITS)


def found(report):
    return [(fault.kind, fault.part, fault.row) for fault in report.faults]


def test_sound_lines_give_a_clean_report():
    report = check(part(Row("a", png(1), "some words"), Row("b", png(2), "other words")))
    assert report.is_clean


def test_counts_name_every_kind_even_without_faults():
    report = check(part(Row("a", png(1), "some words")))
    assert report.counts == dict.fromkeys(report.counts, 0) and "unreadable" in report.counts


def test_unreadable_image_is_named_with_its_id_and_does_not_stop_the_check():
    report = check(part(Row("broken", b"no image", "some words"), Row("b", png(2), "")))
    assert found(report) == [
        ("unreadable", "csv:lines.csv (train)", 0),
        ("empty_text", "csv:lines.csv (train)", 1),
    ]
    assert "broken" in report.faults[0].detail


def test_text_of_an_unreadable_line_is_checked_too():
    report = check(part(Row("broken", b"no image", "ſ")))
    assert [strange.character for strange in report.unknown_characters] == ["ſ"]


def test_white_space_is_no_text():
    assert check(part(Row("a", png(1), "  "))).counts["empty_text"] == 1


def test_image_is_found_twice_whatever_its_compression():
    image = np.full((32, 160, 3), 200, np.uint8)
    bmp, tiff = (cv2.imencode(suffix, image)[1].tobytes() for suffix in (".bmp", ".tiff"))
    report = check(part(Row("a", bmp, "some words"), Row("b", tiff, "other words")))
    assert found(report) == [("duplicate_image", "csv:lines.csv (train)", 1)]
    assert "'some words'" in report.faults[0].detail


def test_images_of_equal_bytes_but_another_shape_are_different():
    report = check(part(Row("a", png(255, 128, 32), "words"), Row("b", png(255, 64, 64), "words")))
    assert report.counts["duplicate_image"] == 0


def test_image_in_two_splits_is_found():
    report = check(part(Row("a", png(1), "words")), part(Row("b", png(1), "words"), split="validation"))
    assert found(report) == [("duplicate_image", "csv:lines.csv (validation)", 0)]


def test_image_in_two_data_sets_is_found():
    report = check(part(Row("a", png(1), "words")), part(Row("b", png(1), "words"), data="csv:more.csv"))
    assert found(report) == [("duplicate_image", "csv:more.csv (train)", 0)]


def test_id_is_found_twice_across_splits():
    report = check(part(Row("a", png(1), "words")), part(Row("a", png(2), "words"), split="validation"))
    assert found(report) == [("duplicate_id", "csv:lines.csv (validation)", 0)]


def test_equal_ids_of_different_data_sets_are_no_fault():
    report = check(part(Row("a", png(1), "words")), part(Row("a", png(2), "words"), data="csv:more.csv"))
    assert report.is_clean


def test_row_numbers_that_stand_for_ids_are_not_compared():
    report = check(part(Row("0", png(1), "words")), part(Row("0", png(2), "words"), split="validation"))
    assert report.is_clean


def test_group_in_two_splits_is_reported_once_with_its_counts():
    train = part(*(Row(f"a{i}", png(i), "words", "ann") for i in range(3)))
    validation = part(*(Row(f"b{i}", png(i + 10), "words", "ann") for i in range(2)), split="validation")
    report = check(train, validation)
    assert found(report) == [("shared_group", "csv:lines.csv (validation)", 0)]
    assert report.faults[0].detail == "group 'ann': 2 lines here, 3 in train"


def test_lines_without_a_group_share_none():
    report = check(part(Row("a", png(1), "words")), part(Row("b", png(2), "words"), split="validation"))
    assert report.counts["shared_group"] == 0


def test_characters_outside_the_charset_are_counted_with_examples():
    rows = [Row(f"a{i}", png(i), "paſſion") for i in range(5)]
    (strange,) = check(part(*rows)).unknown_characters
    assert (strange.occurrences, strange.lines, strange.examples) == (10, 5, ("paſſion",) * 3)
    assert strange.name == "U+017F LATIN SMALL LETTER LONG S"


def test_control_character_is_listed_though_it_has_no_name():
    (strange,) = check(part(Row("a", png(1), "a\x07b"))).unknown_characters
    assert strange.name == "U+0007 control character"


@pytest.mark.parametrize(("width", "faults"), [(63, 1), (64, 0)])
def test_image_is_too_narrow_below_one_column_per_character(width, faults):
    # 24 characters without equal neighbours at 12 columns per height: 2 heights of 32 pixels.
    text = "abcdefghijklmnopqrstuvwx"
    assert check(part(Row("a", png(1, width), text))).counts["too_narrow"] == faults


class TwoLetterTokens:
    """A `Speller` that knows the letters a to m, two in a token."""

    max_length = 4

    def unknown(self, text):
        return Counter(c for c in text if c > "m")

    def length(self, text):
        return len(text) // 2 + 1


def test_text_of_too_many_tokens_is_found():
    rows = part(Row("a", png(1), "abcdef"), Row("b", png(2), "abcdefgh"))
    report = check_sources([rows], TokenLimits(TwoLetterTokens()))
    assert [(fault.kind, fault.row) for fault in report.faults] == [("too_long", 1)]
    assert "5 tokens, at most 4" in report.faults[0].detail


def test_narrow_image_suits_a_model_that_writes_tokens():
    report = check_sources([part(Row("a", png(1, 34), "abc"))], TokenLimits(TwoLetterTokens()))
    assert report.is_clean


def test_characters_that_the_tokens_cannot_spell_are_listed():
    report = check_sources([part(Row("a", png(1), "mnop"))], TokenLimits(TwoLetterTokens()))
    assert [strange.character for strange in report.unknown_characters] == ["n", "o", "p"]


def test_image_of_two_lines_is_found():
    line = line_image("some words in a row", 60)
    two = cv2.imencode(".png", np.vstack([line, line]))[1].tobytes()
    report = check(part(Row("a", two, "some words in a row")))
    assert report.counts["several_rows"] == 1
    assert "looks like 2 lines" in next(f.detail for f in report.faults if f.kind == "several_rows")


@pytest.mark.parametrize(
    ("width", "text"),
    [(31, "four"), (70, "abcdefghijklmnopqrstuvwx"), (640, "abcd")],
    ids=["higher than wide", "cramped", "sparse"],
)
def test_shape_that_does_not_suit_the_text_is_odd(width, text):
    assert found(check(part(Row("a", png(1, width), text)))) == [("odd_aspect", "csv:lines.csv (train)", 0)]


def test_progress_counts_the_lines_of_all_parts():
    seen = []
    parts = [part(Row("a", png(1), "words")), part(Row("b", png(2), "words"), split="validation")]
    check_sources(parts, LIMITS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_report_is_plain_data_for_json():
    report = check(part(Row("a", png(1), ""), Row("b", png(2), "ſ")))
    document = json.loads(json.dumps(dump(report)))
    assert document["counts"]["empty_text"] == 1
    assert document["unknown_characters"][0]["character"] == "ſ"


def test_text_shows_the_first_faults_and_counts_the_others():
    report = check(part(*(Row(f"a{i}", png(i), "") for i in range(5))))
    text = check_text(report, shown=2)
    assert "lines without text: 5" in text
    assert "(a1)" in text and "(a2)" not in text
    assert "… and 3 more" in text


def test_text_shows_where_an_unknown_character_occurs():
    text = check_text(check(part(Row("a", png(1), "paſſion"))))
    assert "'ſ' U+017F LATIN SMALL LETTER LONG S (occurrences: 2, lines: 1), as in 'paſſion'" in text


def test_text_of_a_clean_report_says_so():
    assert check_text(check(part(Row("a", png(1), "words")))).endswith("no faults found\n")
