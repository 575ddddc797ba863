import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from documents import box, export
from fakes import BarBackend, bar_info, bar_line, bar_recognizer, png

from quillread import reader as readers
from quillread.errors import DataError
from quillread.evaluate.page_report import PageEvaluation, evaluate_pages, pages_summary, pages_table
from quillread.pages.segment import Layout
from quillread.reader import Reader
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Line, Page, Region, Scan, Transcript, UInt8Image

SCALE = 4
PITCH, HEIGHT = 240, 48 * SCALE
TEXTS = ["a bad cab", "dead", "bead cede"]
Segment = Callable[[UInt8Image], tuple[Region, ...]]


def page_of(texts: list[str]) -> UInt8Image:
    page = np.full((PITCH * len(texts), 1000, 3), 255, np.uint8)
    for row, text in enumerate(texts):
        line = bar_line(text, SCALE)
        page[row * PITCH : row * PITCH + HEIGHT, 40 : 40 + line.shape[1]] = line
    return page


def line_at(row: int, text: str | None = None) -> Line:
    top, width = row * PITCH, bar_line(TEXTS[row % len(TEXTS)], SCALE).shape[1]
    outline = box(40, top, 40 + width, top + HEIGHT)
    read = None if text is None else Transcript(text, 1.0)
    return Line(((40, top + HEIGHT), (40 + width, top + HEIGHT)), outline, read)


def region(*lines: Line) -> Region:
    return Region(lines[0].polygon, lines)


def write_page(folder: Path, name: str, texts: list[str], truth: list[str] | None = None) -> Path:
    """Write a page that reads as `texts`, with a PAGE file that says `truth`."""
    image = folder / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    pixels = page_of(texts)
    image.write_bytes(png(pixels))
    lines = [line_at(row, text) for row, text in enumerate(truth or texts)]
    page = Page(image.name, 1, pixels.shape[1], pixels.shape[0], (region(*lines),))
    image.with_suffix(".xml").write_bytes(export("page", Scan(page), info=DocumentInfo(image.name)))
    return image


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., PageEvaluation]:
    """Evaluate the pages below `tmp_path` with a line finder that gives the lines at `rows`."""

    def run(*rows: int, segment: Segment | None = None, by_baseline: bool = False) -> PageEvaluation:
        lines = [line_at(row) for row in rows]
        found = segment or (lambda _: tuple(map(region, lines)))
        monkeypatch.setattr(readers, "load_segmenter", lambda *_: lambda image: Layout(found(image)))
        reader = Reader(crop={"margin": 0}, recognizer=bar_recognizer())
        return evaluate_pages(tmp_path, reader, by_baseline=by_baseline)

    return run


def figures(evaluation: PageEvaluation) -> dict[str, object]:
    summary = pages_summary(evaluation, {"model": "bars"})
    json.dumps(summary, allow_nan=False)
    return summary


def test_a_page_that_is_read_as_it_is_written(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "a", TEXTS)
    found = figures(evaluate(0, 1, 2))
    for name in ("baseline_precision", "baseline_recall", "baseline_f1", "line_iou"):
        assert found[name] == 1.0
    for name in ("order_errors", "page_cer", "page_cer_free", "page_cer_on_lines", "lines_cer"):
        assert found[name] == 0
    assert (found["pages"], found["lines"], found["lines_found"], found["model"]) == (1, 3, 3, "bars")


def test_the_lines_of_a_negative_are_read_as_those_of_its_positive(
    evaluate: Callable[..., PageEvaluation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    written = np.full((PITCH * 3, 1000, 3), 220, np.uint8)
    written[20:-20:10, 60:-60:20] = 40
    image = write_page(tmp_path, "a", TEXTS)
    read: list[UInt8Image] = []
    take = LineRecognizer.read
    monkeypatch.setattr(LineRecognizer, "read", lambda self, lines: (read.extend(lines), take(self, lines))[1])
    for pixels in (written, 255 - written):
        image.write_bytes(png(pixels))
        evaluate(0, 1, 2)
    assert len(read) == 12  # found and true lines of both
    assert all(np.array_equal(one, other) for one, other in zip(read[:6], read[6:], strict=True))


def test_a_line_that_is_not_found_costs_recall_and_its_characters(
    evaluate: Callable[..., PageEvaluation], tmp_path: Path
):
    write_page(tmp_path, "a", TEXTS)
    found = figures(evaluate(0, 2))
    assert (found["baseline_precision"], found["baseline_recall"]) == (1.0, pytest.approx(2 / 3))
    assert found["page_cer"] == pytest.approx(5 / len(" ".join(TEXTS)))  # "dead" and a space
    assert found["page_cer_free"] == found["page_cer_on_lines"] == pytest.approx(4 / len("".join(TEXTS)))
    assert found["lines_cer"] == 0


def test_order_does_not_count_in_the_order_free_rate(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "a", TEXTS)
    found = figures(evaluate(2, 0, 1))
    assert found["order_errors"] == 1
    assert found["page_cer"] > 0.5  # type: ignore[operator]
    assert found["page_cer_free"] == 0


def test_words_count_for_the_line_that_they_stand_on_however_lines_were_cut(
    evaluate: Callable[..., PageEvaluation], tmp_path: Path
):
    write_page(tmp_path, "a", TEXTS)

    def pieces(_: UInt8Image) -> tuple[Region, ...]:
        line = line_at(0)
        middle = 40 + 6 * 16 * SCALE / 2
        (x0, y), (x1, _y) = line.baseline
        parts = [Line(((a, y), (b, y)), box(a, 0, b, HEIGHT)) for a, b in ((middle, x1), (x0, middle))]
        return tuple(map(region, [*parts, line_at(1), line_at(2)]))

    found = figures(evaluate(segment=pieces))
    assert found["page_cer"] > 0  # type: ignore[operator]
    assert found["page_cer_free"] < found["page_cer"]  # type: ignore[operator]


def test_what_is_read_elsewhere_is_told_apart(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "a", [*TEXTS, "a bad cab"], truth=TEXTS)
    found = figures(evaluate(0, 1, 2, 3))
    assert found["page_cer_on_lines"] == 0
    assert found["page_cer_free"] == pytest.approx(9 / len("".join(TEXTS)))
    assert found["baseline_precision"] == 0.75


def test_wrong_text_is_an_error_of_page_and_lines(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "a", TEXTS, truth=["a bad cab", "deaf", "bead cede"])
    found = figures(evaluate(0, 1, 2))
    assert found["lines_cer"] == found["page_cer_free"] == pytest.approx(1 / len("".join(TEXTS)))


@pytest.mark.parametrize(("by_baseline", "height"), [(False, 1), (True, 1.05 * PITCH)], ids=["polygon", "baseline"])
def test_lines_of_the_ground_truth_are_cut_along_polygons_or_baselines(
    by_baseline: bool, height: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    image = write_page(tmp_path, "a", TEXTS)
    thin = [replace(line_at(row, text), polygon=box(40, 100, 90, 101)) for row, text in enumerate(TEXTS)]
    page = Page(image.name, 1, 1000, PITCH * 3, (region(*thin),))
    image.with_suffix(".xml").write_bytes(export("page", Scan(page), info=DocumentInfo(image.name)))
    heights: list[int] = []

    class Recorder(LineRecognizer):
        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            heights.extend(image.shape[0] for image in images)
            return [Transcript("", 0.0) for _ in images]

    monkeypatch.setattr(readers, "load_segmenter", lambda *_: lambda _: Layout())
    recorder = Recorder(CtcEngine(BarBackend(), bar_info()), bar_info())
    evaluate_pages(tmp_path, Reader(crop={"margin": 0}, recognizer=recorder), by_baseline=by_baseline)
    assert heights[:2] == pytest.approx([height] * 2, abs=4)  # the last reaches the border of the page


def test_folders_are_groups_with_figures_of_their_own(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "x/a", TEXTS)
    write_page(tmp_path, "y/a", TEXTS, truth=["a bad cab", "deaf", "bead cede"])
    found = figures(evaluate(0, 1, 2))
    groups = found["groups"]
    assert isinstance(groups, dict)
    assert [groups[name]["page_cer"] > 0 for name in ("x", "y")] == [False, True]
    assert [row.split("|")[1].strip() for row in pages_table(found).splitlines()] == ["", ":--", "x", "y", "all"]


def test_predictions_have_a_row_for_each_page(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "x/a", TEXTS)
    (page,) = evaluate(0, 1, 2).pages
    assert (page.prediction.id, page.prediction.group) == ("x/a", "x")
    assert page.prediction.reference == "\n".join(TEXTS)
    assert page.prediction.text == "\n\n".join(TEXTS)


def test_a_page_that_cannot_be_read_counts_as_read_without_a_line(
    evaluate: Callable[..., PageEvaluation], tmp_path: Path
):
    write_page(tmp_path, "a", TEXTS)
    image = write_page(tmp_path, "b", TEXTS)
    image.write_bytes(image.read_bytes()[:200])  # the size in its header stands
    found = figures(evaluate(0, 1, 2))
    assert (found["pages"], found["baseline_recall"], found["page_cer"]) == (2, 0.5, 0.5)
    assert list(found["failed"]) == ["b"]  # type: ignore[call-overload]


def test_ground_truth_that_cannot_be_used_is_named(evaluate: Callable[..., PageEvaluation], tmp_path: Path):
    write_page(tmp_path, "good", TEXTS)
    write_page(tmp_path, "missing", TEXTS).unlink()
    write_page(tmp_path, "other-size", TEXTS).write_bytes(png(page_of(TEXTS[:1])))
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><PcGts>&e;</PcGts>'
    write_page(tmp_path, "entity", TEXTS).with_suffix(".xml").write_text(entity, encoding="utf-8")
    evaluation = evaluate(0, 1, 2)
    assert [page.prediction.id for page in evaluation.pages] == ["good"]
    said = "\n".join(evaluation.left_out)
    for what in (
        "missing.xml: has no image",
        "other-size.png: has 1000 x 240 pixels",
        "entity.xml: malformed XML: a doc",
    ):
        assert what in said


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "holds no PAGE or ALTO file"),
        ("missing", "is not a folder"),
        ("without lines", "holds no page with ground truth"),
    ],
)
def test_a_folder_without_ground_truth_says_so(
    kind: str, message: str, evaluate: Callable[..., PageEvaluation], tmp_path: Path
):
    if kind == "missing":
        tmp_path.rmdir()
    elif kind == "without lines":
        image = write_page(tmp_path, "a", TEXTS)
        image.with_suffix(".xml").write_bytes(export("page", Scan(Page("a.png", 1, 1000, PITCH * 3))))
    with pytest.raises(DataError, match=message):
        evaluate(0)


def test_pages_without_text_are_named(
    evaluate: Callable[..., PageEvaluation], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_page(tmp_path, "a", TEXTS)
    write_page(tmp_path, "b", TEXTS, [""] * 3)
    found = figures(evaluate(0, 1, 2))
    assert found["pages"] == 2
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'b.png'}: its XML has no text, and only the places of its lines are compared"
    ]
