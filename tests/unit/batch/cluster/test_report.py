"""The report of a batch: which pages are the worst, which folders, and what failed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import read_bars, write_bars

from quillread.batch.cluster.finished import Finished
from quillread.batch.cluster.report import Tally, folder_of, write_report
from quillread.images.document import ReadConfig


def row(number: int, cer: float | None, **changes: Any) -> dict[str, Any]:
    page = {"id": f"{number:04}", "source": f"shelf/{number}.png", "page": 1, "text": "abcd", "fault": None}
    return {**page, "expected_cer": cer, **changes}


def test_the_worst_pages_are_those_with_the_highest_expected_rates():
    tally = Tally()
    for number in range(200):
        tally.take(row(number, (number * 37 % 200) / 200))
    found = [page["expected_cer"] for page in tally.worst]
    assert found == [rate / 200 for rate in range(199, 149, -1)]


def test_folders_are_told_apart_and_pages_weigh_by_their_text():
    tally = Tally()
    tally.take(row(1, 0.1, source="a/1.png", text="x" * 90))
    tally.take(row(2, 0.5, source="a/2.png", text="x" * 10))
    tally.take(row(3, None, source="b/3.png", fault={"kind": "image", "message": "no image"}))
    assert tally.collections["a"].cer == pytest.approx(0.14)
    assert (tally.collections["b"].cer, tally.collections["b"].failed) == (None, 1)
    assert tally.faults == [("image", "no image")]


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("scans/a.png", "scans"),
        ("a.png", "."),
        ("s3://bucket/shelf/a.png", "s3://bucket/shelf"),
        ("https://example.org/7/manifest.json", "https://example.org/7"),
        ("zip://deep/a.png::s3://bucket/pages.zip", "s3://bucket/pages.zip"),
    ],
)
def test_a_page_belongs_to_its_folder_or_archive(source: str, folder: str):
    assert folder_of(source) == folder


def test_worst_pages_are_shown_as_pictures_and_those_that_are_gone_without(here: Path, monkeypatch: pytest.MonkeyPatch):
    paths = list(write_bars(here / "scans", 3))
    read_bars("scans", target="out")
    paths[1].unlink()
    rows = Finished.rows

    def rated(self: Finished, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        return ({**found, "expected_cer": 0.5} for found in rows(self, columns))

    monkeypatch.setattr(Finished, "rows", rated)
    page = write_report(Finished("out"), ReadConfig())
    assert page.count("data:image/webp;base64,") == 2
    assert page.count("expected CER 50.00 %") == 3


def test_names_cannot_write_into_the_page(here: Path):
    list(write_bars(here / "<b>scans", 1))
    (here / "<b>scans" / "<i>bad.png").write_text("x", encoding="utf-8")
    read_bars("<b>scans", target="out")
    page = write_report(Finished("out"), ReadConfig())
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;i&gt;bad.png" in page
