"""Measure line finders on pages with ground truth: baseline precision, recall, F1 and time.

    python benchmarks/segmentation.py --pages DIR --json segmentation.json

DIR holds one folder per collection; beside each image lies its PAGE or ALTO file of the same name. What was found is
scored twice: all of it, and only what lies where the ground truth knows of lines, since some ground truth covers a part
of the page (the tool of the cBAD competitions has the option -r for that, which goes by regions).
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from record import describe_machine, save

from quillread.data.page_lines import read_pages
from quillread.evaluate.baselines import BaselineScore, line_distance, mean_score, score_page
from quillread.images.read import open_document
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.types import Line


@dataclass(frozen=True, slots=True)
class PageResult:
    """One page: its scores, what was there and found, and the time it took."""

    page: str
    score: BaselineScore
    labelled: BaselineScore
    """Of what was found where the ground truth knows of lines."""
    lines: int
    found: int
    seconds: float


def main() -> None:
    """Score every folder with every line finder, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--segmenter", action="append", metavar="NAME", help="neural, neural-handwriting and classical if not given"
    )
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    machine = describe_machine()
    report = {}
    for name in arguments.segmenter or ["neural", "neural-handwriting", "classical"]:
        segment = load_segmenter(name)
        folders = {
            folder.name: list(measure_folder(folder, segment))
            for folder in sorted(filter(Path.is_dir, arguments.pages.iterdir()))
        }
        if not folders:
            parser.error(f"{arguments.pages}: no folder with images and their XML files")
        summary = {folder: summarise(results) for folder, results in folders.items()}
        print_table(name, summary)
        report[name] = {"folders": summary, "pages": list_pages(folders)}
    save(arguments.json, "segmentation", machine, {"segmenters": report})


def measure_folder(folder: Path, segment: Segmenter) -> Iterator[PageResult]:
    """Segment and score the pages of one folder that have ground truth; only segmentation is timed."""
    for number, (path, truth) in enumerate(read_pages(folder)[0].items()):
        with open_document(path) as document:
            image = document.page(0)
        if not number:
            segment(image)  # the first call loads and prepares
        start = time.perf_counter()
        regions = segment(image).regions
        seconds = time.perf_counter() - start
        found = [line for region in regions for line in region.lines]
        near = keep_labelled(truth.lines, found)
        scores = score_page(truth.lines, found), score_page(truth.lines, near)
        yield PageResult(path.stem, *scores, len(truth.lines), len(found), seconds)


def keep_labelled(truth: tuple[Line, ...], found: list[Line]) -> list[Line]:
    """Keep the lines that lie for the most part in the hull of the true baselines, grown by a line distance."""
    distance = line_distance(truth)
    corners = np.array([(x + dx, y + dy) for line in truth for x, y in line.baseline for dx, dy in _square(distance)])
    hull = cv2.convexHull(corners.astype(np.float32))
    return [line for line in found if np.mean([_is_inside(hull, at) for at in _places(line)]) > 0.5]


def _square(reach: float) -> tuple[tuple[float, float], ...]:
    return (-reach, -reach), (-reach, reach), (reach, -reach), (reach, reach)


def _is_inside(hull: np.ndarray, at: np.ndarray) -> bool:
    return cv2.pointPolygonTest(hull, (float(at[0]), float(at[1])), False) >= 0


def _places(line: Line) -> np.ndarray:
    """Twenty places along a baseline."""
    points = np.array(line.baseline)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0, along[-1], 20)
    return np.stack([np.interp(at, along, axis) for axis in points.T], axis=1)


def summarise(results: list[PageResult]) -> dict[str, float]:
    """Average precision and recall over pages, F1 of the averages, mean seconds per page."""
    score = mean_score([result.score for result in results])
    labelled = mean_score([result.labelled for result in results])
    return {
        "pages": len(results),
        "lines": sum(result.lines for result in results),
        "found": sum(result.found for result in results),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "f1": round(score.f1, 4),
        "labelled_precision": round(labelled.precision, 4),
        "labelled_f1": round(labelled.f1, 4),
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
            "labelled_precision": round(result.labelled.precision, 4),
            "seconds": round(result.seconds, 3),
        }
        for folder, results in folders.items()
        for result in results
    ]


def print_table(name: str, summary: dict[str, dict[str, float]]) -> None:
    """Print one row per folder."""
    columns = list(next(iter(summary.values())))
    width = max(map(len, (*summary, name)))
    print(f"{name:{width}}", *(f"{column:>9}" for column in columns))
    for folder, row in summary.items():
        print(f"{folder:{width}}", *(f"{row[column]:>{max(9, len(column))}g}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
