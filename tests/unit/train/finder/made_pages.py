"""A folder of small pages with PAGE files, and lines to write synthetic ones with, made on the fly."""

from pathlib import Path

import cv2
import numpy as np
from unit.pages.drawing import write_page

from quillread.types import Sample

_XML = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="{name}.png" imageWidth="1000" imageHeight="800"><TextRegion id="r"><Coords points="0,0 1000,800"/>
{lines}</TextRegion></Page></PcGts>
"""
_LINE = """<TextLine id="l{n}"><Coords points="120,{top} 700,{top} 700,{foot} 120,{foot}"/>
<Baseline points="120,{y} 700,{y}"/></TextLine>
"""


def make_pages(folder: Path, count: int = 2) -> Path:
    """Write `count` pages of 1,000 by 800 pixels; their lines run from 120 to 700."""
    folder.mkdir(parents=True)
    for number in range(count):
        page, heights = write_page(first=140 + 10 * number)
        cv2.imwrite(str(folder / f"p{number}.png"), page)
        lines = "".join(_LINE.format(n=n, y=y, top=y - 50, foot=y + 20) for n, y in enumerate(heights))
        (folder / f"p{number}.xml").write_text(_XML.format(name=f"p{number}", lines=lines), encoding="utf-8")
    return folder


class BarSource:
    """Lines that are rows of upright bars, standing on a baseline."""

    name = "bars"

    def __len__(self) -> int:
        return 3

    def text(self, index: int) -> str:
        return "some words"

    def group(self, index: int) -> str:
        return ""

    def aspect(self, index: int) -> float:
        return 5.0

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        image = np.full((48, 240, 3), 255, np.uint8)
        image[12:36, 4:-4:8] = image[12:36, 5:-4:8] = 0
        return Sample(str(index), image, "some words")
