import json
from html.parser import HTMLParser

import numpy as np
import pytest

from quillread.errors import DataError, OutputError
from quillread.evaluate.compare import Comparison
from quillread.evaluate.metrics import METRICS
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report import evaluation_summary, write_report
from quillread.evaluate.report_figures import WORST_LINES
from quillread.evaluate.report_text import comparison_table, facts, summary_table

VOID = {"meta", "img", "br", "rect", "line", "circle", "polyline"}


class PageParser(HTMLParser):
    """Collects tags and the values of src and href, and checks that tags close in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def rows_of(count=40):
    rng = np.random.default_rng(5)
    return [
        Prediction(
            f"line-{i}",
            f"w{i % 7}",
            "the quick fox",
            "the quick fox"[: int(rng.integers(8, 14))],
            float(rng.random()),
        )
        for i in range(count)
    ]


def summary_of(rows):
    return evaluation_summary(
        rows,
        model="builtin",
        data="folder:letters",
        split="test",
        seconds_per_line=0.02,
        rng=np.random.default_rng(0),
        resamples=50,
    )


def page_of(tmp_path, rows, image_of=lambda id: None):
    return write_report(tmp_path, rows, summary_of(rows), image_of).read_text(encoding="utf-8")


def parsed(page):
    parser = PageParser()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_summary_has_a_rate_and_an_interval_around_it_for_every_metric():
    summary = summary_of(rows_of())
    assert all(summary["ci95"][name][0] <= summary[name] <= summary["ci95"][name][1] for name in METRICS)


def test_summary_counts_lines_and_groups_and_keeps_names():
    summary = summary_of(rows_of())
    assert [summary[key] for key in ("model", "data", "split", "lines", "groups", "seconds_per_line")] == [
        "builtin",
        "folder:letters",
        "test",
        40,
        7,
        0.02,
    ]


def test_summary_of_empty_references_is_valid_json_with_null_rates():
    summary = summary_of([Prediction("1", "", "", "x", 0.5)])
    document = json.loads(json.dumps(summary, allow_nan=False))
    assert (document["cer"], document["ci95"]["cer"]) == (None, [None, None])


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(DataError, match="no lines to evaluate in split 'test'"):
        summary_of([])


def test_summary_table_is_aligned_markdown():
    table = summary_table(
        {
            **dict.fromkeys(METRICS, 0.0843),
            "cer": None,
            "ci95": {**{metric: [0.079, 0.0895] for metric in METRICS}, "cer": [None, None]},
            "lines": 2915,
            "groups": 161,
            "exact_lines": 0.25,
            "expected_calibration_error": 0.031,
            "seconds_per_line": 0.0312,
        }
    )
    assert table.splitlines() == [
        "| metric             |   rate |  95 % interval |",
        "| :----------------- | -----: | -------------: |",
        "| CER                |      – |              – |",
        "| WER                | 8.43 % | 7.90 to 8.95 % |",
        "| CER, spacing aside | 8.43 % | 7.90 to 8.95 % |",
        "| WER, spacing aside | 8.43 % | 7.90 to 8.95 % |",
        "| CER, case aside    | 8.43 % | 7.90 to 8.95 % |",
        "",
        "2,915 lines, 161 groups, 25.0 % of lines exactly right, expected calibration error 3.1 %, 0.031 s per line.",
    ]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (0, None),
        (1, "1 group,"),
        (2, "2 groups (too few: the intervals are too narrow),"),
        (5, "5 groups (too few: the intervals are too narrow),"),
        (6, "6 groups,"),
    ],
)
def test_facts_say_when_groups_are_too_few_for_an_interval(groups: int, said: str | None):
    summary = {"lines": 9, "exact_lines": 0.5, "expected_calibration_error": 0.1, "seconds_per_line": None}
    told = facts({**summary, "groups": groups})
    assert (said in told) if said else ("group" not in told)


def test_comparison_table_signs_differences():
    row = Comparison("cer_spacing", 0.1, 0.09, -0.01, (-0.02, 0.001), 0.08, "no clear difference", 0.3, 0.2, 0.5, 8)
    cells = [cell.strip() for cell in comparison_table([row]).splitlines()[2].strip("|").split("|")]
    assert cells[3:] == [
        "-1.00 %",
        "-2.00 to +0.10 %",
        "0.080",
        "no clear difference",
        "30.0 % / 50.0 % / 20.0 %",
    ]


def test_report_writes_the_summary_as_json_and_markdown(tmp_path):
    rows = rows_of()
    write_report(tmp_path / "new", rows, summary_of(rows), {}.get)
    assert json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8")) == summary_of(rows)
    assert (tmp_path / "new" / "report.md").read_text(encoding="utf-8") == summary_table(summary_of(rows))


def test_page_is_well_formed_and_fetches_nothing(tmp_path):
    image = np.full((60, 300, 3), 200, np.uint8)
    page = parsed(page_of(tmp_path, rows_of(), lambda id: image))
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in page.links)
    assert "script" not in page.tags


def test_text_from_outside_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>&'
    rows = [Prediction(f'{evil}{i}"', evil, evil, evil[:5] + evil[7:], 0.5) for i in range(3)]
    rows.append(Prediction("other", "<b>", evil, "", 0.4))
    page = page_of(tmp_path, rows, lambda id: np.zeros((20, 40, 3), np.uint8))
    assert not {"script", "b"} & set(parsed(page).tags)


def test_pictures_are_asked_for_the_worst_lines_only(tmp_path):
    rows = [Prediction(str(i), "", "a" * 50, "a" * i, 0.5) for i in range(50)]
    asked = []
    page_of(tmp_path, rows, asked.append)
    assert asked == [str(i) for i in range(WORST_LINES)]


def test_differing_characters_are_marked_on_both_sides(tmp_path):
    page = page_of(tmp_path, [Prediction("1", "", "a cat", "acut!", 0.5)])
    assert 'a<mark class="miss">␣</mark>c<mark class="miss">a</mark>t</dd>' in page
    assert 'ac<mark class="extra">u</mark>t<mark class="extra">!</mark></dd>' in page


def test_characters_without_ink_are_shown_by_sign_or_code(tmp_path):
    page = page_of(tmp_path, [Prediction("1", "", "a b\u200b", "ab", 0.5)])
    assert '<span class="char" title="SPACE">␣</span>' in page
    assert '<span class="char" title="ZERO WIDTH SPACE">U+200B</span>' in page


@pytest.mark.parametrize(
    "rows",
    [
        [Prediction("1", "", "", "", 1.0)],
        [Prediction("1", "", "same", "same", 1.0)],
        [Prediction("1", "a", "", "x", 0.0), Prediction("2", "b", "", "", 0.0)],
        [Prediction("1", "", "e", "e\u0301\ud800", 0.5)],
    ],
    ids=["empty", "perfect", "no references", "mark and surrogate"],
)
def test_page_of_an_unusual_corpus_is_well_formed(tmp_path, rows):
    parsed(page_of(tmp_path, rows))


def test_many_groups_are_cut_to_worst_median_and_best(tmp_path):
    rows = [Prediction(str(i), f"g{i:02d}", "a" * 40, "a" * (40 - i), 0.5) for i in range(40)]
    page = page_of(tmp_path, rows)
    shown = [f"g{i:02d}" for i in range(40) if f"<td>g{i:02d}" in page]
    assert shown == ["g00", "g01", "g02", "g03", "g04", "g19", "g35", "g36", "g37", "g38", "g39"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    rows = rows_of()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "file", rows, summary_of(rows), {}.get)
