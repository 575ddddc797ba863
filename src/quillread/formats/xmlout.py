"""What the writers of XML share: elements, names, text that XML can hold, integer coordinates."""

import re
from collections.abc import Iterable
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from quillread.types import Box, Page, Point

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][\w.\-]*", re.ASCII)


def clean(text: str) -> str:
    """Replace characters that XML cannot hold, such as control characters, with U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: object) -> Element:
    """Add an element; attributes that are None are left out."""
    values = {name: clean(str(value)) for name, value in attributes.items() if value is not None}
    child = SubElement(parent, tag, values)
    child.text = None if text is None else clean(text)
    return child


class Names:
    """The ids of a document's elements: those that regions and lines of a given segmentation have stay theirs."""

    def __init__(self, page: Page) -> None:
        ids = [region.id for region in page.regions] + [line.id for line in page.lines]
        self._reserved = {name for name in ids if name}
        self._used: set[str] = set()

    def take(self, own: str | None, made: str) -> str:
        """Return the id of an element: its own if it has one that XML allows and no other has, else like `made`."""
        if own and own not in self._used and _NAME.fullmatch(own):
            name = own
        else:
            name = made
            while name in self._used or name in self._reserved:
                name += "x"
        self._used.add(name)
        return name


def points(values: Iterable[Point], page: Page) -> str:
    """Points as `x,y x,y`: integers on the page, as the schemas of PAGE and the tools that read it want them."""
    return " ".join(f"{min(max(round(x), 0), page.width)},{min(max(round(y), 0), page.height)}" for x, y in values)


def pixels(box: Box, page: Page) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in whole pixels of the page, with an area."""
    sizes = (page.width, page.height)
    x0, y0 = (min(max(int(v), 0), size - 1) for v, size in zip((box.x0, box.y0), sizes, strict=True))
    x1, y1 = (
        min(max(-int(-v // 1), low + 1), size) for v, low, size in zip((box.x1, box.y1), (x0, y0), sizes, strict=True)
    )
    return x0, y0, x1, y1


def write(root: Element, file: BinaryIO) -> None:
    """Write a document with its declaration, indented."""
    ElementTree.indent(root)
    file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    file.write(ElementTree.tostring(root, encoding="utf-8"))
    file.write(b"\n")
