"""Are pages that lie sideways or upside down read as they were written?

Each page is looked at as it lies and turned by 90, 180 and 270 degrees. A page counts as right if most of its true
lines are found, and run the way that they were written.
"""

import argparse
from pathlib import Path

import numpy as np
from record import describe_machine, save

from quillread.data.page_lines import read_pages
from quillread.evaluate.baselines import pair_lines
from quillread.images.read import open_document
from quillread.pages.segment import load_segmenter
from quillread.types import Line, Point, Polygon, UInt8Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR", help="pages with a PAGE or ALTO file each")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    machine = describe_machine()
    segmenter = load_segmenter("neural")
    wrong, looked_at = [], 0
    for path, page in read_pages(args.pages)[0].items():
        with open_document(path) as document:
            image = document.page(0)
        for quarters in range(4):
            turned = np.ascontiguousarray(np.rot90(image, quarters))
            found = [line for region in segmenter(turned).regions for line in region.lines]
            truth = [turn_line(line, quarters, image) for line in page.lines]
            looked_at += 1
            if not runs_as_written(truth, found):
                wrong.append(f"{path.stem}, {90 * quarters} degrees")
                print("wrong:", wrong[-1], flush=True)
    print(f"{looked_at - len(wrong)} of {looked_at} are right")
    if args.json:
        save(args.json, "turned", machine, {"looked_at": looked_at, "wrong": wrong})


def turn_line(line: Line, quarters: int, image: UInt8Image) -> Line:
    """Where a line lies once its page is turned, counterclockwise as `numpy.rot90` does."""
    height, width = image.shape[:2]

    def turn(point: Point) -> Point:
        x, y = point
        return ((x, y), (y, width - x), (width - x, height - y), (height - y, x))[quarters]

    return Line(tuple(map(turn, line.baseline)), Polygon(tuple(map(turn, line.polygon.points))))


def runs_as_written(truth: list[Line], found: list[Line]) -> bool:
    pairs = pair_lines(truth, found)
    agree = [float(np.dot(course(truth[own]), course(found[other]))) > 0 for own, other in pairs.items()]
    return sum(agree) > len(truth) / 2


def course(line: Line) -> np.ndarray:
    return np.subtract(line.baseline[-1], line.baseline[0])


if __name__ == "__main__":
    main()
