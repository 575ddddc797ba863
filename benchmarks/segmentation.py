"""Measure a line finder on pages with ground truth: baseline precision, recall, F1 and time.

    python benchmarks/segmentation.py --pages DIR --json segmentation.json

DIR holds one folder per collection; beside each image lies its PAGE or ALTO file of the same name.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from quillread.formats.alto import read_alto
from quillread.formats.pagexml import read_page_xml
from quillread.pages.score import BaselineScore, mean_score, score_page
from quillread.pages.segment import SEGMENTERS, Segmenter, load_segmenter
from quillread.types import Page

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class PageResult:
    """One page: its score, what was there and found, and the time it took."""

    page: str
    score: BaselineScore
    lines: int
    found: int
    seconds: float


def main() -> None:
    """Score every folder, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR")
    parser.add_argument("--segmenter", choices=sorted(SEGMENTERS), default="classical")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    segment = load_segmenter(arguments.segmenter)
    folders = {
        folder.name: results
        for folder in sorted(filter(Path.is_dir, arguments.pages.iterdir()))
        if (results := list(measure_folder(folder, segment)))
    }
    if not folders:
        parser.error(f"{arguments.pages}: no folder with images and their XML files")
    summary = {name: summarise(results) for name, results in folders.items()}
    print_table(summary)
    report = {"segmenter": arguments.segmenter, "folders": summary, "pages": list_pages(folders)}
    arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measure_folder(folder: Path, segment: Segmenter) -> Iterator[PageResult]:
    """Segment and score the pages of one folder that have ground truth; only segmentation is timed."""
    for path in sorted(folder.iterdir()):
        truth_path = path.with_suffix(".xml")
        if path.suffix.lower() not in IMAGE_SUFFIXES or not truth_path.exists():
            continue
        truth = read_truth(truth_path)
        image = np.asarray(Image.open(path).convert("RGB"))
        start = time.perf_counter()
        regions = segment(image)
        seconds = time.perf_counter() - start
        found = [line for region in regions for line in region.lines]
        yield PageResult(path.name, score_page(truth.lines, found), len(truth.lines), len(found), seconds)


def read_truth(path: Path) -> Page:
    """Read PAGE or ALTO, whichever the file's first bytes name."""
    is_alto = b"<alto" in path.read_bytes()[:2000]
    return read_alto(path) if is_alto else read_page_xml(path)


def summarise(results: list[PageResult]) -> dict[str, float]:
    """Average precision and recall over pages, F1 of the averages, mean seconds per page."""
    score = mean_score([result.score for result in results])
    return {
        "pages": len(results),
        "lines": sum(result.lines for result in results),
        "found": sum(result.found for result in results),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "f1": round(score.f1, 4),
        "seconds_per_page": round(float(np.mean([result.seconds for result in results])), 3),
    }


def list_pages(folders: dict[str, list[PageResult]]) -> list[dict[str, object]]:
    """One row per page, for finding the bad ones."""
    return [
        {
            "folder": folder,
            "page": result.page,
            "lines": result.lines,
            "found": result.found,
            "precision": round(result.score.precision, 4),
            "recall": round(result.score.recall, 4),
            "f1": round(result.score.f1, 4),
            "seconds": round(result.seconds, 3),
        }
        for folder, results in folders.items()
        for result in results
    ]


def print_table(summary: dict[str, dict[str, float]]) -> None:
    """Print one row per folder."""
    columns = ("pages", "lines", "found", "precision", "recall", "f1", "seconds_per_page")
    width = max(map(len, (*summary, "folder")))
    print(f"{'folder':{width}}", *(f"{column:>9}" for column in columns))
    for name, row in summary.items():
        print(f"{name:{width}}", *(f"{row[column]:>{max(9, len(column))}g}" for column in columns))


if __name__ == "__main__":
    main()
