import math

from quillread.evaluate.breakdown import (
    Bucket,
    Confusion,
    cer_by_confidence,
    cer_by_group,
    cer_by_length,
    confusions,
)
from quillread.evaluate.metrics import score_line
from quillread.evaluate.predictions import Prediction


def prediction(reference, text, group="", confidence=0.5):
    return Prediction("id", group, reference, text, confidence)


def scored(rows):
    return [score_line(row.reference, row.text) for row in rows]


def test_confusions_are_counted_by_kind_and_ranked():
    rows = [prediction("een", "aan"), prediction("an", "n"), prediction("o", "o,"), prediction("i", "l")]
    found = confusions(rows)
    assert found.substitutions == (Confusion("e", "a", 2), Confusion("i", "l", 1))
    assert found.deletions == (Confusion("a", "", 1),)
    assert found.insertions == (Confusion("", ",", 1),)


def test_confusions_stop_at_the_number_asked_for():
    rows = [prediction("abc", "xyz")]
    assert len(confusions(rows, top=2).substitutions) == 2


def test_length_classes_are_ordered_and_only_those_with_lines():
    rows = [prediction("a" * 101, "a" * 101), prediction("a" * 10, "a" * 9), prediction("a" * 11, "a" * 11)]
    assert cer_by_length(scored(rows)) == [
        Bucket("0–10", 1, 0.1),
        Bucket("11–20", 1, 0.0),
        Bucket("101+", 1, 0.0),
    ]


def test_confidence_bins_are_ordered_percentages():
    rows = [prediction("ab", "ab", confidence=1.0), prediction("ab", "a", confidence=0.05)]
    assert cer_by_confidence(rows, scored(rows)) == [Bucket("0–10", 1, 0.5), Bucket("90–100", 1, 0.0)]


def test_groups_come_worst_first_and_unnamed_lines_are_left_out():
    rows = [
        prediction("ab", "ab", group="good"),
        prediction("ab", "", group="bad"),
        prediction("ab", "ab", group="bad"),
        prediction("ab", ""),
    ]
    assert cer_by_group(rows, scored(rows)) == [Bucket("bad", 2, 0.5), Bucket("good", 1, 0.0)]


def test_a_group_without_reference_text_has_no_rate_and_comes_last():
    rows = [prediction("", "x", group="blank"), prediction("ab", "ab", group="good")]
    groups = cer_by_group(rows, scored(rows))
    assert [group.label for group in groups] == ["good", "blank"]
    assert math.isnan(groups[1].cer)
