r"""A stand-in for `Reader` in the tests of programs that use it: it has no model, and says what the test wants.

>>> import numpy as np
>>> from quillread.testing import FakeReader
>>> page = np.full((400, 300, 3), 255, np.uint8)
>>> with FakeReader(["Dear Sir,\nI am, yours", "The end."]) as reader:
...     [[line.transcript.text for line in reader.read(page).pages[0].lines] for _ in range(2)]
[['Dear Sir,', 'I am, yours'], ['The end.']]
"""

import itertools
from collections.abc import Sequence
from typing import Any

from quillread.errors import UsageError
from quillread.models.model_folder import ModelInfo
from quillread.options import ReadOptions
from quillread.pages.transcribe import PageTranscriber
from quillread.reader import Reader
from quillread.recognize.ensemble import LineReader
from quillread.types import Box, Character, Line, Page, Polygon, Region, Transcript, UInt8Image, Word


class FakeReader(Reader):
    """Reads texts that it is given, whatever an image shows; all else is as with `Reader`.

    So inputs are opened, pages counted, and what is wrong with a file is a fault in the result.

    Args:
        texts: At least one: of the pages and line images, in the order in which they are read, and from the first again
            after the last. The lines of a page are parted by newlines; their boxes share out the page from top to
            bottom.
        options: As for `Reader`; those of models and line finding change nothing.
        **changes: Options by name, on top of them.

    Raises:
        UsageError: If there are no texts.
        ConfigError: If an option is unknown or out of range.
    """

    def __init__(self, texts: Sequence[str], options: ReadOptions | None = None, **changes: Any) -> None:
        if not texts:
            raise UsageError("FakeReader needs at least one text")
        super().__init__(options, recognizer=_Script(texts), **changes)

    def _pages_with(self, lines: LineReader) -> PageTranscriber:
        return _ScriptedPages(lines, None, self.options.crop)


class _Script:
    """Reads the next of its texts in each image."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.info = ModelInfo(family="compact", name="fake")
        self._texts = itertools.cycle(texts)

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        return [_spread(next(self._texts), Box(0.0, 0.0, *image.shape[1::-1])) for image in images]


class _ScriptedPages(PageTranscriber):
    """Takes each page for one image of all its text, unless its lines are known."""

    def __call__(
        self, image: UInt8Image, regions: tuple[Region, ...] | None = None, along: Sequence[Line] | None = None
    ) -> Page:
        if regions is not None:
            return super().__call__(image, regions, along)
        height, width = image.shape[:2]
        (read,) = self.recognizer.read([image])
        texts = read.text.split("\n") if read.text else []
        boxes = [Box(0.0, height * i / len(texts), width, height * (i + 1) / len(texts)) for i in range(len(texts))]
        lines = tuple(_line(text, box) for text, box in zip(texts, boxes, strict=True))
        outline = _outline(Box(0.0, 0.0, width, height))
        return Page("", 1, width, height, (Region(outline, lines),) if lines else ())


def _line(text: str, box: Box) -> Line:
    return Line(((box.x0, box.y1), (box.x1, box.y1)), _outline(box), _spread(text, box))


def _spread(text: str, box: Box) -> Transcript:
    """What a recogniser would say: words where they stand if all characters of a box are equally wide."""
    step = box.width / max(len(text), 1)
    characters = tuple(Character(c, 1.0, i * step, (i + 1) * step) for i, c in enumerate(text))
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        stop = start + len(word)
        words.append(Word(word, 1.0, _outline(Box(box.x0 + start * step, box.y0, box.x0 + stop * step, box.y1))))
        start = stop
    return Transcript(text, 1.0, tuple(words), characters)


def _outline(box: Box) -> Polygon:
    return Polygon(((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)))
