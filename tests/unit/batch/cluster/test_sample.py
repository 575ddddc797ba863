"""Samples of lines: each is as likely as others of its stratum, and the estimate of the whole is right on average."""

import random
from dataclasses import replace
from typing import Any

import pytest

from quillread.batch.cluster.sample import (
    EMPTY,
    SampledLine,
    allocate,
    check_count,
    draw,
    estimate,
    from_csv,
    stratum_of,
    to_csv,
)
from quillread.errors import DataError, UsageError


def page(number: int, lines: list[tuple[str, float | None]]) -> dict[str, Any]:
    return {
        "id": f"id{number}",
        "source": f"{number}.png",
        "page": 1,
        "lines": [{"text": text, "expected_cer": expected} for text, expected in lines],
    }


def collection(rng: random.Random, count: int) -> tuple[list[dict[str, Any]], dict[tuple[str, int], str], float]:
    """Pages of lines, what is written there, and the error rate of all; expectations are off, as they may be."""
    pages, truths, edits, length = [], {}, 0, 0
    for number in range(count):
        lines: list[tuple[str, float | None]] = []
        for line in range(1, 11):
            rate = rng.choice((0.0, 0.02, 0.3))
            text = "".join(rng.choice("abcd") for _ in range(rng.randrange(5, 40)))
            wrong = sum(rng.random() < rate for _ in text)
            # Letters that occur nowhere else: as many edits as letters were changed.
            truths[f"id{number}", line] = "Z" * wrong + text[wrong:]
            edits, length = edits + wrong, length + len(text)
            lines.append((text, rate * rng.uniform(0.5, 1.5)))
        pages.append(page(number, lines))
    return pages, truths, edits / length


def proofread(lines: list[SampledLine], truths: dict[tuple[str, int], str]) -> list[SampledLine]:
    return [replace(line, truth=truths[line.page, line.line]) for line in lines]


def test_the_estimate_is_right_on_average_and_its_interval_holds_the_rate_as_often_as_it_says():
    pages, truths, rate = collection(random.Random(1), 100)
    found = [estimate(proofread(draw(pages, 100, random.Random(seed)), truths)) for seed in range(200)]
    mean = sum(one.cer for one in found) / len(found)
    assert mean == pytest.approx(rate, rel=0.03)
    held = sum(one.low <= rate <= one.high for one in found)
    assert 178 <= held <= 200


def test_strata_make_the_interval_narrower_than_lines_drawn_from_all():
    pages, truths, _ = collection(random.Random(2), 100)
    drawn = [proofread(draw(pages, 100, random.Random(seed)), truths) for seed in range(20)]
    strata = sum(one.high - one.low for one in map(estimate, drawn))
    plain_pages = [page(n, [(line["text"], None) for line in p["lines"]]) for n, p in enumerate(pages)]
    drawn = [proofread(draw(plain_pages, 100, random.Random(seed)), truths) for seed in range(20)]
    assert strata < 0.95 * sum(one.high - one.low for one in map(estimate, drawn))


def test_a_sample_of_all_lines_has_no_interval():
    pages, truths, rate = collection(random.Random(3), 5)
    found = estimate(proofread(draw(pages, 1000, random.Random(0)), truths))
    assert (found.low, found.high, found.lines, found.lines_of_all) == (found.cer, found.cer, 50, 50)
    assert found.cer == pytest.approx(rate)


def test_a_sample_without_errors_does_not_say_that_there_are_none():
    lines = [SampledLine(f"{i}", 1, "a.png", 1, "x", 3000, "abcdefghij", "abcdefghij") for i in range(30)]
    found = estimate(lines)
    # 3 of 30 lines may have one edit, of those that were not drawn.
    assert (found.cer, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx((2970 * 0.1) / 30_000)


def test_an_interval_from_two_lines_is_as_wide_as_their_one_degree_of_freedom_says():
    lines = [SampledLine(f"{i}", 1, "a.png", 1, "x", 10**6, "abcd", truth) for i, truth in enumerate(("abcd", "zbcd"))]
    found = estimate(lines)
    assert found.high - found.cer == pytest.approx(12.706 * 0.125, rel=1e-3)


@pytest.mark.parametrize("kept", [slice(0, 99), slice(1, None)])
def test_a_sample_that_lacks_lines_is_refused(kept: slice):
    pages, truths, _ = collection(random.Random(5), 100)
    lines = from_csv(to_csv(proofread(draw(pages, 100, random.Random(0)), truths)), "sample.csv")
    with pytest.raises(DataError, match="the sample has 99 lines, and 100 were drawn"):
        estimate(lines[kept])


def test_each_line_of_a_stratum_is_as_likely():
    pages = [page(number, [("abc", 0.1)]) for number in range(20)]
    counts = dict.fromkeys((f"id{number}" for number in range(20)), 0)
    for seed in range(400):
        for line in draw(pages, 5, random.Random(seed)):
            counts[line.page] += 1
    assert all(70 <= count <= 130 for count in counts.values())


def test_as_many_lines_are_drawn_as_were_asked_for():
    pages, _, _ = collection(random.Random(4), 100)
    assert len(draw(pages, 100, random.Random(0))) == 100


def test_small_strata_are_drawn_from_too():
    shares = allocate({"small": 3, "large": 10_000}, {"small": 1.0, "large": 9_000.0}, 50)
    assert shares == {"small": 2, "large": 48}


@pytest.mark.parametrize(
    ("expected", "stratum"), [(0.0, "from 00.0 %"), (0.005, "from 00.5 %"), (0.5, "from 32.0 %"), (None, "unknown")]
)
def test_lines_of_a_like_expected_rate_are_in_one_stratum(expected: float | None, stratum: str):
    assert stratum_of(expected) == stratum


def test_a_line_without_writing_that_was_read_as_some_counts_as_inserted():
    lines = [
        SampledLine("a", 1, "a.png", 1, "x", 2, "ab", EMPTY),
        SampledLine("b", 1, "b.png", 1, "x", 2, "abcd", "abcd"),
    ]
    assert estimate(lines).cer == pytest.approx(0.5)


def test_lines_that_nobody_has_looked_at_are_told():
    lines = [SampledLine("a", 3, "a.png", 1, "x", 2, "ab", ""), SampledLine("b", 1, "b.png", 1, "x", 2, "ab", "ab")]
    with pytest.raises(DataError, match=r"1 of 2 lines are not proofread, the first is line 3 of a\.png"):
        estimate(lines)


def test_a_sample_survives_a_spreadsheet():
    lines = [
        SampledLine("a", 1, "a.png", 1, "x", 2, '=SUM("a", 1)', "-1"),
        SampledLine("b", 2, "b,c", 1, "x", 2, "é\n", "é"),
    ]
    assert from_csv("\ufeff" + to_csv(lines), "sample.csv") == lines
    assert '"\t=SUM' in to_csv(lines)


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "page,line,source,number,stratum,lines_of_stratum,text,truth\na,x,b,1,c,2,d,e\n"]
)
def test_another_file_is_refused(text: str):
    with pytest.raises(DataError, match=r"sample\.csv"):
        from_csv(text, "sample.csv")


def test_a_data_set_without_lines_and_a_sample_too_small_are_refused():
    with pytest.raises(DataError, match="no lines"):
        draw([page(1, [])], 20, random.Random(0))
    with pytest.raises(UsageError, match="at least 18 lines"):
        check_count(10)
