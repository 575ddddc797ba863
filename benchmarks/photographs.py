"""What laying a photographed sheet flat changes: pages with ground truth, photographed by calculation, read both ways.

    python benchmarks/photographs.py DIR --json benchmarks/results/photographs.json

Each page of DIR lies on a dark wooden table, is seen from a place drawn at random, lit from one side, and has the noise
of a camera. DIR holds images with their PAGE or ALTO files.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from record import describe_machine, save

from quillread.data.page_lines import read_pages
from quillread.evaluate.baselines import BaselineScore, mean_score, score_page
from quillread.evaluate.metrics import EditCounts, score_line, total
from quillread.images.geometry import PerspectiveMap
from quillread.images.read import open_document
from quillread.images.sheet import SheetConfig, find_sheet
from quillread.reader import Reader
from quillread.types import Line, Page, Point, Polygon, UInt8Image

SIZE = (2400, 3000)
CORNERS = np.array([(500, 350), (1850, 380), (2150, 2750), (250, 2700)], np.float32)
"""Where the sheet lies in the picture, moved by up to `JITTER` pixels."""
JITTER = 120.0


def main() -> None:
    """Read every page with the sheet laid flat and as it is, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--model", default="builtin", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    machine = describe_machine()
    readers = {
        name: Reader(model=arguments.model, lm=("none",), sheet=SheetConfig(flatten=name == "flattened"))
        for name in ("flattened", "as it is")
    }
    scores: dict[str, list[tuple[BaselineScore, EditCounts]]] = {name: [] for name in readers}
    found = 0
    pages, _ = read_pages(arguments.folder)
    for number, (path, truth) in enumerate(pages.items()):
        photo, lines = photograph(path, truth, np.random.default_rng(number))
        found += find_sheet(photo) is not None
        for name, reader in readers.items():
            page = reader.read_page(photo)
            scores[name].append((score_page(lines, page.lines), score_line(truth.text, page.text).cer_spacing))
    results = {name: summarise(pairs) for name, pairs in scores.items()}
    print(f"{len(pages)} pages, the sheet was found on {found}", *results.items(), sep="\n")
    if arguments.json:
        facts = {"model": arguments.model, "pages": len(pages), "sheets_found": found}
        save(arguments.json, "photographs", machine, {**facts, **results})


def photograph(path: Path, truth: Page, rng: np.random.Generator) -> tuple[UInt8Image, list[Line]]:
    """Return a photograph of a page, and the true lines on it."""
    with open_document(path) as document:
        sheet = np.minimum(document.page(0), 235)
    height, width = sheet.shape[:2]
    corners = CORNERS + rng.uniform(-JITTER, JITTER, (4, 2)).astype(np.float32)
    edge = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(edge, corners)
    grain = cv2.blur(rng.normal(0, 60, (SIZE[1], SIZE[0], 1)).astype(np.float32), (201, 3))[..., None]
    picture = np.array((92, 66, 48)) + grain
    shown = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, SIZE) > 127
    picture[shown] = cv2.warpPerspective(sheet, matrix, SIZE, flags=cv2.INTER_AREA)[shown]
    picture = picture * np.linspace(1.0, 0.75, SIZE[0])[None, :, None] + rng.normal(0, 3, picture.shape)
    view = PerspectiveMap.inverse_of(np.linalg.inv(matrix))

    def seen(points: Sequence[Point]) -> tuple[Point, ...]:
        return tuple((x, y) for x, y in view.back_points(points).tolist())

    lines = [
        replace(line, baseline=seen(line.baseline), polygon=Polygon(seen(line.polygon.points))) for line in truth.lines
    ]
    return np.clip(picture, 0, 255).astype(np.uint8), lines


def summarise(pairs: Sequence[tuple[BaselineScore, EditCounts]]) -> dict[str, Any]:
    """Average the baselines over pages, and take the error rate of all text in reading order."""
    return {
        "baseline_f1": round(mean_score([score for score, _ in pairs]).f1, 4),
        "page_cer": round(total(counts for _, counts in pairs).rate, 4),
    }


if __name__ == "__main__":
    main()
